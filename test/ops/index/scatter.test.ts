/** takeAlongAxis, scatterAdd, segmentSum, bincount and histogram against plain loops. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../../engine/mod.ts";
import { type Tensor, tensor } from "../../../engine/mod.ts";
import { relativeError } from "../../helpers/compare.ts";
import { noise } from "../../helpers/noise.ts";
import { refuses } from "../../helpers/refuse.ts";

/** Indices that repeat and miss some places; as an evaluated tensor, out of range at both ends. */
const placesOf = (count: number, n: number, seed: number, beyond = 0): Int32Array =>
  Int32Array.from(noise(count, seed), (v) => Math.floor(((v + 1) / 2) * (n + 2 * beyond)) - beyond);
/** On the device, where indices are not checked. */
const onDevice = async (data: Int32Array, shape: number[]): Promise<Tensor> =>
  (await vg.evaluate([tensor(data, { shape }).add(0)]))[0];

/** Sums of values [outer, count, inner] by indices [outer, count, inner] in float64. */
function sums(v: ArrayLike<number>, at: ArrayLike<number>, [outer, count, inner]: readonly number[], n: number) {
  const y = new Float64Array(outer * n * inner);
  for (let o = 0; o < outer; o++) {
    for (let j = 0; j < count; j++) {
      for (let c = 0; c < inner; c++) {
        const from = (o * count + j) * inner + c;
        if (at[from] >= 0 && at[from] < n) y[(o * n + at[from]) * inner + c] += v[from];
      }
    }
  }
  return y;
}

// Few pairs, which are compared; lines of indices; and one place with so many values that sums of runs are added.
for (
  const [shape, n] of [
    [[2, 9, 3], 5],
    [[2, 700, 3], 301],
    [[3, 5000, 1], 301],
    [[1, 70000, 1], 17],
    [[1, 3000, 2], 70001],
    [[2, 1, 3], 400000],
  ] as const
) {
  test(`scatterAdd() of [${shape}] to ${n} agrees with a float64 loop, and drops what is out of range`, async () => {
    const count = shape[0] * shape[1] * shape[2];
    const values = noise(count, 1);
    const at = placesOf(count, n, 5, 3);
    const x = vg.zeros([shape[0], n, shape[2]]);
    const y = await vg.scatterAdd(x, await onDevice(at, [...shape]), tensor(values, { shape }), { axis: 1 }).data();
    assert.ok(relativeError(y, sums(values, at, shape, n)) < 1e-6);
  });

  test(`segmentSum() of [${shape}] to ${n} agrees with a float64 loop, and its adjoint`, async () => {
    const [outer, count, inner] = shape;
    const values = noise(outer * count * inner, 1);
    const ids = placesOf(count, n, 5, 3);
    const spread = Int32Array.from(values, (_, k) => ids[Math.floor(k / inner) % count]);
    const at = await onDevice(ids, [count]);
    const f = (x: Tensor): Tensor => vg.segmentSum(x, at, { segments: n, axis: 1 });
    const x = tensor(values, { shape });
    assert.ok(relativeError(await f(x).data(), sums(values, spread, shape, n)) < 1e-6);
    const u = noise(outer * n * inner, 2);
    const [g] = vg.vjp(f, [x])[1](tensor(u, { shape: [outer, n, inner] }));
    const wanted = Float64Array.from(spread, (place, k) => {
      const from = (Math.floor(k / inner / count) * n + place) * inner + (k % inner);
      return place >= 0 && place < n ? u[from] : 0;
    });
    assert.equal([...(await g.data())], [...wanted]);
  });
}

test("segmentSum() and scatterAdd() add tens of thousands of values to one of many places", async () => {
  const [count, n] = [40000, 3001];
  // Runs of sorted values within one place, at its ends and across the next.
  const ids = placesOf(count, n, 5).map((place, k) => (k % 5 === 0 ? place : k % 7 === 0 ? 1501 : 1500));
  for (const inner of [1, 2]) {
    const values = noise(count * inner, 1);
    const spread = Int32Array.from(values, (_, k) => ids[Math.floor(k / inner)]);
    const wanted = sums(values, spread, [1, count, inner], n);
    const x = tensor(values, { shape: [count, inner] });
    const y = await vg.segmentSum(x, tensor(ids), { segments: n }).data();
    assert.ok(relativeError(y, wanted) < 1e-6);
    const at = tensor(spread, { shape: [count, inner] });
    const z = await vg.scatterAdd(vg.zeros([n, inner]), at, x, { axis: 0 }).data();
    assert.ok(relativeError(z, wanted) < 1e-6);
  }
});

test("scatterAdd() gives the same bits in every run, and those of values in order for few", async () => {
  const [count, n] = [20000, 7];
  const at = tensor(placesOf(count, n, 5));
  const values = tensor(noise(count, 1));
  const runs = await Promise.all([0, 1, 2].map(() => vg.scatterAdd(vg.zeros([n]), at, values).data()));
  assert.equal(runs[1], runs[0]);
  assert.equal(runs[2], runs[0]);
});

test("takeAlongAxis() clamps indices that are not known on the host, and its gradient goes there", async () => {
  const x = tensor([[1, 2, 3], [4, 5, 6]]);
  const at = await onDevice(Int32Array.of(-5, 2, 9, 0), [2, 2]);
  assert.equal(await vg.takeAlongAxis(x, at).array(), [[1, 3], [6, 4]]);
  const g = vg.grad((t: Tensor) => vg.takeAlongAxis(t, at).mul(tensor([[1, 2], [3, 4]])).sum())(x);
  assert.equal(await g.array(), [[1, 0, 2], [4, 0, 3]]);
});

test("takeAlongAxis() reads bool and f16, scatterAdd() of f16 sums in f32", async () => {
  const at = tensor([1, 1, 0], { dtype: "i32" });
  assert.equal(await vg.takeAlongAxis(tensor([true, false]), at).array(), [false, false, true]);
  const half = vg.scatterAdd(vg.zeros([2], { dtype: "f16" }), at, vg.ones([3], { dtype: "f16" }));
  assert.is(half.dtype, "f16");
  if (!(await vg.deviceInfo()).features.includes("shader-f16")) return;
  assert.equal([...(await half.data())], [1, 2]);
  // In f16 a sum of ones would stop at 2048.
  const many = vg.segmentSum(vg.ones([3000], { dtype: "f16" }), vg.zeros([3000], { dtype: "i32" }), { segments: 2 });
  assert.equal([...(await many.data())], [3000, 0]);
});

test("bincount() counts exactly beyond what f32 holds, by sorting and by comparing", async () => {
  for (const [count, n] of [[50, 9], [40000, 301], [3000, 5000]] as const) {
    const at = placesOf(count, n, 3, 2);
    const wanted = new Int32Array(n);
    for (const place of at) if (place >= 0 && place < n) wanted[place]++;
    assert.equal([...(await vg.bincount(await onDevice(at, [count]), { length: n }).data())], [...wanted]);
    const batch = await onDevice(Int32Array.from([...at, ...at].map((v, k) => (k < count ? v : v - 1))), [2, count]);
    const counts = vg.vmap((x: Tensor) => vg.bincount(x, { length: n }))(batch);
    assert.equal([...(await counts.data()).slice(0, n)], [...wanted], "of a batch");
    assert.equal([...(await counts.data()).slice(n, 2 * n - 1)], [...wanted.slice(1)], "of a batch");
  }
  assert.equal(await vg.bincount(vg.zeros([0], { dtype: "i32" }), { length: 2 }).array(), [0, 0]);
  assert.equal((await vg.bincount(vg.zeros([3], { dtype: "i32" }), { length: 0 }).data()).length, 0);
});

test("histogram() counts as a loop over the bins", async () => {
  const x = noise(30000, 6).map((v) => 2 * v);
  const [counts, edges] = vg.histogram(tensor(x), { bins: 40, range: [-1.5, 1.5] });
  const bounds = await edges.data();
  const wanted = Array.from(
    { length: 40 },
    (_, k) => x.filter((v) => v >= bounds[k] && (v < bounds[k + 1] || (k === 39 && v === bounds[40]))).length,
  );
  assert.equal([...(await counts.data())], wanted);
});

test("indices known on the host are refused out of range, and other shapes by name", () => {
  const x = tensor([[1, 2, 3], [4, 5, 6]]);
  const i32 = (data: number[][] | number[]): Tensor => tensor(data, { dtype: "i32" });
  refuses(
    () => x.takeAlongAxis(i32([[0, 3], [0, 0]])),
    /^takeAlongAxis: indices lie in \[0, 3\), got 3 at position 1$/,
  );
  refuses(
    () => x.takeAlongAxis(i32([[0, -1], [0, 0]])),
    /^takeAlongAxis: indices lie in \[0, 3\), got -1 at position 1$/,
  );
  refuses(
    () => x.takeAlongAxis(i32([0])),
    /^takeAlongAxis: indices have the rank of the input .* got Tensor\(i32\[1\]\)$/,
  );
  refuses(() => x.takeAlongAxis(tensor([[0.5]])), /^takeAlongAxis: indices are i32 or u32, got f32$/);
  refuses(() => vg.scatterAdd(x, i32([[0], [3]]), tensor([[1], [2]])), /^scatterAdd: indices lie in \[0, 3\), got 3/);
  refuses(() => vg.scatterAdd(x, i32([[0]]), tensor([[1]])), /^scatterAdd: indices and values have one shape, that of/);
  refuses(
    () => vg.scatterAdd(x, i32([[0], [0]]), i32([[1], [2]])),
    /^scatterAdd: the values have the dtype of the input/,
  );
  refuses(
    () => vg.segmentSum(x, i32([0, 4]), { segments: 4 }),
    /^segmentSum: ids lie in \[0, 4\), got 4 at position 1$/,
  );
  refuses(
    () => vg.segmentSum(x, i32([0]), { segments: 4 }),
    /^segmentSum: ids are a vector with one for each of the 2/,
  );
  refuses(() => vg.bincount(i32([0, 4]), { length: 4 }), /^bincount: values lie in \[0, 4\), got 4 at position 1$/);
  refuses(() => vg.histogram(x, { edges: tensor([0, 1]), bins: 3 }), /^histogram: edges say the bins; leave out bins/);
});

test.after(vg.closeDevice);
test.run();
