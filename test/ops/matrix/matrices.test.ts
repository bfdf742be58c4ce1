/** Linear algebra of small matrices against PyTorch 1.13 in float64, and at its edges. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../../engine/mod.ts";
import { type Tensor, tensor } from "../../../engine/mod.ts";
import { near } from "../../helpers/compare.ts";
import { goldenJson } from "../../helpers/golden.ts";
import { noise } from "../../helpers/noise.ts";
import { type GoldenCase, goldenCases, wave } from "../../helpers/reference/golden_cases.ts";
import { refuses } from "../../helpers/refuse.ts";

/** wave with 2, 3, ... added on the diagonals. */
const matrix = (n: number, ...batch: number[]): Tensor =>
  wave([...batch, n, n], 0.4).add(vg.eye(n).mul(vg.arange(n).add(2)));
const diagonalOf = (x: Tensor): Tensor => x.diagonal({ axes: [-2, -1] });

const cases: Record<string, GoldenCase> = {
  solve: [(x) => vg.solve(x, wave([4, 3], 1)), matrix(4)],
  "solve right": [(x) => vg.solve(matrix(4), x), wave([4, 3], 1)],
  "solve vector": [(x) => vg.solve(x, wave([5], 1)), matrix(5)],
  "solve batch": [(x) => vg.solve(x, wave([3, 2], 1)), matrix(3, 2)],
  "solve 17": [(x) => vg.solve(x, wave([17, 2], 1)), matrix(17)],
  "solve pivots": [(x) => vg.solve(x, wave([3, 2], 1)), tensor([[0, 2, 1], [1, 0, 3], [4, 1, 0]])],
  inverse: [vg.inverse, matrix(3, 2)],
  solveTriangular: [(x) => vg.solveTriangular(x, wave([5, 2], 1)), matrix(5)],
  "solveTriangular upper": [(x) => vg.solveTriangular(x, wave([5, 2], 1), { upper: true }), matrix(5, 2)],
  "solveTriangular right": [(x) => vg.solveTriangular(matrix(5), x, { upper: true }), wave([5, 2], 1)],
  cholesky: [vg.cholesky, matrix(4, 2)],
  "cholesky 13": [(x) => vg.cholesky(x.matmul(x.transpose()).add(vg.eye(13))), wave([13, 7], 0.4)],
  ...Object.fromEntries([1, 2, 3, 5, 7].map((n) => [`det ${n}`, [vg.det, matrix(n, 2)] as const])),
  slogdet: [(x) => vg.slogdet(x)[1], matrix(4, 2)],
  ...Object.fromEntries([2, 3, 5].flatMap((n) => [
    [`eigh ${n}`, [(x: Tensor) => vg.eigh(x)[0], matrix(n, 2)] as const],
    [`eigh vectors ${n}`, [(x: Tensor) => vg.eigh(x)[1], matrix(n, 2)] as const],
  ])),
};
goldenCases("matrices", cases);

test("every case of the file is tested", () => {
  assert.equal(Object.keys(goldenJson("matrices")).sort(), Object.keys(cases).sort());
});

/** Solutions by elimination in float64. */
function eliminated(a: ArrayLike<number>, b: ArrayLike<number>, n: number): number[] {
  const rows = Array.from({ length: n }, (_, r) => [...Array.from(a).slice(r * n, (r + 1) * n), b[r]]);
  for (let i = 0; i < n; i++) {
    const top = rows.slice(i).reduce((best, row) => (Math.abs(row[i]) > Math.abs(best[i]) ? row : best));
    rows.splice(rows.indexOf(top), 1);
    rows.splice(i, 0, top);
    for (const row of rows) {
      if (row === top) continue;
      const factor = row[i] / top[i];
      for (let c = i; c <= n; c++) row[c] -= factor * top[c];
    }
  }
  return rows.map((row, i) => row[n] / row[i]);
}

test("solve() and slogdet() of 64 rows and of a thousand matrices agree with elimination in float64", async () => {
  for (const [count, n] of [[1, 64], [1000, 3], [67, 9]]) {
    const a = noise(count * n * n, n).map((x, k) => x + (k % (n * n) % (n + 1) === 0 ? 3 : 0));
    const b = noise(count * n, 5);
    const [left, right] = [tensor(a, { shape: [count, n, n] }), tensor(b, { shape: [count, n, 1] })];
    const wanted = Array.from(
      { length: count },
      (_, k) => eliminated(a.subarray(k * n * n, (k + 1) * n * n), b.subarray(k * n, (k + 1) * n), n),
    ).flat();
    near(await vg.solve(left, right).data(), wanted, 2e-5, `${count} of ${n} rows`);
    const product = left.matmul(left.swapAxes({ axes: [1, 2] }));
    const byFactors = diagonalOf(vg.cholesky(product)).log().sum({ axes: [1] }).mul(2);
    near(await vg.slogdet(product)[1].data(), await byFactors.data(), 2e-5, "log of the determinant");
  }
});

test("solve(), det(), slogdet(), cholesky() of singular and indefinite matrices are not finite, or 0", async () => {
  const singular = tensor([[1, 2], [2, 4]]);
  assert.ok((await vg.solve(singular, tensor([1, 2])).data()).every((x) => !Number.isFinite(x)));
  const four = wave([4, 1], 0.4).mul(wave([1, 4], 1));
  const zero = vg.zeros([5, 5]);
  assert.is(await vg.det(zero).item(), 0);
  assert.is(await vg.slogdet(zero)[0].item(), 0);
  assert.is(await vg.slogdet(zero)[1].item(), -Infinity);
  assert.ok(Math.abs(await vg.det(four).item()) < 1e-6);
  assert.equal([...await vg.cholesky(tensor([[1, 2], [2, 1]])).data()].map(String), ["1", "0", "2", "NaN"]);
  // Of rank 2: the gradient is the cofactors'.
  const gradient = vg.grad((x: Tensor) => vg.det(x))(tensor([[1, 2, 3], [4, 5, 6], [7, 8, 9]]));
  assert.equal(await gradient.array(), [[-3, 6, -3], [6, -12, 6], [-3, 6, -3]]);
});

test("NaN in a matrix is in its solution, determinant and eigenvalues; large and small entries are not lost", async () => {
  for (let k = 0; k < 9; k++) {
    const x = tensor(Float32Array.from({ length: 9 }, (_, i) => (i === k ? NaN : i * i)), { shape: [3, 3] });
    const wide = x.pad({ after: [1, 1], value: 2 });
    for (const y of [vg.det(x), vg.det(wide), ...vg.slogdet(wide), ...vg.eigh(x), vg.inverse(wide)]) {
      assert.ok((await y.data()).some(Number.isNaN), `NaN at ${k}`);
    }
  }
  for (const scale of [1e-30, 1e30]) {
    const x = tensor([[2, 1], [1, 2]]).mul(scale);
    near(await vg.eigh(x)[0].data(), [scale, 3 * scale], 1e-6, `eigenvalues at ${scale}`);
    near(await vg.inverse(x).mul(scale).data(), [2 / 3, -1 / 3, -1 / 3, 2 / 3], 1e-6, `inverse at ${scale}`);
  }
});

test("eigh() puts matrices together again, also where eigenvalues are equal or close", async () => {
  const v = tensor([[0.6, -0.8, 0], [0.8, 0.6, 0], [0, 0, 1]]);
  for (const w of [[1, 1, 2], [1, 1 + 1e-6, 2], [0, 0, 0], [-3, 2, 2], [1e-4, 1e-4, 1e4]]) {
    const a = v.mul(tensor(w)).matmul(v.transpose());
    const [values, vectors] = vg.eigh(a);
    const scale = Math.max(...w.map(Math.abs), 1e-30);
    near(await values.add(scale).data(), w.map((x) => x + scale), 1e-6, `eigenvalues ${w}`);
    const again = vectors.mul(values).matmul(vectors.transpose());
    near(await again.add(scale).data(), await a.add(scale).data(), 1e-6, `product for ${w}`);
    near(await vectors.transpose().matmul(vectors).data(), await vg.eye(3).data(), 1e-6, `vectors for ${w}`);
  }
  // Values have a gradient where they are equal; vectors have none.
  const sum = vg.grad((x: Tensor) => vg.eigh(x)[0].square().sum())(vg.eye(3));
  assert.equal(await sum.array(), [[2, 0, 0], [0, 2, 0], [0, 0, 2]]);
  const none = vg.grad((x: Tensor) => vg.eigh(x)[1].mul(wave([3, 3], 1)).sum())(vg.eye(3));
  assert.ok((await none.data()).some((x) => !Number.isFinite(x)));
});

test("empty matrices and batches have empty solutions and the determinant 1", async () => {
  assert.equal(vg.solve(vg.zeros([0, 3, 3]), vg.zeros([3, 2])).shape, [0, 3, 2]);
  assert.equal(vg.solve(vg.zeros([0, 0]), vg.zeros([0])).shape, [0]);
  assert.is(await vg.det(vg.zeros([0, 0])).item(), 1);
  assert.equal(await Promise.all(vg.slogdet(vg.zeros([2, 0, 0])).map((x) => x.array())), [[1, 1], [0, 0]]);
  assert.equal(vg.cholesky(vg.zeros([4, 0, 0])).shape, [4, 0, 0]);
  assert.equal(vg.eigh(vg.zeros([0, 3, 3])).map((x) => [...x.shape]), [[0, 3], [0, 3, 3]]);
});

test("solve(), inverse(), eigh() throw on other shapes, and name them", async () => {
  const x = vg.ones([2, 3]);
  await refuses(
    () => vg.inverse(x),
    /^inverse: the input is f32 square matrices \[\.\.\., n, n\], got Tensor\(f32\[2, 3\]\)/,
  );
  await refuses(
    () => vg.solve(vg.eye(3), x),
    /^solve: the right-hand side is f32 \[\.\.\., 3, k\], or one vector \[3\], got/,
  );
  await refuses(
    () => vg.solve(vg.ones([2, 3, 3]), vg.ones([4, 3, 1])),
    /^solve: shapes \[2\] and \[4\] do not broadcast/,
  );
  await refuses(() => vg.eigh(vg.eye(9)), /^eigh: matrices have up to 8 rows, got/);
});

test.after(vg.closeDevice);
test.run();
