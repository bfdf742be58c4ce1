/** adapt() on phantoms whose intensities are inverted: what it learns, stops, goes on, and refuses. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeDevice, memoryFiles, setHost } from "../../engine/mod.ts";
import { device } from "../../engine/gpu/mod.ts";
import { loadCase, openDataset, readVolume, writePhantomDataset, writeVolume } from "../../engine/imaging/mod.ts";
import { withDefaults } from "../../engine/train/mod.ts";
import { openModel } from "../../models/mod.ts";
import { adapt, adaptEntries, type Look } from "../../scripts/adapt.ts";
import { trainUnet, unetEntries } from "../../scripts/train_unet.ts";
import { message } from "../helpers/refuse.ts";

const files = memoryFiles();
const lines: string[] = [];
setHost({ files, log: (line) => void lines.push(line) });
test.after(async () => {
  setHost({ files: undefined, log: undefined });
  await closeDevice();
});

const shape = [20, 18, 16] as const;
await writePhantomDataset("bright", { cases: 4, seed: 1, shape });
const sizes = { features: [4, 8], patch: [16, 16, 16], augment: "mirror", fold: "all", validation: 0 } as const;
await trainUnet(withDefaults(unetEntries, { ...sizes, data: "bright", run: "base", steps: 80 }));

// The same patients, dark where they were bright: two corrected scans, one held out, one without a label.
const dataset = await openDataset("bright");
for (const [k, item] of dataset.cases.entries()) {
  const { image, label } = await loadCase(dataset, item);
  const dark = { ...image, data: Float32Array.from(image.data, (value) => 1000 - value) };
  const to = k < 3 ? `corrected/images/${item.id}.nii.gz` : "next/scan.nii.gz";
  await writeVolume(to, dark);
  if (k < 3) await writeVolume(`corrected/labels/${item.id}.nii.gz`, label!);
}
const [, , held] = dataset.cases.map(({ id }) => id);
const own = { model: "base", data: "corrected", held, watch: "next", steps: 60, look: 20, augment: "mirror" } as const;
const mean = ({ dice }: Look): number => {
  const values = Object.values(dice!);
  return values.reduce((a, b) => a + b) / values.length;
};
const bytes = async (path: string): Promise<Uint8Array> => (await files.read(path))!;

const looks: Look[] = [];
const whole = adapt(withDefaults(adaptEntries, { ...own, run: "whole" }), { onLook: (look) => looks.push(look) });

test("adapt() learns another look from two scans, and shows a third and one without labels meanwhile", async () => {
  await whole;
  assert.equal(
    looks.map(({ id, step }) => `${id} ${step}`),
    [0, 20, 40, 60].flatMap((k) => [`${held} ${k}`, `scan ${k}`]),
  );
  const [first, , , , , , last, scan] = looks;
  assert.ok(mean(last) > mean(first) + 0.1, `Dice ${mean(first)}, then ${mean(last)}`);
  assert.is(last.before.data.filter((value, k) => value !== first.labels.data[k]).length, 0, "voxels that differ");
  assert.is(scan.dice, undefined);
  assert.match(new TextDecoder().decode(await bytes("whole/watched.svg")), `${held} after 60 steps`);
});

test("adapt() writes a model with the base's plan, which segments as the last look did", async () => {
  await whole;
  const [base, model] = [await openModel("base"), await openModel("whole")];
  assert.equal(model.plan, base.plan);
  const { labels } = await model.segment(await readVolume("next/scan.nii.gz"));
  assert.is(labels.data.filter((value, k) => value !== looks.at(-1)!.labels.data[k]).length, 0, "voxels that differ");
  for (const each of [base, model]) each.dispose();
});

test("adapt() that was stopped goes on by the same call, and ends with the same weights", async () => {
  await whole;
  const stop = new AbortController();
  const options = withDefaults(adaptEntries, { ...own, run: "stopped" });
  const stopped = adapt(options, {
    signal: stop.signal,
    onLook: ({ step }) => step === 20 && stop.abort(new Error("enough")),
  });
  assert.is(await message(() => stopped, Error), "enough");
  const seen: number[] = [];
  await adapt({ ...options, run: "", resume: "stopped" }, { onLook: ({ step }) => seen.push(step) });
  assert.ok(seen[0] >= 20 && seen[0] < 40, `went on after step ${seen[0]}`);
  const [a, b] = [await bytes("whole/model.safetensors"), await bytes("stopped/model.safetensors")];
  assert.ok(a.every((byte, k) => byte === b[k]) && a.length === b.length, "the same bytes");
});

test("adapt() goes on after a device that is lost while a scan is looked at, to the same weights and log", async () => {
  await whole;
  let lost = false;
  await adapt(withDefaults(adaptEntries, { ...own, run: "lost" }), {
    async onLook({ step, id }) {
      if (step !== 40 || id !== held || lost) return;
      lost = true;
      (await device()).gpu.destroy();
    },
  });
  const [a, b] = [await bytes("whole/model.safetensors"), await bytes("lost/model.safetensors")];
  assert.ok(lost && a.length === b.length && a.every((byte, k) => byte === b[k]), "the same bytes");
  const epochs = new TextDecoder().decode(await bytes("lost/epochs.jsonl")).trimEnd().split("\n");
  assert.equal(epochs.map((line) => JSON.parse(line).step), [20, 40, 60]);
});

test("adapt() refuses other labels than the model's, unknown cases, and missing arguments", async () => {
  await writePhantomDataset("others", { cases: 2, seed: 3, shape });
  const json = JSON.parse(new TextDecoder().decode(await bytes("others/dataset.json")));
  const text = JSON.stringify(json).replaceAll("gland", "spleen");
  await files.write("others/dataset.json", new TextEncoder().encode(text));
  const call = (options: object) => message(() => adapt(withDefaults(adaptEntries, options)), Error);
  const other = { model: "base", data: "others", run: "refused" };
  assert.match(await call(other), /its labels .*2 gland.* are not those of others .*Give the scans the labels/);
  assert.match(await call({ ...own, held: "nobody", run: "refused" }), /names "nobody", which is no case/);
  assert.match(await call({ data: "corrected" }), /--model is missing/);
});

test.run();
