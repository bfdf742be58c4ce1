/** Models of others in the page: an ONNX file, and what TensorFlow.js wrote, as brainchop's are; labels as in Node. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeDevice, random, zeros } from "../../../engine/mod.ts";
import { makeVolume, readVolume, scaling, type Volume, writeNifti } from "../../../engine/imaging/mod.ts";
import { exportOnnx, networkFromPlan, openModel, type SegmentationModel } from "../../../models/mod.ts";
import { noise } from "../../helpers/noise.ts";
import { planFor } from "../../helpers/plans.ts";
import { closeBrowser } from "../harness.ts";
import { openApp, problemOf, saved, says } from "./page.ts";

const folder = await mkdtemp(join(tmpdir(), "voxgrad-foreign-"));
const place = (name: string): string => join(folder, name);
test.after(async () => {
  await closeBrowser();
  await closeDevice();
  await rm(folder, { recursive: true, force: true });
});

const shape = [15, 17, 9] as const;
const image = makeVolume(Float32Array.from(noise(15 * 17 * 9, 1)), { shape, affine: scaling([1, 1, 1]) });
await writeFile(place("scan.nii.gz"), writeNifti(image, { gzip: true }));

const plan = planFor({ labels: ["background", "a", "b"] });
const network = networkFromPlan(plan);
const input = zeros([1, 1, ...plan.patch]);
const graph = await exportOnnx((p, given) => network.apply(p, given.input), network.init(random.key(3)), { input });
await writeFile(place("network.onnx"), graph);

/** A small network as TensorFlow.js stores it: convolutions of growing dilation, as in brainchop's MeshNets. */
const convolutions = [
  { name: "first", inputs: 1, filters: 4, kernel: 3, dilation: 1, activation: "relu" },
  { name: "second", inputs: 4, filters: 4, kernel: 3, dilation: 2, activation: "elu" },
  { name: "output", inputs: 4, filters: 3, kernel: 1, dilation: 1, activation: "linear" },
] as const;
const cube = (size: number): number[] => [size, size, size];
const layers = convolutions.map(({ name, filters, kernel, dilation, activation }, k) => ({
  class_name: "Conv3D",
  config: {
    ...(k === 0 && { batch_input_shape: [null, null, null, null, 1] }),
    ...{ name, filters, activation, kernel_size: cube(kernel), strides: cube(1), dilation_rate: cube(dilation) },
    ...{ padding: "same", data_format: "channels_last", use_bias: true },
  },
}));
const stored = convolutions.flatMap(({ name, inputs, filters, kernel }) => [
  { name: `${name}/kernel`, shape: [...cube(kernel), inputs, filters], dtype: "float32" },
  { name: `${name}/bias`, shape: [filters], dtype: "float32" },
]);
const sizes = stored.map(({ shape }) => shape.reduce((a, b) => a * b));
const weights = Float32Array.from(sizes.flatMap((size, k) => [...noise(size, k + 2)]));
const meshnet = [place("model.json"), place("model.bin")];
await writeFile(
  meshnet[0],
  JSON.stringify({
    format: "layers-model",
    modelTopology: { class_name: "Sequential", config: layers },
    weightsManifest: [{ paths: ["model.bin"], weights: stored }],
  }),
);
await writeFile(meshnet[1], weights);

/** How scans are prepared, as the form of the page says it. */
const PREPARED = { spacing: [1, 1, 1], channels: [{ name: "image", normalization: "z-score" }] } as const;

async function inNode(model: SegmentationModel): Promise<Volume> {
  const { labels } = await model.segment(await readVolume(place("scan.nii.gz")));
  model.dispose();
  return labels;
}

async function inPage(files: readonly string[], patch = ""): Promise<Volume> {
  const { page, mistakes, close } = await openApp();
  try {
    await page.getByLabel("Choose files").setInputFiles(place("scan.nii.gz"));
    await page.locator('#stage[data-shown="scan.nii.gz"]').waitFor({ timeout: 120_000 });
    await page.getByLabel("Choose a model").setInputFiles(files);
    // The file does not say how scans are prepared, so the page asks.
    assert.match(await problemOf(page), /does not say how scans are prepared/);
    await page.getByLabel("Patch in voxels").fill(patch);
    await page.getByRole("button", { name: "Open with this" }).click();
    await page.locator(".chosen", { hasText: `${basename(files[0])}: finds` }).waitFor({ timeout: 120_000 });
    await page.getByRole("button", { name: "Segment", exact: true }).click();
    await says(page, /Done in|Nothing was found/);
    assert.equal(mistakes, []);
    return await saved(page);
  } finally {
    await close();
  }
}

function alike(found: Volume, wanted: Volume): void {
  assert.equal(found.shape, wanted.shape);
  assert.ok(new Set(wanted.data).size > 1, "more than one label");
  // The browser has another build of SwiftShader: a voxel whose classes are as likely to six digits may differ.
  const differ = Array.from(found.data).filter((value, i) => value !== wanted.data[i]).length;
  assert.ok(differ <= wanted.data.length / 1000, `${differ} of ${wanted.data.length} voxels differ`);
}

test("Segment opens an ONNX file without a plan, and finds what it finds in Node", async () => {
  alike(await inPage([place("network.onnx")]), await inNode(await openModel(graph, { plan: PREPARED })));
});

test("Segment opens a network of TensorFlow.js that takes any size, and finds what it finds in Node", async () => {
  const wanted = await inNode(await openModel(meshnet[0], { plan: { ...PREPARED, patch: [9, 12, 10] } }));
  alike(await inPage(meshnet, "9, 12, 10"), wanted);
});

test.run();
