/** A model in one call: from anywhere, through lost devices, with nothing left behind. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../../engine/mod.ts";
import { makeVolume, readNifti, type Volume, writeNifti } from "../../../engine/imaging/mod.ts";
import { loadModel, predictor, saveModel } from "../../../engine/train/mod.ts";
import { device } from "../../../engine/gpu/mod.ts";
import { networkFromPlan, openModel, type SegmentationModel } from "../../../models/mod.ts";
import { handleOf } from "../../platform/folder_handle.ts";
import { noise } from "../../helpers/noise.ts";
import { planFor } from "../../helpers/plans.ts";
import { failure, message } from "../../helpers/refuse.ts";

const folder = await mkdtemp(join(tmpdir(), "voxgrad-open-"));
const at = (name: string): string => join(folder, name);
const plan = planFor({ labels: ["background", "a", "b"], orientation: "RAS", spacing: [1.5, 1, 1] });
const { name: network, ...shape } = plan.network;
const architecture = { inputChannels: 1, classes: 3, ...shape };
const weights = await Promise.all(
  [0, 1].map((fold) => saveModel(networkFromPlan(plan).init(vg.random.key(fold)), { network, architecture, plan })),
);
for (const [fold, bytes] of weights.entries()) {
  await mkdir(at(`run/fold_${fold}`), { recursive: true });
  await writeFile(at(`run/fold_${fold}/model.safetensors`), bytes);
}
const image = makeVolume(Float32Array.from(noise(13 * 17 * 8, 1)), {
  shape: [13, 17, 8],
  affine: [-1, 0, 0, 4, 0, 1, 0, 5, 0, 0, 2, 6, 0, 0, 0, 1],
  name: "scan",
});
const scan = writeNifti(image, { gzip: true });
await writeFile(at("scan.nii.gz"), scan);
const server = createServer((request, response) => {
  const content = { "/model.safetensors": weights[0], "/scan.nii.gz": scan }[request.url!];
  response.writeHead(content ? 200 : 404).end(content);
});
await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
const host = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
test.after(async () => {
  server.close();
  await vg.closeDevice();
  await rm(folder, { recursive: true });
});

/** What predictor() gives, with parameters loaded by hand. */
async function reference(
  folds: readonly number[],
  mirror: number[] = [],
): Promise<{ labels: Volume; probabilities?: Volume }> {
  const model = networkFromPlan(plan);
  const params = [];
  for (const fold of folds) {
    const { tensors } = await loadModel(at(`run/fold_${fold}`));
    params.push(vg.loadParameters(model.init(vg.random.key(9)), tensors));
  }
  return predictor([{ network: model, params, plan }], { mirror }).predict(image, { probabilities: true });
}
const wanted = await reference([0]);
const labelsBy = async (model: SegmentationModel): Promise<unknown> => (await model.segment(image)).labels.data;

const blob = new Blob([weights[0]]);
const sources = {
  "a path": [at("run/fold_0/model.safetensors"), at("scan.nii.gz")],
  "a run folder, and a file: URL": [at("run/fold_0"), pathToFileURL(at("scan.nii.gz"))],
  "a URL": [new URL(`${host}/model.safetensors`), new URL(`${host}/scan.nii.gz`)],
  "an address": [`${host}/model.safetensors`, `${host}/scan.nii.gz`],
  "a Blob": [blob, new Blob([scan])],
  "a File": [new File([blob], "m.safetensors"), new File([scan], "scan.nii.gz")],
  "bytes": [weights[0], scan],
  "an ArrayBuffer, and a volume": [weights[0].buffer, image],
} as const;
for (const [kind, [source, own]] of Object.entries(sources)) {
  test(`openModel() of ${kind} segments as predictor() does`, async () => {
    const model = await openModel(source);
    const { labels, probabilities } = await model.segment(own, { probabilities: true });
    assert.equal([labels.data, labels.shape, labels.affine], [wanted.labels.data, image.shape, image.affine]);
    assert.equal(probabilities!.data, wanted.probabilities!.data);
    assert.ok(new Set(labels.data).size > 1);
    model.dispose();
  });
}

test("openModel() tells labels and channels, and its results write themselves", async () => {
  const model = await openModel(at("run/fold_0"));
  assert.equal(model.labels, [{ name: "background", value: 0 }, { name: "a", value: 1 }, { name: "b", value: 2 }]);
  assert.equal([model.channels, model.plan], [["CT"], plan]);
  const { labels, ...others } = await model.segment(image);
  assert.equal(Object.keys(others), []);
  await labels.write(at("out/labels.nii.gz"));
  const read = readNifti(new Uint8Array(await readFile(at("out/labels.nii.gz"))));
  assert.equal([read.data, read.affine], [wanted.labels.data, image.affine]);
  assert.equal(structuredClone(labels).data, labels.data, "it can be sent to a worker");
  model.dispose();
});

test("openModel() of a run with folds, or of a list, is the ensemble with its options", async () => {
  const both = await reference([0, 1], [0, 2]);
  for (const source of [at("run"), [weights[0], at("run/fold_1")], `${at("run/fold_0")},${at("run/fold_1")}`]) {
    const model = await openModel(source, { mirror: "xz", batch: 1 });
    const { labels, probabilities } = await model.segment(image, { probabilities: true });
    assert.equal(labels.data, both.labels.data);
    assert.equal(probabilities!.data, both.probabilities!.data);
    model.dispose();
  }
});

test("openModel() of a folder handle is that of its folder", async () => {
  const wanted = await openModel(at("run"));
  const model = await openModel(handleOf(at("run")));
  assert.equal(await labelsBy(model), await labelsBy(wanted));
  wanted.dispose();
  model.dispose();
});

test("openModel() applies the postprocessing.json of a run folder, and of no other source", async () => {
  const rule = { format: "voxgrad postprocessing 1", keepLargest: [{ name: "b", values: [2] }], cases: 1, dice: [] };
  await writeFile(at("run/fold_0/postprocessing.json"), JSON.stringify(rule));
  try {
    const ruled = await openModel(at("run/fold_0"));
    assert.equal(ruled.postprocessing, rule);
    const { labels } = await ruled.segment(image);
    const voxels = (data: ArrayLike<number>): number => Array.from(data).filter((value) => value === 2).length;
    assert.ok(voxels(labels.data) > 0 && voxels(labels.data) < voxels(wanted.labels.data));
    for (const [source, options] of [[at("run/fold_0"), { postprocess: false }], [weights[0], {}]] as const) {
      const model = await openModel(source, options);
      assert.equal(await labelsBy(model), wanted.labels.data);
      model.dispose();
    }
    ruled.dispose();
    await writeFile(at("run/fold_0/postprocessing.json"), "{}");
    assert.match(
      await message(() => openModel(at("run/fold_0"))),
      /postprocessing\.json: it is no voxgrad postprocessing 1/,
    );
  } finally {
    await rm(at("run/fold_0/postprocessing.json"));
  }
});

test("segment() takes a scan for each channel", async () => {
  const channels = ["T1", "T2"].map((name) => ({ name, normalization: "z-score" }) as const);
  const two = planFor({ channels });
  const model = networkFromPlan(two);
  const { name: network, ...shape } = two.network;
  const description = { network, architecture: { inputChannels: 2, classes: 2, ...shape }, plan: two };
  const params = model.init(vg.random.key(4));
  const opened = await openModel(await saveModel(params, description));
  const second = { ...image, data: Float32Array.from(noise(image.data.length, 8)), name: "second" };
  const data = new Float32Array([...image.data, ...second.data]);
  const { labels } = await predictor([{ network: model, params: [params], plan: two }]).predict({
    ...image,
    data,
    channels: 2,
  });
  assert.equal((await opened.segment([scan, second])).labels.data, labels.data);
  assert.equal((await opened.segment({ ...image, data, channels: 2 })).labels.data, labels.data);
  assert.match(await message(() => opened.segment(scan)), /data: it has 1 channel\(s\), wanted 2: T1, T2/);
  const far = { ...second, affine: second.affine.map((v, k) => (k === 3 ? v + 40 : v)) };
  assert.match(await message(() => opened.segment([image, far])), /second/);
  opened.dispose();
});

const destroy = async (): Promise<void> => (await device()).gpu.destroy();

test("segment() is right after the device was destroyed before, between and within calls", async () => {
  const model = await openModel(at("run/fold_0"));
  await destroy();
  assert.equal(await labelsBy(model), wanted.labels.data, "before");
  await destroy();
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(await labelsBy(model), wanted.labels.data, "between, and noticed");
  for (const part of [1, 4]) {
    let starts = 0;
    const { labels } = await model.segment(scan, {
      onProgress: ({ done }) => {
        if (done === 1) starts++;
        if (starts === 1 && done === part) void destroy();
      },
    });
    assert.equal(labels.data, wanted.labels.data, `within, at ${part}`);
    assert.is(starts, 2, "once more from the scan");
  }
  await vg.closeDevice();
  assert.equal(await labelsBy(model), wanted.labels.data, "after closeDevice");
  // Calls at the same time, and one device for all of them.
  const calls = [1, 2, 3].map((n) =>
    model.segment(image, { onProgress: ({ done }) => void (n === 1 && done === 2 && destroy()) })
  );
  const found = await Promise.allSettled(calls);
  for (const each of found) {
    if (each.status === "fulfilled") assert.equal(each.value.labels.data, wanted.labels.data);
    else assert.instance(each.reason, vg.DeviceLostError);
  }
  assert.equal(await labelsBy(model), wanted.labels.data);
  model.dispose();
});

test("segment() gives up with the error when the next device is lost too", async () => {
  const model = await openModel(at("run/fold_0"));
  const error = await failure(() => model.segment(image, { onProgress: ({ done }) => void (done === 2 && destroy()) }));
  assert.instance(error, vg.DeviceLostError);
  assert.equal(await labelsBy(model), wanted.labels.data);
  model.dispose();
});

test("segment() at the same time shares one upload, and each result is right", async () => {
  const model = await openModel(at("run/fold_0"));
  await labelsBy(model);
  const before = vg.memoryStats().live;
  const three = await Promise.all([1, 2, 3].map(() => labelsBy(model)));
  for (const each of three) assert.equal(each, wanted.labels.data);
  assert.is(vg.memoryStats().live, before);
  model.dispose();
});

test("segment() ends within one patch when its signal says so, with its reason", async () => {
  const model = await openModel(at("run/fold_0"));
  await labelsBy(model);
  const before = vg.memoryStats();
  const calls: number[] = [];
  for (let k = 0; k < 10; k++) {
    const controller = new AbortController();
    let [last, total] = [0, 0];
    const error = await failure(
      () =>
        model.segment(scan, {
          signal: controller.signal,
          onProgress: (progress) => {
            ({ done: last, total } = progress);
            if (last === 1 + (k % 3)) controller.abort();
          },
        }),
      DOMException,
    );
    assert.is(error.name, "AbortError");
    assert.ok(total > 6, `${total} patches`);
    calls.push(last);
    assert.equal([vg.memoryStats().live, vg.memoryStats().arena], [before.live, before.arena]);
  }
  assert.equal(calls, [1, 2, 3, 1, 2, 3, 1, 2, 3, 1]);
  const reason = new Error("the visitor left");
  assert.is(await failure(() => model.segment(image, { signal: AbortSignal.abort(reason) }), Error), reason);
  assert.equal(await labelsBy(model), wanted.labels.data);
  model.dispose();
});

test("dispose() frees all: twenty models leave memory as it was", async () => {
  await vg.closeDevice();
  const marks = [];
  for (let k = 0; k < 20; k++) {
    const model = await openModel(weights[k % 2], { mirror: k % 2 ? "x" : "none" });
    await model.segment(image, { probabilities: k % 3 === 0 });
    await model.segment(image);
    model.dispose();
    const { live, arena } = vg.memoryStats();
    marks.push([live, arena]);
  }
  assert.equal(marks, Array.from({ length: 20 }, () => [0, 0]));
});

test("dispose() ends calls under way, and later ones, with a clear error", async () => {
  const model = await openModel(at("run/fold_0"));
  const running = model.segment(image, { onProgress: ({ done }) => done === 2 && model.dispose() });
  assert.match(await message(running), /^model: it was disposed of; open it again/);
  assert.is(vg.memoryStats().live, 0);
  assert.match(await message(() => model.segment(image)), /^model: it was disposed of; open it again/);
  model.dispose();
});

test("openModel() and segment() refuse what does not fit", async () => {
  assert.match(await message(() => openModel([])), /the list of models is empty/);
  assert.match(await message(() => openModel(at("scan.nii.gz"))), /a file stands where a folder is needed/);
  assert.match(await message(() => openModel(scan)), /^data: safetensors/);
  assert.match(await message(() => openModel(`${host}/none`)), /the server answers 404/);
  assert.match(await message(() => openModel(weights[0], { steps: 1 } as object)), /unknown option "steps"/);
  assert.match(await message(() => openModel(weights[0], { mirror: "q" } as object)), /mirror is one of none, xyz/);
  assert.match(await message(() => openModel(weights[0], { slices: "largest" })), /slices is an option of encoders/);
  const other = { ...plan, labels: ["background", "a", "c"] };
  const strange = await saveModel(networkFromPlan(plan).init(vg.random.key(1)), { network, architecture, plan: other });
  assert.match(await message(() => openModel([weights[0], strange])), /the networks differ in labels/);
  const model = await openModel(weights[0]);
  assert.match(await message(() => model.segment(new Blob(["no scan"]))), /^data: got 7 bytes/);
  assert.match(await message(() => model.segment(image, { support: { image, labels: image } })), /takes no support/);
  const meters = { ...image, spacing: [1000, 1000, 2000] as const, name: "meters" };
  assert.match(await message(() => model.segment(meters)), /^meters: its voxel spacing .* anySpacing: true/);
  model.dispose();
});

test.run();
