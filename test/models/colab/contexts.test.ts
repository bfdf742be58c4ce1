// deno-lint-ignore-file no-explicit-any
/** Context labels by k-means: what lies inside the body, by brightness, with centers of training cases alone. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import "../../../models/mod.ts";
import { closeDevice } from "../../../engine/mod.ts";
import {
  bodyMask,
  fingerprintDataset,
  inMemory,
  loadCase,
  makePlan,
  openDataset,
  type Plan,
  preprocessCase,
  tensorShape,
  writeContextPhantomDataset,
} from "../../../engine/imaging/mod.ts";
import { clusteredContexts } from "../../../models/colab/contexts.ts";
import { refuses } from "../../helpers/refuse.ts";

const folder = await mkdtemp(join(tmpdir(), "voxgrad-contexts-"));
test.after(async () => {
  await rm(folder, { recursive: true, force: true });
  await closeDevice();
});

await writeContextPhantomDataset(folder, { cases: 4, seed: 3, shape: [30, 28, 26] });
const dataset = await openDataset(folder);
// Axes as stored and no new spacing, so that prepared voxels are those of the files.
const fingerprint = await fingerprintDataset(dataset, { workers: 0, orientation: "stored" });
const own = makePlan(dataset, fingerprint, { preset: "small" });
const plan: Plan = { ...own, transpose: [0, 1, 2], orientation: "stored" };
const ids = dataset.cases.map((item) => item.id);
const loaded = await Promise.all(dataset.cases.map((item) => loadCase(dataset, item)));
const cases = await Promise.all(loaded.map((each) => preprocessCase(each, plan)));

/** A training that tells which cases were asked for. */
function training(changes: Partial<Plan> = {}, items = cases) {
  const asked: string[] = [];
  const source = inMemory(items);
  const store = { ...source, get: (id: string) => (asked.push(id), source.get(id)) } as any;
  return { dataset, plan: { ...plan, ...changes }, store, asked };
}

test("clusteredContexts() are classes of brightness within the body, from training cases alone", async () => {
  for (const contexts of [2, 4]) {
    const made = training();
    const labelsOf = clusteredContexts(made, ids.slice(0, 3), { contexts, seed: 1 });
    // The last case is none of the training's.
    for (const k of [3, 0]) {
      const { image } = loaded[k];
      // Bright, but in a corner, which is air in the file.
      const item = { ...cases[k], image: cases[k].image.slice() };
      item.image[0] = 100;
      assert.equal(tensorShape(image).slice(1), [...item.shape], "the crop left all");
      const labels = await labelsOf(item);
      const body = bodyMask(image);
      assert.ok(body.includes(0) && body.includes(1));
      const [low, high] = [new Array(contexts).fill(Infinity), new Array(contexts).fill(-Infinity)];
      labels.forEach((label, i) => {
        if (body[i] === 0) return assert.is(label, 0, "outside");
        low[label] = Math.min(low[label], item.image[i]);
        high[label] = Math.max(high[label], item.image[i]);
      });
      for (let c = 1; c < contexts; c++) {
        assert.ok(high[c - 1] < low[c], `${contexts}: context ${c} is brighter than the one before`);
      }
    }
    assert.equal([...made.asked].sort(), ids.slice(0, 3));
  }
});

test("clusteredContexts() shares centers among all training cases, the same for the same seed", async () => {
  const edge = async (labelsOf: (item: any) => Promise<Float32Array>, k: number): Promise<[number, number]> => {
    const labels = await labelsOf(cases[k]);
    const of = (label: number) => Array.from(cases[k].image).filter((_, i) => labels[i] === label);
    const inside = bodyMask(loaded[k].image);
    const dark = Array.from(cases[k].image).filter((_, i) => labels[i] === 0 && inside[i] === 1);
    return [Math.max(...dark), Math.min(...of(1))];
  };
  const labelsOf = clusteredContexts(training(), ids, { contexts: 2, seed: 1 });
  const [a, b] = [await edge(labelsOf, 0), await edge(labelsOf, 2)];
  assert.ok(a[0] < b[1] && b[0] < a[1], `one edge between the contexts: ${a}, ${b}`);
  const again = await clusteredContexts(training(), ids, { contexts: 2, seed: 1 })(cases[1]);
  assert.equal(again, await labelsOf(cases[1]));
});

test("clusteredContexts() takes the body threshold of the modality, or a given one, in file units", async () => {
  const { image } = loaded[0];
  const levels = [...image.data].sort((x, y) => x - y);
  const middle = levels[Math.floor(0.8 * levels.length)];
  const outsideOf = async (changes: Partial<Plan>, given: { threshold?: number }) => {
    const labels = await clusteredContexts(training(changes), ids.slice(0, 1), { contexts: 2, seed: 1, ...given })(
      cases[0],
    );
    return labels.reduce((n, label) => n + Number(label === 0), 0);
  };
  const as = (normalization: any) => ({ channels: [{ ...plan.channels[0], normalization }] as Plan["channels"] });
  const bright = [...bodyMask(image, { threshold: middle })];
  const labels = await clusteredContexts(training(), ids.slice(0, 1), { contexts: 2, seed: 1, threshold: middle })(
    cases[0],
  );
  labels.forEach((label, i) => assert.ok(label === 0 || bright[i] === 1));
  assert.ok(labels.includes(1));
  // CT has figures of its own; what matters here is that all of this scan is above -200.
  const ct = await outsideOf({
    channels: [{ name: "CT", normalization: "ct", mean: 0, deviation: 1, low: -1e4, high: 1e4 }],
  }, {});
  assert.is(ct, await outsideOf({}, { threshold: -200 }));
  assert.is(await outsideOf(as("z-score in mask"), {}), await outsideOf({}, { threshold: 0 }));
  assert.not.equal(ct, await outsideOf({}, {}), "else by Otsu's rule");
});

test("clusteredContexts() throws on a scan without a body or with too few intensities, with the fix", async () => {
  const none = clusteredContexts(training(), ids, { contexts: 2, seed: 1, threshold: 1e6 });
  await refuses(none(cases[0]), /no voxel above 1000000 in 4 training cases; set --bodyThreshold/);
  const flat = cases.map((item) => ({ ...item, image: new Float32Array(item.image.length).fill(2) }));
  const same = clusteredContexts(training({}, flat), ids, { contexts: 2, seed: 1 });
  await refuses(same(flat[0]), /kMeans: \d+ points hold 1 different ones; 2 clusters want as many/);
});

test.run();
