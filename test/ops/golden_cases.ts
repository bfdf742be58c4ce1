// deno-lint-ignore-file no-explicit-any
/** Calls of operators whose values and derivatives are known from PyTorch in float64. */
import * as vg from "../../engine/mod.ts";
import type { Tensor } from "../../engine/mod.ts";
import { goldenJson, goldenTensors, type Stored, toTensor } from "../helpers/golden.ts";

export interface Case {
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
export const stored = (key: string): Stored => (scalars.test(key) ? { ...read(key), shape: [] } : read(key));
export const tensorOf = (key: string): Tensor => toTensor(stored(key));
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

export function call(c: Case, inputs: readonly Tensor[]): Tensor {
  const op = operators[c.op]!;
  const options: Record<string, unknown> = { ...c.options };
  if (c.op === "concat" || c.op === "stack") return op(inputs, options);
  // The condition is stored as int32.
  if (c.op === "where") return op(inputs[0].cast("bool"), inputs[1], inputs[2]);
  const count = Math.min(positional(c.op), inputs.length);
  inputs.slice(count).forEach((x, k) => (options[named[c.op][k]] = x));
  return Object.keys(options).length > 0 ? op(...inputs.slice(0, count), options) : op(...inputs.slice(0, count));
}

export const cases: readonly Case[] = goldenJson("ops").cases;
