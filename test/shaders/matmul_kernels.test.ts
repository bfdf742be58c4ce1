/** Every variant of the matrix product against float64 loops: transposes, odd sizes, batches, long sums. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { lowerMatmul, type MatmulParams, matmulVariants } from "../../shaders/matmul.wgsl.ts";
import { closeRunner, openRunner, runLowered } from "../helpers/conv_kernel_runner.ts";
import { relativeError } from "../helpers/compare.ts";
import { noise } from "../helpers/noise.ts";
import { product } from "../helpers/reference/matmul.ts";

const runner = await openRunner();

async function check(variant: string, p: MatmulParams): Promise<number> {
  // What a GPU takes runs here too.
  const target = { ...runner.target, software: variant !== "workgroup" };
  const a = noise(p.batch * p.rows * p.inner, 1);
  const b = noise(p.batch * p.inner * p.columns, 2);
  const { output } = await runLowered(runner, lowerMatmul(p, target, variant), [a, b], p.batch * p.rows * p.columns);
  return relativeError(output, product(p, a, b));
}

const odd = { batch: 2, rows: 33, inner: 67, columns: 37 };
/** Groups of four are whole. */
const even = { batch: 2, rows: 68, inner: 20, columns: 36 };
/** Several workgroups side by side in every variant. */
const wide = { batch: 1, rows: 32, inner: 3, columns: 261 };
const cases = [
  ...[false, true].flatMap((transposeA) => [false, true].map((transposeB) => ({ ...odd, transposeA, transposeB }))),
  ...[false, true].map((both) => ({ ...even, transposeA: both, transposeB: both })),
  { ...wide, transposeA: false, transposeB: true },
];
for (const { name } of matmulVariants) {
  if (name === "tile_shared" && !runner.target.features.has("subgroups")) continue;
  test(`lowerMatmul() agrees with float64 for transposes, odd sizes and batches: ${name}`, async () => {
    for (const p of cases) {
      const error = await check(name, p);
      // Sums of up to 67 products around 1.
      assert.ok(error < 1e-6, `${JSON.stringify(p)}: ${error}`);
    }
  });

  test(`lowerMatmul() sums 2^15 terms to a few last bits: ${name}`, async () => {
    const [rows, inner, columns] = name === "plain" ? [3, 2 ** 15, 3] : [33, 2 ** 15, 33];
    const target = { ...runner.target, software: name !== "workgroup" };
    const p = { batch: 1, rows, inner, columns, transposeA: false, transposeB: false };
    const a = new Float32Array(rows * inner).fill(1.0001);
    const b = new Float32Array(inner * columns).fill(1);
    const { output } = await runLowered(runner, lowerMatmul(p, target, name), [a, b], rows * columns);
    // One running sum of this length is off by 1e-4; blocks of 64 make 512 partial sums.
    const wanted = inner * Math.fround(1.0001);
    for (const v of output) assert.ok(Math.abs(v / wanted - 1) < 5e-6, `${v} for ${wanted}`);
  });
}

test("lowerMatmul() for a CPU takes a small kernel for a small product", () => {
  const p = { batch: 1, rows: 64, inner: 100, columns: 50, transposeA: false, transposeB: true };
  const source = (size: MatmulParams, variant?: string): string =>
    lowerMatmul(size, { ...runner.target, software: true }, variant).dispatches[0].kernel.source();
  assert.is(source(p), source(p, "plain"));
  assert.ok(source(p).length < source(p, "tile").length / 3, `${source(p).length}, ${source(p, "tile").length}`);
  assert.not(source({ ...p, rows: 640 }).length === source({ ...p, rows: 64 }).length, "a large one takes tiles");
});

test("lowerMatmul() throws on a variant that does not take the sizes", () => {
  const p = { batch: 1, rows: 1, inner: 5, columns: 1, transposeA: false, transposeB: false };
  assert.throws(
    () => lowerMatmul(p, runner.target, "workgroup"),
    /matmul: variant workgroup .* these do: plain, tile$/,
  );
});

test.after(() => closeRunner(runner));
test.run();
