/**
 * resampleVolume and resampleLabels against the numbers of scikit-image, and against interpolation written out in
 * float64: the spline by solving for its coefficients, the labels mask by mask.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../../engine/mod.ts";
import { assertClose, relativeError } from "../../helpers/compare.ts";
import { goldenJson, goldenTensors, toTensor } from "../../helpers/golden.ts";
import { noise } from "../../helpers/noise.ts";

type Order = 0 | 1 | 3;

/** Solves A x = b by elimination, in float64. */
function solve(a: number[][], b: number[]): number[] {
  const n = b.length;
  const m = a.map((row, i) => [...row, b[i]]);
  for (let i = 0; i < n; i++) {
    for (let r = i + 1; r < n; r++) {
      const f = m[r][i] / m[i][i];
      if (f !== 0) { for (let c = i; c <= n; c++) m[r][c] -= f * m[i][c]; }
    }
  }
  const x = new Array<number>(n).fill(0);
  for (let i = n - 1; i >= 0; i--) {
    let sum = m[i][n];
    for (let c = i + 1; c < n; c++) sum -= m[i][c] * x[c];
    x[i] = sum / m[i][i];
  }
  return x;
}

const basis = (d: number): number => {
  const a = Math.abs(d);
  return a < 1 ? 2 / 3 - a * a + a ** 3 / 2 : a < 2 ? (2 - a) ** 3 / 6 : 0;
};

/** A line interpolated at half-pixel centers: nearest, linear, or the spline through it continued by 30 voxels. */
function line(values: readonly number[], m: number, order: Order): number[] {
  const n = values.length;
  const at = (j: number): number => values[Math.min(n - 1, Math.max(0, j))];
  const places = Array.from({ length: m }, (_, i) => (i + 0.5) * (n / m) - 0.5);
  if (order === 0) return places.map((s) => at(Math.floor(s + 0.5)));
  if (order === 1) {
    return places.map((s) => at(Math.floor(s)) * (1 - s + Math.floor(s)) + at(Math.floor(s) + 1) * (s - Math.floor(s)));
  }
  const far = 30;
  const all = Array.from({ length: n + 2 * far }, (_, j) => at(j - far));
  const matrix = all.map((_, i) => all.map((_, j) => basis(i - j)));
  // Beyond the ends the coefficients are those of a constant.
  matrix[0][0] += 1 / 6;
  matrix[all.length - 1][all.length - 1] += 1 / 6;
  const coefficients = solve(matrix, all);
  return places.map((s) => coefficients.reduce((sum, c, j) => sum + c * basis(s + far - j), 0));
}

/** The lines of x [outer, n, inner] along the middle axis. */
function alongAxis(x: Float64Array, shape: readonly number[], axis: number, m: number, order: Order): Float64Array {
  const n = shape[axis];
  const inner = shape.slice(axis + 1).reduce((a, b) => a * b, 1);
  const outer = shape.slice(0, axis).reduce((a, b) => a * b, 1);
  const out = new Float64Array(outer * m * inner);
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < inner; i++) {
      const values = Array.from({ length: n }, (_, k) => x[(o * n + k) * inner + i]);
      line(values, m, order).forEach((v, k) => (out[(o * m + k) * inner + i] = v));
    }
  }
  return out;
}

function reference(x: ArrayLike<number>, shape: readonly number[], to: readonly number[], orders: readonly Order[]) {
  let values: Float64Array = Float64Array.from(x);
  const now = [...shape];
  const lead = shape.length - to.length;
  to.forEach((m, k) => {
    values = alongAxis(values, now, lead + k, m, orders[k]);
    now[lead + k] = m;
  });
  return { shape: now, data: values };
}

test("resampleVolume() agrees with scikit-image", async () => {
  const golden = goldenTensors("geometry");
  const cases = goldenJson("geometry").cases.filter((c: { op: string }) => c.op === "resampleVolume");
  assert.ok(cases.length >= 6);
  for (const { name, size, order, input, output } of cases) {
    const got = vg.resampleVolume(toTensor(golden(input)), { size, order });
    const wanted = golden(output);
    assert.equal([...got.shape], wanted.shape);
    // f32 sums of 28 products an axis: some 1e-6 of the largest value. The nearest voxel is copied.
    const error = relativeError(await got.data(), wanted.data);
    assert.ok(error <= (order === 0 ? 0 : 5e-6), `${name}: ${error}`);
  }
});

test("resampleVolume() agrees with float64 interpolation at odd sizes", async () => {
  const sizes = [
    [
      [1, 1, 1],
      [2, 3, 5],
    ],
    [
      [5, 1, 7],
      [1, 1, 1],
    ],
    [
      [2, 3, 41],
      [3, 2, 13],
    ],
    [
      [3, 4, 5],
      [7, 4, 50],
    ],
    [
      [33, 2, 4],
      [8, 9, 4],
    ],
    [
      [8, 8, 8],
      [4, 16, 8],
    ],
  ] as const;
  for (const [k, [from, to]] of sizes.entries()) {
    for (const order of [0, 1, 3] as const) {
      const shape = [2, ...from];
      const x = noise(
        shape.reduce((a, b) => a * b),
        k + 1,
      );
      const got = vg.resampleVolume(vg.tensor(x, { shape }), { size: to, order, clip: false });
      await assertClose(
        got,
        reference(x, shape, to, [order, order, order]),
        order === 0 ? 0 : 2e-6,
        `${shape} to ${to}, ${order}`,
      );
    }
  }
});

test("resampleVolume() takes two axes, one order per axis, and separate slices", async () => {
  const x = noise(3 * 9 * 10 * 11, 4);
  const image = vg.tensor(x, { shape: [3, 9, 10, 11] });
  await assertClose(
    vg.resampleVolume(image, { size: [4, 17], order: 3, clip: false }),
    reference(x, [3, 9, 10, 11], [4, 17], [3, 3]),
    2e-6,
    "plane",
  );
  const separate = vg.resampleVolume(image, { size: [5, 14, 8], order: [0, 3, 3] });
  // Slice by slice, then the nearest slice.
  const planes = vg.resampleVolume(image, { size: [14, 8], order: 3 });
  const picked = vg.take(planes, vg.tensor([0, 2, 4, 6, 8], { dtype: "i32" }), { axis: 1 });
  await assertClose(separate, { shape: [3, 5, 14, 8], data: await picked.data() }, 1e-6, "separate");
});

test("resampleVolume() clips cubic results to the range of each image by default", async () => {
  const step = Float32Array.from({ length: 2 * 6 * 6 }, (_, i) => (i % 6 < 3 ? 0 : i < 36 ? 1 : 10));
  const image = vg.tensor(step, { shape: [2, 6, 6] });
  const clipped = vg.resampleVolume(image, { size: [11, 13], order: 3 });
  assert.equal([...(await clipped.max({ axes: [1, 2] }).data())], [1, 10]);
  assert.equal([...(await clipped.min({ axes: [1, 2] }).data())], [0, 0]);
  const free = vg.resampleVolume(image, { size: [11, 13], order: 3, clip: false });
  assert.ok((await free.max().item()) > 10.3);
});

test("resampleVolume() keeps constants, and returns the same values at the same size", async () => {
  const constant = vg.full([7, 30, 9], 1234.5);
  const got = await vg.resampleVolume(constant, { size: [15, 13, 40], order: 3 }).data();
  assert.ok(got.every((v) => Math.abs(v - 1234.5) < 1e-3));
  const x = vg.tensor(noise(60), { shape: [3, 4, 5] });
  assert.equal([...(await vg.resampleVolume(x, { size: [3, 4, 5], order: 3 }).data())], [...noise(60)]);
});

/** batchgenerators' rule: masks in ascending order of their labels, each written where it reaches one half. */
function labelReference(
  x: Int32Array,
  shape: readonly number[],
  to: readonly number[],
  orders: readonly Order[],
): number[] {
  const values = [...new Set(x)].sort((a, b) => a - b);
  const count = to.reduce((a, b) => a * b);
  const out = new Array<number>(count).fill(0);
  for (const value of values) {
    const { data } = reference(
      Array.from(x, (v) => Number(v === value)),
      shape,
      to,
      orders,
    );
    // Halves in exact arithmetic are halves here: float64 rounds to 1e-16 and weights are fractions of small numbers.
    data.forEach((w, i) => {
      if (w >= 0.5 - 1e-9) out[i] = value;
    });
  }
  return out;
}

test("resampleLabels() takes the label whose mask reaches one half", async () => {
  const cases = [
    { from: [6, 7, 5], to: [9, 4, 11], order: [1, 1, 1] },
    { from: [3, 8, 8], to: [5, 16, 4], order: [0, 1, 1] },
    { from: [1, 9, 2], to: [3, 5, 7], order: [1, 1, 1] },
    { from: [4, 4, 4], to: [8, 8, 8], order: [0, 0, 0] },
  ] as const;
  for (const [k, { from, to, order }] of cases.entries()) {
    const count = from.reduce((a: number, b: number) => a * b, 1);
    // Coarse blobs and lone voxels of -1, 0, 1, 2 and 200.
    const x = Int32Array.from(
      noise(count, k + 9),
      (v, i) => [-1, 0, 1, 2, 200][Math.floor((v + 1) * 1.3 + (i % from[2] > 2 ? 2 : 0)) % 5],
    );
    const got = vg.resampleLabels(vg.tensor(x, { shape: from }), { size: to, order });
    assert.is(got.dtype, "i32");
    const wanted = labelReference(x, from, to, order);
    const data = await got.data();
    const wrong = wanted.filter((v, i) => v !== data[i]).length;
    assert.is(wrong, 0, `${from} to ${to}: ${wrong} of ${wanted.length}`);
    assert.ok(new Set(wanted).size > 2);
  }
});

test("resampleLabels() takes a plane and a batch", async () => {
  const x = Int32Array.from(noise(2 * 5 * 6, 2), (v) => Math.round(v + 1));
  const both = vg.resampleLabels(vg.tensor(x, { shape: [2, 5, 6] }), { size: [7, 9], order: 1 });
  const wanted = [0, 1].flatMap((k) => labelReference(x.subarray(30 * k, 30 * k + 30), [5, 6], [7, 9], [1, 1]));
  assert.equal([...(await both.data())], wanted);
});

test("resampleVolume() gives the same values inside a compiled function", async () => {
  const x = vg.tensor(noise(4 * 5 * 6), { shape: [4, 5, 6] });
  const f = vg.compile((y: vg.Tensor) => vg.resampleVolume(y, { size: [3, 7, 5], order: 3 }).mul(2));
  const wanted = await vg.resampleVolume(x, { size: [3, 7, 5], order: 3 }).data();
  for (let k = 0; k < 2; k++) {
    await assertClose(
      (await f(x)) as vg.Tensor,
      { shape: [3, 7, 5], data: wanted.map((v) => v * 2) },
      1e-6,
      "compiled",
    );
  }
});

test("resampleVolume() and resampleLabels() throw on bad arguments", () => {
  const x = vg.zeros([2, 3, 4]);
  assert.throws(() => vg.resampleVolume(x, { size: [2, 2, 2], order: 2 as 1 }), /order is 0 or 1 or 3.*got 2/);
  assert.throws(() => vg.resampleVolume(x, { size: [2, 0], order: 1 }), /integers >= 1.*got \[2, 0\]/);
  assert.throws(() => vg.resampleVolume(x, { size: [1, 1, 2, 2], order: 1 }), /one to three/);
  assert.throws(() => vg.resampleVolume(vg.zeros([2], { dtype: "i32" }), { size: [1], order: 1 }), /resampleLabels/);
  assert.throws(() => vg.resampleVolume(vg.zeros([2, 0]), { size: [2], order: 1 }), /non-empty/);
  assert.throws(() => vg.resampleLabels(x, { size: [2, 2, 2], order: 1 }), /i32, u32 or bool/);
  assert.throws(
    () => vg.resampleLabels(vg.zeros([2, 2], { dtype: "i32" }), { size: [2, 2], order: 3 as 1 }),
    /order is 0 or 1/,
  );
});

test.run();
