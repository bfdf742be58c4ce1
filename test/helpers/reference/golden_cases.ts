/** Functions of one tensor against PyTorch's values, gradients and Hessian-vector products in a file of test/golden. */
import { test } from "uvu";
import { grad, hvp, jvp, type Tensor, tensor } from "../../../engine/mod.ts";
import { near } from "../compare.ts";
import { goldenJson } from "../golden.ts";

const count = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** The inputs of the files: scale sin(a + 1.7393 i + 0.001 i^2). */
export const wave = (shape: readonly number[], a: number, scale = 1): Tensor =>
  tensor(Float32Array.from({ length: count(shape) }, (_, i) => scale * Math.sin(a + 1.7393 * i + 0.001 * i * i)), {
    shape,
  });

/** A function and where it is evaluated. */
export type GoldenCase = readonly [f: (x: Tensor) => Tensor, x: Tensor];

/**
 * A test for each case. The file holds value, gradient and Hessian-vector product; a result of more than one number is
 * multiplied by wave(shape, 0.3) and summed, and the product is along wave(shape, 2). Forward mode has to agree with
 * the gradient: w . J v = (J' w) . v.
 */
export function goldenCases(file: string, cases: Readonly<Record<string, GoldenCase>>): void {
  const golden = goldenJson(file);
  for (const [name, [f, x]] of Object.entries(cases)) {
    test(`${name}: value, gradient, jvp() and hvp() are those of PyTorch`, async () => {
      const wanted = golden[name];
      const y = f(x);
      near(await y.data(), wanted.value, 3e-6, "value");
      const weights = y.rank === 0 ? tensor(1) : wave(y.shape, 0.3);
      const scalar = (x: Tensor): Tensor => f(x).mul(weights).sum();
      near(await grad(scalar)(x).data(), wanted.gradient, 2e-5, "gradient");
      const v = wave(x.shape, 2);
      const along = await v.data();
      const slope = (wanted.gradient as number[]).reduce((sum, g, k) => sum + g * along[k], 0);
      const scale = Math.max(...(wanted.gradient as number[]).map(Math.abs), 1e-30);
      const forward = await jvp(f, [x], [v])[1].mul(weights).sum().item();
      near([1 + (forward - slope) / scale], [1], 1e-4, "jvp");
      near(await hvp(scalar, [x], [v])[0].data(), wanted.hvp, 5e-5, "hvp");
    });
  }
}
