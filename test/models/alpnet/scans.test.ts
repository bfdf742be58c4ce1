// deno-lint-ignore-file no-explicit-any
/** Episodes of slices and their transforms; scans segmented by an encoder whose features are known. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../../engine/mod.ts";
import type { Tensor } from "../../../engine/mod.ts";
import * as imaging from "../../../engine/imaging/mod.ts";
import type { Plan, SampleCase, Triple } from "../../../engine/imaging/mod.ts";
import {
  annotatedEpisodes,
  largestSlices,
  oneShotSegmenter,
  superpixelEpisodes,
  transformed,
} from "../../../models/mod.ts";
import { sliceRange } from "../../../models/alpnet/slices.ts";

const SHAPE = [5, 11, 14] as const;
const AREA = 11 * 14;

/**
 * Voxels tell where they are: z in the hundreds of thousands of case n. Class 1 in slices 1 to 3, class 2 in slice 3
 * alone.
 */
function made(n: number): SampleCase {
  const image = Float32Array.from({ length: 5 * AREA }, (_, i) => n * 1000 + i);
  const label = Uint8Array.from({ length: 5 * AREA }, (_, i) => {
    const [z, y, x] = [Math.floor(i / AREA), Math.floor(i / 14) % 11, i % 14];
    if (z === 3 && y > 8 && x > 11) return 2;
    return z >= 1 && z <= 3 && Math.abs(y - 5) < 2 && Math.abs(x - 4) < 3 ? 1 : 0;
  });
  return { id: `case${n}`, image, label, channels: 1, shape: SHAPE, spacing: [1, 1, 1], foreground: [] };
}
const cases = [0, 1, 2].map(made);
const source = imaging.inMemory(cases);

/** Which case and slice a cut of the image is of, from its voxels; those beyond the slice are 0. */
function origin(values: ArrayLike<number>): { n: number; z: number } {
  const inside = Array.from(values).filter((v) => v > 0);
  const [n, z] = [Math.floor(inside[0] / 1000), Math.floor((inside[0] % 1000) / AREA)];
  assert.ok(inside.every((v) => Math.floor(v / 1000) === n && Math.floor((v % 1000) / AREA) === z), "one slice");
  return { n, z };
}

test("superpixelEpisodes() draws a slice twice, and one of its superpixels, in view", async () => {
  // Two superpixels in slice 0 and three in slice 4 of case 1; nothing else.
  const labels = new Map(cases.map(({ id }) => [id, new Uint16Array(5 * AREA)]));
  const mine = labels.get("case1")!;
  for (const [z, y, x, number] of [[0, 0, 0, 1], [0, 9, 12, 2], [4, 1, 1, 1], [4, 10, 0, 2], [4, 5, 13, 3]] as const) {
    mine[z * AREA + y * 14 + x] = number;
  }
  const superpixels = { get: (id: string) => labels.get(id)!, made: 0, kept: 3 };
  const draw = await superpixelEpisodes(source, superpixels, { size: [7, 8] });
  const seen = new Set<string>();
  for (let k = 0; k < 40; k++) {
    const { image, label } = await draw(new imaging.Prng(3).fork(k));
    assert.equal([image.shape, label.shape], [[2, 1, 7, 8], [2, 7, 8]]);
    const [values, mask] = [await image.data(), await label.data()];
    assert.equal(values.subarray(0, 56), values.subarray(56));
    assert.equal(mask.subarray(0, 56), mask.subarray(56));
    const at = Array.from(mask.subarray(0, 56)).indexOf(1);
    assert.is(mask.subarray(0, 56).filter((v: number) => v > 0).length, 1);
    const { n, z } = origin(values);
    const voxel = values[at] - 1000;
    assert.is(n, 1);
    seen.add(`${z}: ${mine[voxel]}`);
    assert.ok(mine[voxel] > 0, "the mask is where the superpixel is");
  }
  assert.equal([...seen].sort(), ["0: 1", "0: 2", "4: 1", "4: 2", "4: 3"]);
  const again = async () => [...(await (await draw(new imaging.Prng(8))).image.data())];
  assert.equal(await again(), await again());
  // Without slices that show class 2, slice 3 is left out: put a superpixel there alone.
  mine.fill(0);
  mine[3 * AREA] = 1;
  const refused = superpixelEpisodes(source, superpixels, { size: [7, 8], exclude: [2] });
  assert.match(await refused.then(() => "", (error: Error) => error.message), /no slice has a superpixel/);
});

test("annotatedEpisodes() draws a class in slices of two patients, never beside an excluded one", async () => {
  const draw = await annotatedEpisodes(source, [1], { size: [11, 14], exclude: [2] });
  const pairs = new Set<string>();
  for (let k = 0; k < 30; k++) {
    const { image, label } = await draw(new imaging.Prng(5).fork(k));
    const [values, mask] = [await image.data(), await label.data()];
    const [first, second] = [origin(values.subarray(0, AREA)), origin(values.subarray(AREA))];
    assert.ok(
      first.n !== second.n && [first.z, second.z].every((z) => z === 1 || z === 2),
      `${JSON.stringify([first, second])}`,
    );
    pairs.add(`${first.n}${second.n}`);
    for (const [n, { n: of, z }] of [first, second].entries()) {
      assert.equal(
        [...mask.subarray(n * AREA, (n + 1) * AREA)],
        [...cases[of].label.subarray(z * AREA, (z + 1) * AREA)].map(Number),
      );
    }
  }
  assert.is(pairs.size, 6);
  const none = annotatedEpisodes(source, [2], { size: [11, 14], exclude: [2] });
  assert.match(await none.then(() => "", (error: Error) => error.message), /no slice shows one of the classes 2/);
  const alone = await (await annotatedEpisodes(imaging.casesOf(source, ["case2"]), [1], { size: [11, 14] }))(
    new imaging.Prng(1),
  );
  const both = await alone.image.data();
  assert.equal([origin(both.subarray(0, AREA)).n, origin(both.subarray(AREA)).n], [2, 2]);
});

test("transformed() moves image and mask alike, the query alone if so asked", async () => {
  const [h, w] = [48, 40];
  const disk = Int32Array.from(
    { length: 2 * h * w },
    (_, i) => Number((Math.floor(i / w) % h - 24) ** 2 + (i % w - 20) ** 2 < 120),
  );
  const label = vg.tensor(disk, { shape: [2, h, w] });
  const image = vg.tensor(Float32Array.from(disk), { shape: [2, 1, h, w] });
  const at = async (options: Parameters<typeof transformed>[2]) => {
    const moved = transformed(vg.random.key(4), { image, label }, options);
    return { image: [...(await moved.image.data())] as number[], mask: [...(await moved.label.data())] as number[] };
  };
  const plain = await at({ transform: "none", of: "both" });
  assert.equal([plain.image, plain.mask], [[...disk], [...disk]]);
  const moved = await at({ transform: "geometry", of: "both" });
  const half = h * w;
  const differs = (a: number[], b: ArrayLike<number>, n: number) =>
    a.slice(n * half, (n + 1) * half).some((v, i) => v !== b[n * half + i]);
  assert.ok(differs(moved.mask, disk, 0) && differs(moved.mask, disk, 1), "both are moved");
  assert.ok(moved.mask.slice(0, half).some((v, i) => v !== moved.mask[half + i]), "by themselves");
  // The image of the mask, interpolated, is above one half where the nearest pixel is of it, but for ties by rounding.
  const wrong = moved.mask.filter((v, i) => Math.abs(moved.image[i] - 0.5) > 0.45 && v !== Math.round(moved.image[i]));
  assert.is(wrong.length, 0);
  const area = moved.mask.slice(0, half).reduce((a, b) => a + b) / disk.slice(0, half).reduce((a, b) => a + b);
  assert.ok(area > 0.75 && area < 1.5, `sizes of 0.9 to 1.2 are areas of 0.81 to 1.44, got ${area}`);
  const query = await at({ transform: "both", of: "query" });
  assert.not.ok(differs(query.mask, disk, 0) || differs(query.image, disk, 0), "the support stays");
  assert.ok(differs(query.mask, disk, 1), "the query moves");
});

/** Features [max(x, 0), max(-x, 0)]: what is brighter than the mean, and what is darker. */
const signs = {
  config: { outputStride: 1 },
  apply: (_: unknown, x: Tensor): Tensor => vg.concat([vg.relu(x), vg.relu(x.neg())], { axis: 1 }),
};
const plan = {
  format: "voxgrad plan 1",
  dataset: "made",
  configuration: "3d_fullres",
  orientation: "RAS",
  transpose: [0, 1, 2],
  spacing: [2, 1, 1],
  patch: [4, 8, 8],
  batch: 1,
  channels: [{ name: "MR", normalization: "z-score" }],
  labels: ["background", "bright"],
  resampling: { image: 3, label: 1, separate: "auto", anisotropy: 3 },
} as unknown as Plan;

/** A scan with a bright box over slices [from, to), on a dark ground that is nowhere zero. */
function scan(
  shape: Triple,
  [from, to]: readonly [number, number],
  axes = "RAS",
): { image: imaging.Volume; label: imaging.Volume } {
  const [X, Y] = shape;
  const inside = Uint8Array.from({ length: imaging.voxelCount(shape) }, (_, i) => {
    const [x, y, z] = [i % X, Math.floor(i / X) % Y, Math.floor(i / (X * Y))];
    return Number(z >= from && z < to && x >= 3 && x < 7 && y >= 2 && y < 9);
  });
  const affine = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 2, 0, 0, 0, 0, 1];
  const volume = (data: imaging.VoxelData) =>
    imaging.reorient(imaging.makeVolume(data, { shape, affine, name: "made" }), axes);
  return { image: volume(Float32Array.from(inside, (v) => 10 + 90 * v)), label: volume(inside) };
}
const supportOf = async (shape: Triple, range: readonly [number, number]) => {
  const { image, label } = scan(shape, range);
  return imaging.preprocessCase({ id: "support", image, label: { ...label, data: Uint8Array.from(label.data) } }, plan);
};

test("oneShotSegmenter() finds in other scans what a labeled one shows, whatever their axes and sizes", async () => {
  const support = await supportOf([12, 13, 9], [2, 7]);
  assert.equal(sliceRange(support.label, support.shape, 1), [2, 6]);
  assert.is(sliceRange(support.label, support.shape, 9), undefined);
  for (const prototypes of [{}, { foreground: "mask", background: "mask" }] as const) {
    const segment = oneShotSegmenter(signs, {}, { plan, window: 1, batch: 4, ...prototypes });
    for (const axes of ["RAS", "PSL"]) {
      const { image, label } = scan([11, 15, 7], [1, 6], axes);
      const found = await segment(image, [support]);
      assert.equal([found.shape, found.affine], [image.shape, image.affine]);
      assert.equal([...found.data], [...label.data], axes);
    }
  }
  // Only slices that are said to show the class are looked at.
  const { image, label } = scan([11, 15, 7], [1, 6]);
  const some = await oneShotSegmenter(signs, {}, { plan, window: 1 })(image, [support], {
    ranges: new Map([[1, [2, 3]]]),
  });
  const area = 11 * 15;
  assert.equal(
    [...some.data],
    [...label.data].map((v, i) => (Math.floor(i / area) === 2 || Math.floor(i / area) === 3 ? v : 0)),
  );
});

test("oneShotSegmenter() takes several classes and supports, and keeps their values", async () => {
  const bright = await supportOf([12, 13, 9], [2, 7]);
  // Class 7: what is dark, of another support.
  const dark = await supportOf([10, 12, 6], [0, 3]);
  const other = { ...dark, label: dark.label.map((v) => (v === 0 ? 7 : 0)) };
  const segment = oneShotSegmenter(signs, {}, { plan, window: 1 });
  const { image, label } = scan([11, 15, 7], [1, 6]);
  const found = await segment(image, [bright, other]);
  assert.equal([...found.data], [...label.data].map((v) => (v === 1 ? 1 : 7)));
  const slices = largestSlices({ ...bright, label: bright.label.map((v, i) => (i < 3 * 13 * 12 ? 0 : v)) });
  assert.equal(sliceRange(slices.label, slices.shape, 1), [3, 3]);
  assert.equal([...(await segment(image, [slices])).data], [...label.data].map(Number));
  const refused = async (supports: any[]) => segment(image, supports).then(() => "", (error: Error) => error.message);
  assert.match(await refused([{ ...bright, label: new Uint8Array(bright.label.length) }]), /supports show no class/);
  assert.match(await refused([{ ...bright, label: new Uint8Array([1]) }]), /has \d+ values and 1 labels/);
});

test.run();
