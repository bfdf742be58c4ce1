// deno-lint-ignore-file no-explicit-any
/** Superpixels against scikit-image's partitions, and what follows from the definition. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { tensor } from "../../../engine/mod.ts";
import { felzenszwalb } from "../../../engine/imaging/mod.ts";
import { sortTogether } from "../../../engine/imaging/superpixels/sort_together.ts";
import { goldenJson, goldenTensors } from "../../helpers/golden.ts";
import { noise } from "../../helpers/noise.ts";
import { refuses } from "../../helpers/refuse.ts";

test("felzenszwalb() agrees with scikit-image's partitions and numbers", async () => {
  const golden = goldenTensors("geometry");
  const cases = goldenJson("geometry").cases.filter((c: { op: string }) => c.op === "felzenszwalb");
  assert.ok(cases.length >= 4);
  for (const { name, scale, sigma, minSize, count, input, output } of cases) {
    const { data, shape } = golden(input);
    const labels = felzenszwalb(data, { shape, scale, sigma, minSize });
    assert.is(new Set(labels).size, count, name);
    assert.equal([...labels], [...golden(output).data], name);
    const made = await felzenszwalb(tensor(data, { shape }), { scale, sigma, minSize });
    assert.equal([made.dtype, ...made.shape], ["i32", ...shape]);
    assert.equal(await made.data(), labels);
  }
});

/** Whether each label is one piece by 8 neighbors. */
function pieces(labels: Int32Array, height: number, width: number): number {
  const seen = new Uint8Array(labels.length);
  let count = 0;
  for (let start = 0; start < labels.length; start++) {
    if (seen[start]) continue;
    count++;
    const stack = [start];
    seen[start] = 1;
    while (stack.length > 0) {
      const at = stack.pop()!;
      const [y, x] = [Math.floor(at / width), at % width];
      for (let v = Math.max(0, y - 1); v <= Math.min(height - 1, y + 1); v++) {
        for (let u = Math.max(0, x - 1); u <= Math.min(width - 1, x + 1); u++) {
          const next = v * width + u;
          if (seen[next] || labels[next] !== labels[at]) continue;
          seen[next] = 1;
          stack.push(next);
        }
      }
    }
  }
  return count;
}

test("felzenszwalb() gives connected segments, large enough, numbered by their first pixel", () => {
  for (
    const [height, width] of [
      [31, 47],
      [1, 90],
      [64, 1],
      [2, 2],
    ]
  ) {
    const image = noise(height * width, height).map((v) => 100 * v);
    for (const minSize of [0, 12, 1e6]) {
      const labels = felzenszwalb(image, { shape: [height, width], scale: 5000, sigma: 0.6, minSize });
      const sizes = new Map<number, number>();
      let highest = -1;
      for (const label of labels) {
        assert.ok(label <= highest + 1);
        highest = Math.max(highest, label);
        sizes.set(label, (sizes.get(label) ?? 0) + 1);
      }
      assert.is(pieces(labels, height, width), sizes.size);
      if (minSize > 0 && sizes.size > 1) assert.ok(Math.min(...sizes.values()) >= minSize);
      if (minSize > height * width) assert.is(sizes.size, 1);
    }
  }
});

/** The algorithm by its definition: all pairs of neighbors, segments as sets. */
function byDefinition(
  image: ArrayLike<number>,
  shape: readonly [number, number, number],
  { scale, sigma, minSize }: { scale: number; sigma: readonly number[]; minSize: number },
): number[] {
  const [D, H, W] = shape;
  const place = (i: number): number[] => [Math.floor(i / (H * W)), Math.floor(i / W) % H, i % W];
  const mirrored = (k: number, n: number): number => {
    let at = k;
    while (at < 0 || at >= n) at = at < 0 ? -1 - at : 2 * n - 1 - at;
    return at;
  };
  let smooth = Array.from(image);
  for (const axis of [0, 1, 2]) {
    const s = sigma[axis];
    if (s === 0) continue;
    const reach = Math.floor(4 * s + 0.5);
    const weight = (k: number): number => Math.exp((-0.5 * k * k) / (s * s));
    const total = Array.from({ length: 2 * reach + 1 }, (_, k) => weight(k - reach)).reduce((a, b) => a + b, 0);
    smooth = smooth.map((_, i) => {
      let sum = 0;
      for (let k = -reach; k <= reach; k++) {
        const p = place(i);
        p[axis] = mirrored(p[axis] + k, shape[axis]);
        sum += (weight(k) / total) * smooth[(p[0] * H + p[1]) * W + p[2]];
      }
      return sum;
    });
  }
  const pairs: { a: number; b: number; cost: number }[] = [];
  for (let a = 0; a < D * H * W; a++) {
    for (let b = a + 1; b < D * H * W; b++) {
      const [p, q] = [place(a), place(b)];
      if (p.every((v, k) => Math.abs(v - q[k]) <= 1)) pairs.push({ a, b, cost: Math.abs(smooth[a] - smooth[b]) });
    }
  }
  pairs.sort((x, y) => x.cost - y.cost);
  const segment = smooth.map((_, i) => ({ members: [i], inside: 0 }));
  const join = (a: number, b: number, inside: number): void => {
    const joined = { members: [...segment[a].members, ...segment[b].members], inside };
    for (const i of joined.members) segment[i] = joined;
  };
  const allowed = (i: number): number => segment[i].inside + scale / 255 / segment[i].members.length;
  for (const { a, b, cost } of pairs) {
    if (segment[a] !== segment[b] && cost < Math.min(allowed(a), allowed(b))) join(a, b, cost);
  }
  for (const { a, b } of pairs) {
    if (segment[a] !== segment[b] && Math.min(segment[a].members.length, segment[b].members.length) < minSize) {
      join(a, b, 0);
    }
  }
  const numbers = new Map<object, number>();
  return segment.map((s) => numbers.get(s) ?? (numbers.set(s, numbers.size), numbers.size - 1));
}

test("felzenszwalb() of a volume follows the definition, in any order of the axes; a slice is an image", () => {
  const count = (labels: ArrayLike<number>): number => new Set(Array.from(labels)).size;
  for (
    const [shape, sigma, scale, minSize] of [
      [[4, 5, 7], [0, 0, 0], 3000, 3],
      [[3, 6, 5], [0.7, 0.4, 0.9], 1000, 4],
      [[6, 2, 9], [0.5, 0, 2], 300, 2],
      [[9, 1, 4], [0, 0, 0], 8000, 0],
    ] as const
  ) {
    const [D, H, W] = shape;
    const image = noise(D * H * W, D).map((v) => 100 * v);
    const labels = felzenszwalb(image, { shape, scale, sigma, minSize });
    assert.equal([...labels], byDefinition(image, shape, { scale, sigma, minSize }), `${shape}`);
    assert.ok(count(labels) > 1 && count(labels) < labels.length / 2, `${count(labels)} segments of ${shape}`);
    // The same volume, width first and depth last.
    const turn = (list: ArrayLike<number>): number[] =>
      Array.from({ length: list.length }, (_, i) => {
        const [x, y, z] = [Math.floor(i / (H * D)), Math.floor(i / D) % H, i % D];
        return list[(z * H + y) * W + x];
      });
    const turned = felzenszwalb(turn(image), { shape: [W, H, D], scale, sigma: [...sigma].reverse(), minSize });
    // One partition under two numberings has as many pairs of numbers as numbers.
    assert.is(count(turn(labels).map((v, i) => v * 1000 + turned[i])), count(labels));
    assert.is(count(turned), count(labels));
  }
  const slice = noise(30 * 41, 9).map((v) => 100 * v);
  const options = { scale: 2000, minSize: 12 };
  assert.equal(
    felzenszwalb(slice, { shape: [1, 30, 41], sigma: [0, 0.8, 0.8], ...options }),
    felzenszwalb(slice, { shape: [30, 41], sigma: 0.8, ...options }),
  );
});

test("felzenszwalb() gives two flat halves two segments, a flat image one", () => {
  const halves = Float64Array.from({ length: 400 }, (_, k) => (k % 20 < 7 ? 10 : 200));
  const labels = felzenszwalb(halves, { shape: [20, 20], scale: 100, sigma: 0, minSize: 5 });
  assert.equal(
    [...labels],
    Array.from(halves, (v) => (v === 10 ? 0 : 1)),
  );
  assert.is(new Set(felzenszwalb(new Float32Array(35), { shape: [5, 7] })).size, 1);
});

test("sortTogether() sorts, whatever the order and however many are equal", () => {
  const n = 5000;
  for (
    const make of [
      (k: number) => k,
      (k: number) => -k,
      () => 3,
      (k: number) => (k * 7919) % 5003,
      (k: number) => k % 3,
      (k: number) => Math.abs(k - n / 2),
      // Defeats the median of three, so that the depth runs out.
      (k: number) => (k >= n / 2 ? 2 * (k - n / 2 + 1) : k % 2 === 0 ? k + 1 : k + n / 2),
      (k: number) => (k % 2 === 0 ? k : -k),
    ]
  ) {
    const values = Float64Array.from({ length: n }, (_, k) => make(k));
    const [keys, items] = [values.slice(), Int32Array.from(values, (_, k) => k)];
    sortTogether(keys, items);
    assert.is(new Set(items).size, n);
    assert.equal(keys, values.slice().sort());
    assert.ok(items.every((item, k) => values[item] === keys[k]));
  }
  sortTogether(new Float64Array(0), new Int32Array(0));
});

test("felzenszwalb() names what does not fit", () => {
  const image = new Float32Array(12);
  const refused = (data: ArrayLike<number>, options: any, pattern: RegExp) =>
    refuses(() => felzenszwalb(data, options), pattern);
  refused(image, {}, /shape \[height, width\], a volume \[depth, height, width\], got \[\]/);
  refused(image, { shape: [3, 5] }, /got 12 values for \[3, 5\]/);
  refused(image, { shape: [3, 2, 2, 1] }, /shape \[height, width\]/);
  refused(image, { shape: [2 ** 14, 2 ** 14] }, /more than 134217728 pixels; cut it in parts/);
  refused(image, { shape: [3, 4], sigma: [1, 1, 1] }, /sigma is a number from 0 on, or 2 of them/);
  refused(image, { shape: [3, 4], sigma: -1 }, /sigma is a number from 0 on, or 2 of them, got -1/);
  refused(image, { shape: [3, 4], minsize: 3 }, /unknown option "minsize"/);
  refused([1, NaN, 2, 3], { shape: [2, 2] }, /NaN or infinity/);
});

test.run();
