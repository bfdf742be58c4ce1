/** What debugPrint prints once the values are known, and how transforms take it along. */
import type { TypedArray } from "../core/dtype.ts";
import type { Tensor } from "../core/tensor.ts";

export type Print =
  | { readonly kind: "value"; readonly label: string; readonly tree: unknown; readonly tensors: readonly Tensor[] }
  /** Each of them once for every index of a leading axis that all its tensors have. */
  | { readonly kind: "each"; readonly length: number; readonly reverse: boolean; readonly prints: readonly Print[] }
  /** Only where the predicate, a bool scalar, has this value. */
  | { readonly kind: "when"; readonly predicate: Tensor; readonly value: boolean; readonly prints: readonly Print[] };

/** The tensors of prints, in order. */
export const printed = (prints: readonly Print[]): Tensor[] =>
  prints.flatMap((p) =>
    p.kind === "value" ? p.tensors : p.kind === "each" ? printed(p.prints) : [p.predicate, ...printed(p.prints)]
  );

/** The same prints of other tensors, in that order. */
export function withTensors(prints: readonly Print[], tensors: readonly Tensor[]): Print[] {
  const rest = [...tensors];
  const visit = (list: readonly Print[]): Print[] =>
    list.map((p): Print => {
      if (p.kind === "value") return { ...p, tensors: rest.splice(0, p.tensors.length) };
      const predicate = p.kind === "when" ? { predicate: rest.shift()! } : {};
      return { ...p, ...predicate, prints: visit(p.prints) };
    });
  return visit(prints);
}

/** What is printed while a function is traced; null if none is. */
let scope: Print[] | null = null;

/** How prints are said: debugPrint sets it, so that pages without it need none. */
export interface Printer {
  /** Computes and prints. */
  now(prints: readonly Print[]): void;
  /** Prints values that were computed, one array for each tensor. */
  say(prints: readonly Print[], values: readonly TypedArray[]): void;
}
let printer: Printer | null = null;
export const setPrinter = (implementation: Printer): void => {
  printer = implementation;
};

export const say: Printer["say"] = (prints, values) => printer?.say(prints, values);

/** Calls f; what it prints is left to the caller. */
export function collectPrints<T>(f: () => T): { readonly result: T; readonly prints: readonly Print[] } {
  const before = scope;
  const prints: Print[] = [];
  scope = prints;
  try {
    return { result: f(), prints };
  } finally {
    scope = before;
  }
}

/** Prints within the current trace, or at once. */
export function addPrints(prints: readonly Print[]): void {
  if (scope) scope.push(...prints);
  else if (prints.length > 0) printer?.now(prints);
}
