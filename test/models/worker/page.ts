// A page that segments: in its own thread, in a worker that the library starts, and in one of its own.
import { closeDevice, memoryStats, ones, openDevice } from "../../../engine/mod.ts";
import { device } from "../../../engine/gpu/mod.ts";
import { openModel } from "../../../models/mod.ts";
import { openModel as openInWorker } from "../../../models/worker/mod.ts";

const place = (name: string): URL => new URL(name, location.href);
const bytes = async (name: string): Promise<Blob> => (await fetch(place(name))).blob();

/** The engine on a device of the page, which goes on with it afterwards. */
async function shared() {
  const adapter = await navigator.gpu.requestAdapter();
  const gpu = await adapter!.requestDevice();
  const errors: string[] = [];
  gpu.onuncapturederror = ({ error }) => void errors.push(error.message);
  const { name, kind } = await openDevice({ device: gpu });
  const sum = await ones([1000]).mul(3).sum().item();
  await closeDevice();
  const buffer = gpu.createBuffer({ size: 4, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ });
  gpu.queue.writeBuffer(buffer, 0, Uint32Array.of(7));
  await buffer.mapAsync(GPUMapMode.READ);
  const [seven] = new Uint32Array(buffer.getMappedRange());
  gpu.destroy();
  return { name, kind, sum, seven, errors };
}

async function inPage() {
  const model = await openModel(place("model.safetensors"));
  const file = new File([await bytes("scan.nii.gz")], "scan.nii.gz");
  const progress: number[] = [];
  const { labels } = await model.segment(file, { onProgress: ({ done }) => void progress.push(done) });
  await model.segment(file);
  const before = memoryStats();
  const aborted: string[] = [];
  for (let k = 0; k < 10; k++) {
    const controller = new AbortController();
    const onProgress = ({ done }: { done: number }): void => void (done === 2 && controller.abort());
    await model.segment(file, { signal: controller.signal, onProgress }).catch((error) => aborted.push(error.name));
  }
  const after = memoryStats();
  (await device()).gpu.destroy();
  const again = await model.segment(file);
  let destroyed = false;
  const onProgress = ({ done }: { done: number }): void => {
    if (done !== 2 || destroyed) return;
    destroyed = true;
    void device().then(({ gpu }) => gpu.destroy());
  };
  const within = await model.segment(file, { onProgress });
  model.dispose();
  const missing = await openModel(place("none.safetensors")).then(() => "", (error) => error.message);
  return {
    labels: [...labels.data],
    again: [...again.labels.data],
    within: [...within.labels.data],
    progress,
    aborted,
    memory: [before, after].map(({ live, arena }) => [live, arena]),
    left: memoryStats().live,
    missing,
  };
}

async function inWorker(worker?: Worker) {
  const foreign: unknown[] = [];
  worker?.addEventListener("message", ({ data }) => data.voxgrad === undefined && foreign.push(data));
  const model = await openInWorker(await bytes("model.safetensors"), worker ? { worker } : {});
  const progress: number[] = [];
  const scan = await (await bytes("scan.nii.gz")).arrayBuffer();
  const onProgress = ({ done }: { done: number }): void => void progress.push(done);
  const { labels } = await model.segment(place("scan.nii.gz"), { onProgress });
  const controller = new AbortController();
  const reason = await model.segment(scan, { signal: controller.signal, onProgress: () => controller.abort() }).catch((
    e,
  ) => e.name);
  const moved = await model.segment(scan, { transfer: true });
  const bad = await model.segment(new Blob(["no scan"])).catch((error) => [error.name, error.message]);
  model.dispose();
  const late = await model.segment(scan).catch((error) => error.message);
  return {
    labels: [...labels.data],
    moved: [...moved.labels.data],
    left: scan.byteLength,
    progress,
    reason,
    bad,
    late,
    foreign,
  };
}

const messages: unknown[] = [];
addEventListener("message", ({ data }) => messages.push(data));
addEventListener("voxgrad", (event) => messages.push(event.type));

Object.assign(globalThis, {
  result: (async () => ({
    shared: await shared(),
    page: await inPage(),
    worker: await inWorker(),
    own: await inWorker(new Worker(new URL("./worker_main.js", import.meta.url), { type: "module" })),
    lost: await openInWorker(place("model.safetensors"), { worker: new Worker("/none.js", { type: "module" }) })
      .then(() => "", (error) => error.message),
    messages,
  }))(),
});
