// deno-lint-ignore-file no-explicit-any
/** Every operator that exists against PyTorch in float64: output, gradients, directional derivative, Hessian-vector product. */
import { test } from "uvu";
import * as vg from "../../engine/mod.ts";
import type { Tensor } from "../../engine/mod.ts";
import { assertClose } from "../helpers/compare.ts";
import { goldenJson, goldenTensors, type Stored, toTensor } from "../helpers/golden.ts";
import { onlyOperator } from "./operators.ts";

interface Case {
  name: string;
  op: string;
  options: Record<string, unknown>;
  inputs: string[];
  output: string;
  cotangent?: string;
  grads?: (string | null)[];
  tangents?: (string | null)[];
  jvp?: string | null;
  hvp?: (string | null)[] | null;
}

const read = goldenTensors("ops");
/** The file knows no rank 0: a scalar is stored with shape [1]. */
const scalars = /^\d+\.((sum|mean)\.all|crossEntropy|binaryCrossEntropy).*\.(out|cot|jvp)$/;
const stored = (key: string): Stored => (scalars.test(key) ? { ...read(key), shape: [] } : read(key));
const tensorOf = (key: string): Tensor => toTensor(stored(key));
const operators = vg as unknown as Record<string, ((...args: any[]) => Tensor) | undefined>;

/** Inputs beyond the positional ones are options: a bias, or a norm's weight and bias. */
const named: Record<string, string[]> = {
  conv2d: ["bias"],
  conv3d: ["bias"],
  convTranspose2d: ["bias"],
  convTranspose3d: ["bias"],
  groupNorm: ["weight", "bias"],
  instanceNorm: ["weight", "bias"],
  batchNorm: ["weight", "bias"],
};
const positional = (op: string): number => (op.startsWith("conv") ? 2 : named[op] ? 1 : Infinity);

function call(c: Case, inputs: readonly Tensor[]): Tensor {
  const op = operators[c.op]!;
  const options: Record<string, unknown> = { ...c.options };
  if (c.op === "concat" || c.op === "stack") return op(inputs, options);
  // The condition is stored as int32.
  if (c.op === "where") return op(inputs[0].cast("bool"), inputs[1], inputs[2]);
  const count = Math.min(positional(c.op), inputs.length);
  inputs.slice(count).forEach((x, k) => (options[named[c.op][k]] = x));
  return Object.keys(options).length > 0 ? op(...inputs.slice(0, count), options) : op(...inputs.slice(0, count));
}

const { features } = await vg.deviceInfo();
const precisions: vg.Precision[] = features.includes("shader-f16") ? ["f32", "mixed"] : ["f32"];
if (precisions.length === 1) console.log("The adapter has no f16: mixed precision is not run.");

const cases = (goldenJson("ops").cases as Case[]).filter((c) => !onlyOperator || c.op === onlyOperator);
for (const precision of precisions) for (const c of cases) check(c, precision);

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
