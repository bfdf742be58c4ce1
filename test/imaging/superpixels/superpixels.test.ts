// deno-lint-ignore-file no-explicit-any
/** The patient in a slice and the superpixels in it. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { felzenszwalb, superpixels } from "../../../engine/imaging/mod.ts";
import { foregroundMask } from "../../../engine/imaging/superpixels/superpixels.ts";
import { noise } from "../../helpers/noise.ts";

const draw = (rows: readonly string[]): number[] => rows.flatMap((row) => [...row].map((c) => (c === "#" ? 1 : 0)));

/** Two parts joined by a corner, with holes; one hole open to the border by a side, one only by a corner; specks. */
const rows = [
  "..........#",
  "..####.....",
  ".#...#..#..",
  ".#.#.#..#..",
  ".#...#.....",
  ".#####.....",
  "......####.",
  "#.....#..#.",
  "......#.##.",
];
/** What scipy.ndimage.binary_fill_holes makes of the largest part by 8 neighbors of scikit-image's label. */
const filled = [
  "...........",
  "..####.....",
  ".#####.....",
  ".#####.....",
  ".#####.....",
  ".#####.....",
  "......####.",
  "......#..#.",
  "......#.##.",
];

test("foregroundMask() is the largest 8-connected part with its holes filled, in any slice; 0 without any", () => {
  const shape = [9, 11];
  const image = draw(rows).map((v) => 10 * v + 5);
  assert.equal([...foregroundMask(image, { shape, threshold: 7 })], draw(filled));
  assert.equal([...foregroundMask(image, { shape: [1, ...shape], threshold: 7 })], draw(filled));
  assert.ok(foregroundMask(image, { shape, threshold: 15 }).every((v) => v === 0));
  assert.ok(foregroundMask(image, { shape, threshold: 4 }).every((v) => v === 1));
  // A volume: the ring's hole is open to the slices outside, unless those close it.
  const stack = [...image, ...image, ...image];
  assert.is(foregroundMask(stack, { shape: [3, 9, 11], threshold: 7 })[99 + 2 * 11 + 2], 0);
  const closed = image.map((_, i) => (draw(filled)[i] === 1 ? 15 : 5));
  assert.is(foregroundMask([...closed, ...image, ...closed], { shape: [3, 9, 11], threshold: 7 })[99 + 2 * 11 + 2], 1);
});

test("superpixels() are felzenszwalb's within the foreground, numbered from 1, and supervoxels", () => {
  const [D, H, W] = [3, 24, 31];
  const area = H * W;
  const image = noise(D * area, 2).map((v, i) => {
    const [y, x] = [Math.floor(i / W) % H, i % W];
    return i >= 2 * area ? 0 : y < 3 || x > 26 ? 0 : 100 + 60 * v;
  });
  const options = { scale: 3000, sigma: 0.5, minSize: 30 };
  const { labels, counts } = superpixels(image, { shape: [D, H, W], threshold: 20, ...options });
  assert.is(counts.length, 3);
  assert.is(counts[2], 0);
  for (let z = 0; z < D; z++) {
    const own = labels.subarray(z * area, (z + 1) * area);
    const slice = image.subarray(z * area, (z + 1) * area);
    const segments = felzenszwalb(slice, { shape: [H, W], ...options });
    let highest = 0;
    const pairs = new Set<string>();
    own.forEach((label, i) => {
      const [y, x] = [Math.floor(i / W), i % W];
      assert.is(label > 0, z < 2 && y >= 3 && x <= 26, `${z} ${y} ${x}`);
      if (label === 0) return;
      assert.ok(label <= highest + 1);
      highest = Math.max(highest, label);
      pairs.add(`${label} ${segments[i]}`);
    });
    assert.is(highest, counts[z]);
    assert.is(pairs.size, counts[z]);
    if (z < 2) assert.ok(counts[z] > 3);
    const alone = superpixels(slice, { shape: [H, W], threshold: 20, ...options });
    assert.equal(alone, { labels: own.slice(), counts: [counts[z]] });
  }
  const whole = superpixels(image, { shape: [D, H, W], threshold: 20, volume: true, ...options });
  assert.equal(whole.counts, [new Set(whole.labels.filter((v) => v > 0)).size]);
  assert.ok([...whole.labels].every((v, i) => v > 0 === labels[i] > 0));
  assert.ok(whole.labels.subarray(0, area).some((v) => whole.labels.subarray(area, 2 * area).includes(v) && v > 0));
});

test("superpixels() and foregroundMask() throw on bad arguments", () => {
  assert.throws(() => superpixels([1, 2, 3], { shape: [2, 2] }), /superpixels: got 3 values for \[2, 2\]/);
  assert.throws(() => superpixels([1, 2], { shape: [2] }), /shape is \[height, width\] or/);
  assert.throws(() => superpixels([1, 2], { shape: [1, 2], minsize: 3 } as any), /unknown option "minsize"/);
  assert.throws(() => foregroundMask([1, 2], { shape: [1, 2], threshold: NaN }), /threshold is a number, got NaN/);
  assert.throws(() => superpixels([1, NaN], { shape: [1, 2] }), /NaN or infinity/);
});

test.run();
