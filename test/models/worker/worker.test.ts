/** A model in a thread of Node: the same object, results and errors, and a free main thread. */
import { spawnSync } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../../engine/mod.ts";
import { fail } from "../../../engine/core/errors.ts";
import { readNifti } from "../../../engine/imaging/mod.ts";
import { openModel as openHere } from "../../../models/mod.ts";
import { openModel } from "../../../models/worker/mod.ts";
import { failure, message } from "../../helpers/refuse.ts";
import { ctSlice, dicomFile } from "../../imaging/dicom/dicom_files.ts";
import { smallModel } from "../open/small_models.ts";

const folder = await mkdtemp(join(tmpdir(), "voxgrad-worker-"));
const { plan, weights, image, scan } = await smallModel();
const path = join(folder, "model.safetensors");
await writeFile(path, weights);
const here = await openHere(weights);
const wanted = await here.segment(image, { probabilities: true });
here.dispose();
await vg.closeDevice();

const model = await openModel(path);
test.after(async () => {
  model.dispose();
  await rm(folder, { recursive: true });
});

test("openModel() of voxgrad/worker gives labels, facts and progress as in this thread", async () => {
  assert.equal([model.labels, model.channels, model.plan, model.needsSupport], [here.labels, ["CT"], plan, false]);
  const parts: number[][] = [];
  const onProgress = ({ done, total }: { done: number; total: number }): void => void parts.push([done, total]);
  const { labels, probabilities } = await model.segment(image, { probabilities: true, onProgress });
  assert.equal([labels.data, labels.affine], [wanted.labels.data, image.affine]);
  assert.equal(probabilities!.data, wanted.probabilities!.data);
  assert.equal(parts, Array.from({ length: parts.length }, (_, k) => [k + 1, parts.length]));
  assert.ok(parts.length > 6);
  await labels.write(join(folder, "labels.nii.gz"));
  assert.equal(readNifti(new Uint8Array(await readFile(join(folder, "labels.nii.gz")))).data, wanted.labels.data);
  assert.is(vg.memoryStats().live, 0, "nothing lies on a device of this thread");
});

test("segment() in a worker takes files, bytes, Blobs and lists, and moves only what it may", async () => {
  await writeFile(join(folder, "scan.nii.gz"), scan);
  const moved = scan.slice();
  for (const source of [join(folder, "scan.nii.gz"), scan, new Blob([scan]), [image], new File([scan], "a.nii.gz")]) {
    assert.equal((await model.segment(source)).labels.data, wanted.labels.data);
  }
  assert.is(scan.length > 0 && image.data.length, 15 * 17 * 9);
  assert.equal((await model.segment(moved, { transfer: true })).labels.data, wanted.labels.data);
  assert.is(moved.length, 0);
});

test("segment() takes a DICOM series as a folder, a list and a FileList, here and in a worker", async () => {
  const series = join(folder, "series");
  await mkdir(series);
  const slices = Array.from({ length: 9 }, (_, z) => {
    const pixels = Array.from(image.data.subarray(z * 255, (z + 1) * 255), (v) => Math.round(100 * v));
    const place = { columns: 15, rows: 17, number: z + 1, position: [0, 0, z], pixels };
    return dicomFile(ctSlice(place, { "00280030 DS": [1, 1], "00180050 DS": 1 }));
  });
  for (const [z, bytes] of slices.entries()) await writeFile(join(series, `IM${z}`), bytes);
  const files = slices.map((bytes, z) => new File([bytes], `IM${z}`));
  const near = await openHere(weights);
  const { labels } = await near.segment(series);
  const inPage = await near.segment({ [Symbol.iterator]: () => files[Symbol.iterator]() });
  near.dispose();
  await vg.closeDevice();
  assert.equal(labels.dicom!.slices.length, 9);
  assert.equal(inPage.labels.data, labels.data);
  for (const scan of [series, files]) assert.equal((await model.segment(scan)).labels.data, labels.data);
  const { labels: far } = await model.segment(series);
  assert.equal([far.shape, far.affine, far.dicom], [labels.shape, labels.affine, labels.dicom]);
});

test("segment() in a worker ends by its signal, with its reason, and others go on", async () => {
  for (const reason of [undefined, new Error("enough")]) {
    const controller = new AbortController();
    const stopped = failure(
      () =>
        model.segment(image, {
          signal: controller.signal,
          onProgress: ({ done }) => done === 2 && controller.abort(reason),
        }),
      Error,
    );
    const other = model.segment(image);
    const error = await stopped;
    if (reason) assert.is(error, reason);
    else assert.is(error.name, "AbortError");
    assert.equal((await other).labels.data, wanted.labels.data);
  }
  const before = model.segment(image, { signal: AbortSignal.abort(new Error("before")) });
  assert.is((await failure(before, Error)).message, "before");
  const own = () => model.segment(image, { onProgress: () => fail("page", "its own error") });
  assert.match(await message(own), /^page: its own error/);
  assert.equal((await model.segment(image)).labels.data, wanted.labels.data);
});

test("segment() in a worker throws errors with their names, messages and fields", async () => {
  const error = await failure(() => model.segment(new Blob(["no scan"])));
  assert.is(error.name, "NiftiError");
  assert.match(error.message, /^data: got 7 bytes/);
  assert.is((error as Error & { file: string }).file, "data");
  assert.instance(error, vg.VoxgradError);
  const missing = await failure(() => model.segment(join(folder, "none.nii")));
  assert.equal([missing.name, (missing as Error & { code: string }).code], ["PlatformError", "no-such-file"]);
  assert.match(await message(() => openModel(scan)), /^data: safetensors/);
  assert.match(await message(() => openModel(path, { steps: 1 } as object)), /unknown option "steps"/);
});

test("segment() in a worker leaves this thread free", async () => {
  let [latest, gap] = [performance.now(), 0];
  const timer = setInterval(() => {
    gap = Math.max(gap, performance.now() - latest);
    latest = performance.now();
  }, 5);
  const started = performance.now();
  await model.segment(image);
  clearInterval(timer);
  assert.ok(gap < Math.max(100, (performance.now() - started) / 2), `${gap} of ${performance.now() - started} ms`);
});

test("dispose() of a model in a worker ends calls under way, and lets the process end", async () => {
  const other = await openModel(weights);
  const running = other.segment(image, { onProgress: ({ done }) => done === 2 && other.dispose() });
  assert.match(await message(running), /^model: it was disposed of; open it again/);
  assert.match(await message(() => other.segment(image)), /^model: it was disposed of; open it again/);
  other.dispose();
  const root = fileURLToPath(new URL("../../../", import.meta.url));
  const program = join(folder, "program.ts");
  await writeFile(
    program,
    `import { openModel } from ${JSON.stringify(new URL("../../../models/worker/mod.ts", import.meta.url).href)};
    const model = await openModel(${JSON.stringify(path)});
    const { labels } = await model.segment(${JSON.stringify(join(folder, "scan.nii.gz"))});
    console.log(labels.data.join(""));
    model.dispose();`,
  );
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ["--import", "./engine/platform/cli/register.mjs", program],
    { cwd: root, encoding: "utf8", timeout: 120_000 },
  );
  assert.is(status, 0, stderr);
  assert.is(stdout.trim(), wanted.labels.data.join(""));
});

test.run();
