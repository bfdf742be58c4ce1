/**
 * Offsets as sums: slices of slices move by numbers alone, so those that read in the same order share a pipeline.
 */
import { type Expr, infix, joined, print, u32 } from "../../core/expr.ts";

interface Sum {
  /** Expressions other than sums and multiples, with their factors, by their text. */
  readonly terms: ReadonlyMap<string, { readonly of: Expr; readonly factor: number }>;
  readonly constant: number;
}

const isInteger = (e: Expr): e is Expr & { kind: "literal" } => e.kind === "literal" && e.text.endsWith("u");

/** The sum that an expression of u32 is; `definition` gives what a name stands for. */
export function sumOf(e: Expr, definition: (name: string) => Expr | undefined): Sum {
  const of = (x: Expr): Sum => sumOf(x, definition);
  if (isInteger(e)) return { terms: new Map(), constant: e.value };
  const known = e.kind === "variable" ? definition(e.name) : undefined;
  if (known && isSum(known)) return of(known);
  if (e.kind !== "infix" || !isSum(e)) return { terms: new Map([[print(e), { of: e, factor: 1 }]]), constant: 0 };
  const [left, right] = [of(e.left), of(e.right)];
  if (e.operator === "*") {
    const [a, n] = isInteger(e.right) ? [left, e.right.value] : [right, left.constant];
    return {
      terms: new Map([...a.terms].map(([key, { of, factor }]) => [key, { of, factor: factor * n }])),
      constant: a.constant * n,
    };
  }
  const sign = e.operator === "-" ? -1 : 1;
  const terms = new Map(left.terms);
  for (const [key, { of, factor }] of right.terms) {
    terms.set(key, { of, factor: (terms.get(key)?.factor ?? 0) + sign * factor });
  }
  return { terms, constant: left.constant + sign * right.constant };
}

const isSum = (e: Expr): boolean =>
  e.kind === "infix" &&
  (e.operator === "+" || e.operator === "-" || (e.operator === "*" && (isInteger(e.left) || isInteger(e.right))));

/**
 * A sum as an expression: first what `isFixed`, with the constant even if it is 0, bound to a name, and then the rest.
 * Null if a number is negative, as a factor is along an axis that is reversed.
 */
export function offsetOf(
  { terms, constant }: Sum,
  isFixed: (e: Expr) => boolean,
  bind: (e: Expr) => Expr,
): Expr | null {
  const list = [...terms.values()].filter(({ factor }) => factor !== 0);
  if (constant < 0 || list.some(({ factor }) => factor < 0)) return null;
  const product = ({ of, factor }: { of: Expr; factor: number }): Expr =>
    factor === 1 ? of : infix(of, "*", u32(factor));
  const fixed = list.filter(({ of }) => isFixed(of)).map(product);
  const varying = list.filter(({ of }) => !isFixed(of)).map(product);
  const start = fixed.length > 0 ? bind(infix(joined("+", fixed), "+", u32(constant))) : u32(constant);
  return varying.length > 0 ? infix(joined("+", varying), "+", start) : start;
}
