// deno-lint-ignore-file no-explicit-any
/** Body masks against floods from voxel to voxel; Otsu's threshold against scikit-image and the definition. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { bodyMask, otsuThreshold } from "../../../engine/imaging/mod.ts";
import { noise } from "../../helpers/noise.ts";

type Size = readonly [number, number, number];

/** Neighbors of a voxel of [Z, Y, X], by faces alone or by corners too. */
function neighbors(at: number, [X, Y, Z]: Size, corners: boolean): number[] {
  const [x, y, z] = [at % X, Math.floor(at / X) % Y, Math.floor(at / (X * Y))];
  const list: number[] = [];
  for (let k = -1; k <= 1; k++) {
    for (let j = -1; j <= 1; j++) {
      for (let i = -1; i <= 1; i++) {
        const steps = Math.abs(i) + Math.abs(j) + Math.abs(k);
        if (steps === 0 || (!corners && steps > 1)) continue;
        const [u, v, w] = [x + i, y + j, z + k];
        if (u >= 0 && v >= 0 && w >= 0 && u < X && v < Y && w < Z) list.push((w * Y + v) * X + u);
      }
    }
  }
  return list;
}

/** All voxels of a kind that paths lead to from some of them. */
function flood(
  starts: readonly number[],
  allowed: (at: number) => boolean,
  next: (at: number) => number[],
): Set<number> {
  const seen = new Set(starts.filter(allowed));
  for (const at of seen) for (const to of next(at)) if (allowed(to)) seen.add(to);
  return seen;
}

function reference(values: ArrayLike<number>, shape: Size, threshold: number): number[] {
  const all = Array.from({ length: values.length }, (_, i) => i);
  let largest = new Set<number>();
  const done = new Set<number>();
  for (const start of all) {
    if (done.has(start) || !(values[start] > threshold)) continue;
    const part = flood([start], (i) => values[i] > threshold, (i) => neighbors(i, shape, true));
    for (const i of part) done.add(i);
    if (part.size > largest.size) largest = part;
  }
  const edge = all.filter((i) => neighbors(i, shape, false).length < 6);
  const outside = flood(edge, (i) => !largest.has(i), (i) => neighbors(i, shape, false));
  return all.map((i) => Number(!outside.has(i)));
}

test("bodyMask() agrees with flood fill", () => {
  let holes = 0;
  for (const [k, shape] of ([[7, 9, 5], [11, 6, 8], [3, 3, 3], [13, 1, 4], [1, 1, 1]] as const).entries()) {
    const count = shape[0] * shape[1] * shape[2];
    const data = Float32Array.from(noise(2 * count, 20 + k));
    for (const threshold of [-0.9, -0.4, 0.2, 0.6, 0.95, 2]) {
      for (const channel of [0, 1]) {
        const values = data.subarray(channel * count, (channel + 1) * count);
        const mask = bodyMask({ data, shape, channels: 2 }, { threshold, channel });
        assert.equal([...mask], reference(values, shape, threshold), `${shape} above ${threshold}`);
        holes += [...mask].filter((v, i) => v === 1 && !(values[i] > threshold)).length;
      }
    }
  }
  assert.ok(holes > 50, "there were holes to fill");
});

test("bodyMask() takes a body with its lungs whole and leaves the table out", () => {
  const shape = [20, 18, 7] as const;
  const at = (
    x: number,
    y: number,
  ) => (((x - 9.5) / 8) ** 2 + ((y - 7) / 6) ** 2 < 1
    ? (((x - 9.5) / 4) ** 2 + ((y - 7) / 3) ** 2 < 1 ? -800 : 40)
    : y === 15
    ? 100
    : -1000);
  // The lungs end before the first and the last slice.
  const data = Float32Array.from({ length: 20 * 18 * 7 }, (_, i) => {
    const value = at(i % 20, Math.floor(i / 20) % 18);
    const z = Math.floor(i / 360);
    return value === -800 && (z === 0 || z === 6) ? 40 : value;
  });
  const wanted = Array.from(data, (v) => Number(v === 40 || v === -800));
  assert.equal([...bodyMask({ data, shape, channels: 1 }, { threshold: -200 })], wanted);
  assert.equal([...bodyMask({ data, shape, channels: 1 })], wanted, "by Otsu's threshold");
  assert.equal([...bodyMask({ data, shape, channels: 1 }, { threshold: 5000 })], wanted.map(() => 0), "nothing above");
  const flat = bodyMask({ data: new Float32Array(27).fill(3), shape: [3, 3, 3], channels: 1 });
  assert.equal([...flat], new Array(27).fill(0), "one value everywhere");
  assert.throws(() => bodyMask({ data, shape, channels: 1 }, { channel: 1 }), /channel is 0 to 0, got 1/);
  assert.throws(() => bodyMask({ data, shape, channels: 1 }, { threshold: NaN }), /threshold is a number, got NaN/);
  assert.throws(() => bodyMask({ data, shape, channels: 1 }, { level: 1 } as any), /unknown option "level"/);
});

test("otsuThreshold() agrees with scikit-image, and no other bin separates the values better", () => {
  // threshold_otsu of scikit-image 0.19.3 on the same numbers.
  const two = Float64Array.from(noise(2001, 3), (v) => (v > Math.fround(0.4) ? 100 * v + 300 : 50 * v));
  for (
    const [values, bins, wanted] of [
      [two, 256, 19.499148573959246],
      [two, 16, 20.37763772532344],
      [Float64Array.from(noise(777, 5), (v) => v ** 3), 256, -0.19987707700880813],
      [[0, 0, 0, 1, 5], 256, 1.005859375],
    ] as const
  ) {
    const got = otsuThreshold(values, { bins });
    assert.ok(Math.abs(got - wanted) < 1e-9 * Math.abs(wanted), `${got} for ${wanted}`);
  }
  const values = Array.from(noise(301, 9), (v) => v * v);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const bin = (v: number) => Math.min(19, Math.floor(((v - low) / (high - low)) * 20));
  const between = (k: number): number => {
    const sides = [values.filter((v) => bin(v) <= k), values.filter((v) => bin(v) > k)].map((side) => side.map(bin));
    const [a, b] = sides.map((side) => side.reduce((s, v) => s + v, 0) / side.length);
    return sides[0].length * sides[1].length * (a - b) ** 2;
  };
  const scores = Array.from({ length: 19 }, (_, k) => between(k));
  const best = scores.indexOf(Math.max(...scores));
  assert.ok(Math.abs(otsuThreshold(values, { bins: 20 }) - (low + ((best + 0.5) * (high - low)) / 20)) < 1e-12);
  assert.is(otsuThreshold([4, 4, 4]), 4);
  assert.throws(() => otsuThreshold([]), /wanted values, all finite; got 0/);
  assert.throws(() => otsuThreshold([1, Infinity]), /all finite/);
  assert.throws(() => otsuThreshold([1, 2], { bins: 1 }), /bins is an integer from 2 on/);
});

test.run();
