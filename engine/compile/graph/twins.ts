/** Finds equal values of a graph: the same operator of the same inputs, with equal attributes, shape and dtype. */
import type { Aval, Op } from "../../core/op.ts";
import { sameShape } from "../../core/shape.ts";

/** What twins have in common. */
interface Twin extends Aval {
  readonly id: number;
  readonly op: Op | null;
  readonly attrs: unknown;
  readonly inputs: readonly Twin[];
}

const mix = (hash: number, n: number): number => Math.imul(hash ^ n, 0x9e3779b1);

/** Adds plain data to a hash; equal data give equal hashes. */
function hashed(hash: number, data: unknown): number {
  // Of a fraction, the product keeps the first digits.
  if (typeof data === "number") return mix(hash, data * 0x9e3779b1);
  if (typeof data === "string") { for (let k = 0; k < data.length; k++) hash = mix(hash, data.charCodeAt(k)); }
  else if (Array.isArray(data)) { for (const item of data) hash = hashed(hash, item); }
  else for (const name in data as object) hash = hashed(hash, (data as Record<string, unknown>)[name]);
  return hash;
}

/** Whether plain data are equal; 0 and -0 are not, NaN equals itself. */
function areEqual(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  const [one, other] = [a, b] as Record<string, unknown>[];
  for (const name in one) if (!(name in other) || !areEqual(one[name], other[name])) return false;
  for (const name in other) if (!(name in one)) return false;
  return true;
}

/** Whether two values of a graph are equal. */
const areTwins = (a: Twin, b: Twin): boolean =>
  a.op === b.op && a.dtype === b.dtype && sameShape(a.shape, b.shape) && a.inputs.length === b.inputs.length &&
  a.inputs.every((x, k) => x === b.inputs[k]) && areEqual(a.attrs, b.attrs);

/** The values of a graph that later ones may equal. */
export class Twins<Value extends Twin> {
  /** By hash; a value whose hash is taken is at the next free number. */
  readonly #values = new Map<number, Value>();

  /** The first of the values that equal this one, which may be itself. */
  firstOf(value: Value): Value {
    let hash = hashed(hashed(0, value.attrs), value.shape);
    for (const { id } of value.inputs) hash = mix(hash, id);
    for (;; hash++) {
      const first = this.#values.get(hash);
      if (first && areTwins(first, value)) return first;
      if (first) continue;
      this.#values.set(hash, value);
      return value;
    }
  }
}
