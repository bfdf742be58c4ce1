/** debugPrint: prints values of functions that are traced before their values exist. */
import type { DType, TypedArray } from "../core/dtype.ts";
import { check, refuseOptions, show } from "../core/errors.ts";
import { addPrints, type Print, printed, setPrinter } from "../ops/prints.ts";
import { size } from "../core/shape.ts";
import { requireEvaluator, Tensor } from "../core/tensor.ts";
import * as tree from "../core/tree.ts";
import { keepOpen, warn } from "../gpu/mod.ts";

/**
 * Prints `label: values` with the log of the host, as jax.debug.print. In a compiled function the values are printed
 * after each run, in order, before its promise resolves; elsewhere they are computed and printed soon after the call.
 * A step of scan prints in each iteration, a branch of cond where it is taken, and under vmap each example prints.
 * Under grad and jvp the values of the function are printed, not their derivatives, and once. Of large tensors only the
 * ends are printed. Reading the values makes a call wait for the device: for debugging.
 *
 * @param label printed before the values
 * @param value a tensor, a number, or a tree of them
 * @example
 * ```ts
 * import { compile, debugPrint, type Tensor, tensor } from "voxgrad";
 *
 * const step = compile((x: Tensor) => {
 *   const y = x.square();
 *   debugPrint("y", y);
 *   return y.sum();
 * });
 * await step(tensor([1, 2])); // prints y: [1, 4]
 * ```
 */
export function debugPrint(label: string, value: unknown, ...rest: never[]): void {
  refuseOptions("debugPrint", rest);
  check(typeof label === "string", "debugPrint", () => `the label is a string, got ${show(label)}`);
  const tensors = tree.leaves<unknown>(value).filter((leaf) => leaf instanceof Tensor);
  addPrints([{ kind: "value", label, tree: value, tensors }]);
}

/** The values of a tensor, and where one of them begins. */
interface Values {
  readonly data: TypedArray;
  readonly dtype: DType;
  /** The axes that prints have not taken apart. */
  readonly shape: readonly number[];
  readonly from: number;
}

/** The lines of prints whose tensors have these values. */
function linesOf(prints: readonly Print[], values: Map<Tensor, Values>): string[] {
  return prints.flatMap((p): string[] => {
    if (p.kind === "value") {
      return [`${p.label}: ${format(p.tree, p.tensors.map((t) => values.get(t)!))}`];
    }
    if (p.kind === "when") {
      const { data, from } = values.get(p.predicate)!;
      return (data[from] !== 0) === p.value ? linesOf(p.prints, values) : [];
    }
    return Array.from({ length: p.length }, (_, n) => {
      const index = p.reverse ? p.length - 1 - n : n;
      const inside = new Map(values);
      for (const t of printed(p.prints)) {
        const { shape: [, ...shape], ...rest } = values.get(t)!;
        inside.set(t, { ...rest, shape, from: rest.from + index * size(shape) });
      }
      return linesOf(p.prints, inside);
    }).flat();
  });
}

/** Elements above which only the ends of an axis are shown, and how many of those. */
const MOST = 100;
const ENDS = 3;

function format(value: unknown, tensors: Values[]): string {
  if (value instanceof Tensor) {
    const { data, dtype, shape, from } = tensors.shift()!;
    const all = size(shape) <= MOST;
    const level = (axis: number, at: number): string => {
      if (axis === shape.length) return number(data[at], dtype);
      const [n, step] = [shape[axis], size(shape.slice(axis + 1))];
      const item = (k: number): string => level(axis + 1, at + k * step);
      const range = (a: number, b: number): string[] => Array.from({ length: b - a }, (_, k) => item(a + k));
      const items = all || n <= 2 * ENDS ? range(0, n) : [...range(0, ENDS), "...", ...range(n - ENDS, n)];
      return `[${items.join(", ")}]`;
    };
    return level(0, from);
  }
  if (Array.isArray(value)) return `[${value.map((child) => format(child, tensors)).join(", ")}]`;
  if (typeof value === "object" && value !== null && !ArrayBuffer.isView(value)) {
    const entries = Object.entries(value).map(([key, child]) => `${key}: ${format(child, tensors)}`);
    return `{ ${entries.join(", ")} }`;
  }
  return typeof value === "string" ? value : show(value);
}

/** A number with the digits that its type holds. */
function number(value: number, dtype: DType): string {
  if (dtype === "bool") return String(value !== 0);
  return dtype === "f32" || dtype === "f16" ? String(Number(value.toPrecision(dtype === "f32" ? 7 : 4))) : `${value}`;
}

/** Logs prints whose tensors, in order, have these values. */
function say(prints: readonly Print[], arrays: readonly TypedArray[]): void {
  const values = new Map(
    printed(prints).map((t, k): [Tensor, Values] => {
      return [t, { data: arrays[k], dtype: t.dtype, shape: t.shape, from: 0 }];
    }),
  );
  for (const line of linesOf(prints, values)) warn(line);
}

/** Prints outside of traces, which are logged in the order of the calls. */
let said: Promise<void> = Promise.resolve();
setPrinter({
  now(prints) {
    // Reading starts now, so that tensors may be disposed of afterwards.
    const arrays = Promise.all(printed(prints).map((t) => requireEvaluator().read(t)));
    arrays.catch(() => undefined);
    said = keepOpen(said.then(async () => {
      try {
        say(prints, await arrays);
      } catch (error) {
        warn(`debugPrint: the values were not computed: ${(error as Error).message}`);
      }
    }));
  },
  say,
});
