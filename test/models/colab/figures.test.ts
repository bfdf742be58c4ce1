/** The figures of a training with context labels, against plain loops and networks whose outputs are known. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../../engine/mod.ts";
import type { Tensor } from "../../../engine/mod.ts";
import * as imaging from "../../../engine/imaging/mod.ts";
import { preparedVolume, Prng, type Slab, type Triple } from "../../../engine/imaging/mod.ts";
import { colabFigures } from "../../../models/mod.ts";
import { figureMaps, sampleVoxels } from "../../../models/colab/figure_maps.ts";
import type { FigureCase, FigureOptions } from "../../../models/mod.ts";
import { planFor } from "../../helpers/plans.ts";
import { checkSvg } from "../../helpers/svg.ts";

test.after(() => vg.closeDevice());

test("sampleVoxels() draws distinct voxels that match, each as likely, the same for a seed", () => {
  const label = Uint8Array.from({ length: 60 }, (_, i) => Number(i % 3 === 0));
  const times = new Array<number>(60).fill(0);
  const rounds = 4000;
  for (let seed = 0; seed < rounds; seed++) {
    const drawn = sampleVoxels(new Prng(seed), label, { value: 1, equal: true, count: 7 });
    assert.is(drawn.length, 7);
    for (const [k, voxel] of drawn.entries()) {
      assert.ok(label[voxel] === 1 && (k === 0 || voxel > drawn[k - 1]));
      times[voxel]++;
    }
  }
  // Binomial with p = 7/20: five deviations.
  const [mean, deviation] = [(rounds * 7) / 20, Math.sqrt(rounds * (7 / 20) * (13 / 20))];
  times.forEach((n, i) => assert.ok(label[i] === 1 ? Math.abs(n - mean) < 5 * deviation : n === 0, `voxel ${i}: ${n}`));
  const others = (count: number) => [...sampleVoxels(new Prng(3), label, { value: 1, equal: false, count })];
  assert.equal(others(9), others(9));
  assert.equal(others(1000), [...label.keys()].filter((i) => label[i] === 0));
  assert.equal([...sampleVoxels(new Prng(3), label, { value: 2, equal: true, count: 5 })], []);
  assert.equal(others(0), []);
});

const numbers = (length: number, seed: number): Float32Array<ArrayBuffer> => {
  const prng = new Prng(seed);
  return Float32Array.from({ length }, () => prng.normal());
};

/** A case [D, H, W] with labels 0 to `rois`. */
function caseOf(shape: Triple, rois: number, options: { channels?: number; id?: string } = {}): FigureCase {
  const { channels = 1, id = "case" } = options;
  const count = shape[0] * shape[1] * shape[2];
  const prng = new Prng(imaging.voxelCount(shape)).fork(id);
  const label = Uint8Array.from({ length: count }, () => prng.integer(rois + 1));
  return { id, image: numbers(count * channels, 7), label, channels, shape, spacing: [1, 1, 1], foreground: [] };
}

/** Outputs [channels, D, H, W] in slabs of 2, 1, 2 ... planes. */
async function* slabsOf(outputs: Float32Array, channels: number, [D, H, W]: Triple): AsyncGenerator<Slab> {
  let depth = 2;
  for (let start = 0; start < D; start += depth, depth = 3 - depth) {
    const planes = Math.min(depth, D - start);
    const parts = Array.from({ length: channels }, (_, c) => {
      const at = (c * D + start) * H * W;
      return [...outputs.subarray(at, at + planes * H * W)];
    });
    yield { start, depth: planes, data: Float32Array.from(parts.flat()) };
  }
}

test("figureMaps() agrees with sorting each voxel's outputs, in either order of classes", async () => {
  const [rois, contexts] = [2, 3];
  const shape: Triple = [5, 3, 4];
  const count = 60;
  const item = caseOf(shape, rois);
  for (const backgroundFirst of [false, true]) {
    const channels = rois + 2 * contexts + 1;
    const outputs = numbers(channels * count, 5);
    const options = { rois, contexts, backgroundFirst, withContexts: true, points: 1000, prng: new Prng(1) };
    const found = await figureMaps(item, slabsOf(outputs, channels, shape), options);
    const names = backgroundFirst ? ["b1", "b2", "b3", "r1", "r2"] : ["r1", "r2", "b1", "b2", "b3"];
    const planes = [0, 1].map(() => ({
      positives: [] as number[][],
      negatives: [] as number[][],
      falsePositive: 0,
      falseNegative: 0,
    }));
    for (let i = 0; i < count; i++) {
      const at = (c: number): number => outputs[c * count + i];
      const ranked = names.map((name, c) => ({ name, z: at(c) })).sort((a, b) => b.z - a.z);
      const top = ranked[0].name;
      assert.is(found.prediction[i], top.startsWith("r") ? Number(top[1]) : 0);
      const near = at(8) > 0.5;
      const q = [at(5), at(6), at(7)];
      assert.is(found.taught![i], item.label[i] === 0 && near ? q.indexOf(Math.max(...q)) + 1 : 0);
      const seen = Number(ranked.find(({ name }) => name.startsWith("b"))!.name[1]);
      assert.is(found.seen![i], top.startsWith("r") || (seen === 1 && !near) ? 0 : seen);
      planes.forEach((plane, k) => {
        const [is, said] = [item.label[i] === k + 1, top === `r${k + 1}`];
        const own = ranked.find(({ name }) => name === `r${k + 1}`)!;
        plane[is ? "positives" : "negatives"].push([own.z, ranked.find((other) => other !== own)!.z]);
        if (said && !is) plane.falsePositive++;
        if (is && !said) plane.falseNegative++;
      });
    }
    planes.forEach((wanted, k) => {
      const { positive, negative, ...got } = found.planes[k];
      assert.equal(got as object, wanted);
      assert.equal([positive, negative], [wanted.positives.length, wanted.negatives.length]);
    });
  }
});

test("figureMaps() gives equal logits to the background, draws at most the points asked, refuses NaN", async () => {
  const shape: Triple = [3, 4, 5];
  const item = caseOf(shape, 1);
  const options = { rois: 1, contexts: 1, points: 4, prng: new Prng(2) };
  const equal = await figureMaps(item, slabsOf(new Float32Array(120), 2, shape), options);
  assert.ok(equal.prediction.every((v) => v === 0));
  assert.equal([equal.taught, equal.seen], [undefined, undefined]);
  const { positives, negatives, positive, falseNegative } = equal.planes[0];
  assert.equal([positives.length, negatives.length], [4, 4]);
  assert.equal([positive, falseNegative], [1, 1].map(() => item.label.filter((v) => v === 1).length));
  const outputs = new Float32Array(120);
  outputs[77] = NaN;
  const message = await figureMaps(item, slabsOf(outputs, 2, shape), options).catch((error: Error) => error.message);
  assert.match(message as string, /case: a logit is NaN; the training has diverged/);
});

// Logits of a voxel by its own intensity alone: 2 x for the ROI, 1 for the first context, -x for the second.
const network = {
  apply: (_: unknown, image: Tensor) => vg.concat([image.mul(2), image.mul(0).add(1), image.mul(-1)], { axis: 1 }),
};
const plan = planFor({ patch: [4, 4, 4], labels: ["background", "lesion"] });
const shape: Triple = [7, 6, 5];
/** The mask beside the image: 1 in the first planes, 0 in the rest. */
const withMask = (id: string): FigureCase => {
  const item = caseOf(shape, 1, { channels: 2, id });
  item.image.set(item.label.map((_, i) => Number(i < 4 * 30)), item.label.length);
  return item;
};
const arm: FigureOptions = {
  plan,
  contexts: 2,
  network,
  params: [],
  heldOut: [withMask("a"), withMask("b")],
  training: [withMask("c")],
  // Context 2 where the image is above 0.3.
  contextsOf: (_, image, extra) => {
    const above = image.greater(0.3).cast("f32");
    return { q: vg.concat([above.mul(-1).add(1), above], { axis: 1 }), mask: extra.squeeze({ axes: [1] }) };
  },
};

test("colabFigures() reads whole cases by the window: counts, dots and maps are those of the voxels", async () => {
  const figures = await colabFigures(arm);
  assert.equal(figures.map(({ name }) => name), ["logits", "context_maps", "intensities"]);
  figures.forEach(({ svg }) => checkSvg(svg));
  const [logits, maps, intensities] = figures.map(({ svg }) => svg) as [string, string, string];
  // The ROI is predicted where 2 x > max(1, -x).
  const wrong = (items: readonly FigureCase[], value: number) =>
    items.flatMap(({ label, image }) => [...label].filter((v, i) => v === value && image[i] > 0.5 !== (v === 1)))
      .length;
  const all = (items: readonly FigureCase[], value: number) =>
    items.flatMap(({ label }) => [...label].filter((v) => v === value)).length;
  for (const items of [arm.heldOut, arm.training!]) {
    assert.ok(logits.includes(`>${wrong(items, 0)} false positives of ${all(items, 0)} voxels<`), logits.slice(0, 900));
    assert.ok(logits.includes(`>${wrong(items, 1)} false negatives of ${all(items, 1)}<`));
  }
  assert.ok(logits.includes(">2 held-out cases<") && logits.includes(">1 training case<"));
  assert.is(logits.match(/<circle/g)!.length, 3 * 210, "so few voxels are all drawn");
  assert.is(maps.match(/<image/g)!.length, 4 * 4, "two cases, taught and predicted, in four slices");
  for (const word of ["a, contexts taught", "b, contexts predicted", ">context 2<"]) {
    assert.ok(maps.includes(word), word);
  }
  for (const word of ["ROI and background", "contexts taught", "contexts predicted"]) {
    assert.ok(intensities.includes(word), word);
  }
  const again = await colabFigures({ ...arm, training: [] });
  assert.equal(again.slice(1), figures.slice(1), "the same bytes, whatever the other cases");
});

test("colabFigures() without contexts draws the logit plane alone, of training cases if none is held out", async () => {
  const two = { apply: (_: unknown, image: Tensor) => vg.concat([image.mul(-1), image], { axis: 1 }) };
  const item = caseOf([16, 16, 17], 1);
  const options = {
    plan: { ...plan, patch: [16, 16, 16] as const },
    contexts: 1,
    network: two,
    params: [],
    backgroundFirst: true,
    heldOut: [],
    training: [item, { ...item, id: "other" }],
  };
  const figures = await colabFigures(options);
  assert.equal(figures.map(({ name }) => name), ["logits"]);
  const { svg } = figures[0];
  checkSvg(svg);
  assert.ok(svg.includes(">2 training cases<") && !svg.includes("held-out"));
  const wrong = 2 * [...item.label].filter((v, i) => v === 0 && item.image[i] > 0).length;
  assert.ok(svg.includes(`>${wrong.toLocaleString("en")} false positives of`), "thousands are grouped");
  const dots = svg.match(/<circle[^>]*>/g)!;
  assert.is(dots.length, 2 * 1500);
  assert.ok(new Set(dots).size > 0.65 * dots.length, "cases alike in all but name give other voxels");
  assert.equal(await colabFigures(options), figures);
  assert.is.not((await colabFigures({ ...options, seed: 1 }))[0].svg, svg);
  assert.equal(await colabFigures({ ...options, training: [] }), []);
});

test("preparedVolume() places prepared voxels in the patient: a linear image keeps its values", async () => {
  // Oblique axes, so that a wrong column shows; the image is linear in patient coordinates.
  const affine = [-0.2, -1.9, 0.1, 40, -1.2, 0.3, 0.2, 25, 0.1, 0.2, 2.9, -60, 0, 0, 0, 1];
  const size: Triple = [12, 10, 9];
  const value = ([x, y, z]: readonly number[]) => 100 + x + 2 * y - 3 * z;
  const image = imaging.makeVolume(new Float32Array(12 * 10 * 9), { shape: size, affine });
  const at = (i: number) => [i % 12, Math.floor(i / 12) % 10, Math.floor(i / 120)];
  image.data.forEach((_, i) => (image.data[i] = value(imaging.applyAffine(affine, at(i)))));
  // An empty border, which is cropped.
  image.data.forEach((_, i) => at(i)[0] < 2 && (image.data[i] = 0));
  for (const orientation of ["RAS", "stored"] as const) {
    const made = planFor({
      orientation,
      transpose: [1, 2, 0],
      spacing: [1.5, 1.1, 2],
      channels: [{ name: "MRI", normalization: "none" }],
      resampling: { image: 1, label: 1, separateAxis: 0, anisotropy: 9 },
    });
    const label = imaging.volumeLike(image, new Uint8Array(12 * 10 * 9));
    const item = await imaging.preprocessCase({ id: "p", image, label }, made);
    const volume = preparedVolume(item);
    const [W, H, D] = volume.shape;
    assert.equal([D, H, W], [...item.shape]);
    let largest = 0;
    for (let z = 1; z < D - 1; z++) {
      for (let y = 1; y < H - 1; y++) {
        for (let x = 1; x < W - 1; x++) {
          const wanted = value(imaging.applyAffine(volume.affine, [x, y, z]));
          largest = Math.max(largest, Math.abs(volume.data[(z * H + y) * W + x] - wanted));
        }
      }
    }
    // Linear interpolation keeps linear functions; values of some hundreds in float32.
    assert.ok(largest < 1e-3, `${orientation}: ${largest}`);
  }
  const plain = preparedVolume(caseOf([2, 3, 4], 1));
  assert.equal([...plain.affine], [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]);
});

test.run();
