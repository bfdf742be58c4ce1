// deno-lint-ignore-file no-explicit-any
/** Table entries for tests of all operators. */
import * as vg from "../../engine/mod.ts";
import { type DType, Tensor, tensor } from "../../engine/mod.ts";
import type { Input } from "./operator_inputs.ts";

/** One call of an operator. */
export interface Entry {
  /** Its name in engine/ops/mod.ts. */
  readonly operator: string;
  /** Distinguishes entries of the same operator. */
  readonly about: string;
  readonly inputs: readonly Input[];
  /** Arguments before the tensors, and between the tensors and the options. */
  readonly before: readonly unknown[];
  readonly rest: readonly unknown[];
  readonly options: Readonly<Record<string, unknown>> | null;
  /** Names of the options that the last inputs are passed as. */
  readonly named: readonly string[];
  /** Pass the tensors as one array. */
  readonly list: boolean;
  /** "zero": constant between jumps; "refused": differentiation throws. */
  readonly derivative: "smooth" | "zero" | "refused";
  /** Result type for f16 inputs: f16, or a wider documented type; a list if the outputs differ. */
  readonly half: DType | readonly DType[];
}

export type Extra = Partial<Omit<Entry, "operator" | "inputs" | "options">>;
export const op = (operator: string, inputs: Input[], options: Entry["options"] = null, extra: Extra = {}): Entry => ({
  operator,
  inputs,
  options,
  about: options
    ? Object.entries(options)
      .map(([k, v]) => `${k} ${JSON.stringify(v)}`)
      .join(", ")
    : "",
  before: [],
  rest: [],
  named: [],
  list: false,
  derivative: "smooth",
  half: "f16",
  ...extra,
});
export const rest = (...values: unknown[]): Extra => ({ rest: values, about: JSON.stringify(values) });
export const label = (e: Entry): string => `${e.operator}(${e.about})`;

/** The operator of a name, "random.split" too. */
export function operatorOf(name: string): (...args: any[]) => any {
  const found = name.split(".").reduce((scope: any, part) => scope[part], vg);
  return found as (...args: any[]) => any;
}

/** The arguments of a call of an entry's operator on tensors. */
export function argumentsOf(e: Entry, tensors: readonly Tensor[]): unknown[] {
  const count = tensors.length - e.named.length;
  const named = Object.fromEntries(e.named.map((name, k) => [name, tensors[count + k]]));
  const options = e.options || e.named.length > 0 ? [{ ...e.options, ...named }] : [];
  const positional = tensors.slice(0, count);
  return [...e.before, ...(e.list ? [positional] : positional), ...e.rest, ...options];
}

/** Outputs of an entry's operator, as a list. */
export const call = (e: Entry, tensors: readonly Tensor[]): Tensor[] =>
  [operatorOf(e.operator)(...argumentsOf(e, tensors))].flat();

/** Inputs of an entry; with `batch` a new leading axis of that many examples. */
export const tensorsOf = (e: Entry, batch?: number): Tensor[] =>
  e.inputs.map(({ shape, dtype, values }, k) => {
    const full = batch === undefined ? shape : [batch, ...shape];
    const data = values(
      full.reduce((a, b) => a * b, 1),
      7 * k + 3,
    );
    return tensor(Array.from(data), { shape: full, dtype });
  });
