/** Every operator that exists against PyTorch in float64: output, gradients, directional derivative, Hessian-vector product. */
import { test } from "uvu";
import * as vg from "../../engine/mod.ts";
import type { Tensor } from "../../engine/mod.ts";
import { assertClose } from "../helpers/compare.ts";
import { call, type Case, cases, stored, tensorOf } from "./golden_cases.ts";
import { onlyOperator } from "./operators.ts";

const { features } = await vg.deviceInfo();
const precisions: vg.Precision[] = features.includes("shader-f16") ? ["f32", "mixed"] : ["f32"];
if (precisions.length === 1) console.log("The adapter has no f16: mixed precision is not run.");

const chosen = cases.filter((c) => !onlyOperator || c.op === onlyOperator);
for (const precision of precisions) for (const c of chosen) check(c, precision);

function check(c: Case, precision: vg.Precision): void {
  /** Sums of more than 10,000 terms are allowed more; products of f16 have 11 bits. */
  const tolerance = (wanted: { data: ArrayLike<number> }, inputs: readonly Tensor[]): number =>
    precision === "mixed" ? 2e-2 : inputs.some((x) => x.size > 10_000 * wanted.data.length) ? 2e-4 : 1e-5;
  const compute = async <T>(f: () => T): Promise<T> => {
    if (precision === "f32") return f();
    const compiled = vg.compile(f, { precision });
    const result = await compiled();
    compiled.dispose();
    return result;
  };
  const differentiable = (c.grads ?? []).map((key) => key !== null);
  const split = (all: readonly Tensor[]): Tensor[] => all.filter((_, k) => differentiable[k]);
  const join = (all: readonly Tensor[], some: readonly Tensor[]): Tensor[] => {
    const rest = [...some];
    return all.map((x, k) => (differentiable[k] ? rest.shift()! : x));
  };

  test(`${c.op}() agrees with PyTorch in ${precision}: ${c.name}`, async () => {
    const inputs = c.inputs.map(tensorOf);
    const y = await compute(() => call(c, inputs));
    await assertClose(y, stored(c.output), tolerance(stored(c.output), inputs), c.name);
  });
  if (!c.cotangent) return;

  test(`vjp() of ${c.op} agrees with PyTorch in ${precision}: ${c.name}`, async () => {
    const inputs = c.inputs.map(tensorOf);
    const cotangent = tensorOf(c.cotangent!);
    const grads = await compute(() => {
      const [, pullback] = vg.vjp((...xs: Tensor[]) => call(c, join(inputs, xs)), split(inputs));
      return pullback(cotangent);
    });
    const keys = c.grads!.filter((key): key is string => key !== null);
    for (const [k, key] of keys.entries()) {
      await assertClose(grads[k], stored(key), tolerance(stored(key), inputs), `${c.name} gradient ${k}`);
    }
  });

  test(`jvp() and hvp() of ${c.op} agree with PyTorch in ${precision}: ${c.name}`, async () => {
    const inputs = c.inputs.map(tensorOf);
    const tangents = c.tangents!.filter((key): key is string => key !== null).map(tensorOf);
    const f = (...xs: Tensor[]): Tensor => call(c, join(inputs, xs));
    if (c.jvp) {
      const dy = await compute(() => vg.jvp(f, split(inputs), tangents)[1]);
      await assertClose(dy, stored(c.jvp), tolerance(stored(c.jvp), inputs), `${c.name} jvp`);
    }
    if (c.hvp) {
      const cotangent = tensorOf(c.cotangent!);
      const loss = (...xs: Tensor[]): Tensor => {
        const y = f(...xs);
        return cotangent.mul(y).sum().add(y.square().sum().mul(0.5));
      };
      const products = await compute(() => vg.hvp(loss, split(inputs), tangents));
      const keys = c.hvp.filter((key): key is string => key !== null);
      for (const [k, key] of keys.entries()) {
        await assertClose(products[k], stored(key), precision === "mixed" ? 2e-2 : 1e-3, `${c.name} hvp ${k}`);
      }
    }
  });
}

test.after(vg.closeDevice);
test.run();
