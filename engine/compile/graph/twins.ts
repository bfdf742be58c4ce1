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

/** The values of a graph that later ones may equal. */
export class Twins<Value extends Twin> {
  /** By hash; a value whose hash is taken is at the next free number. */
  readonly #values = new Map<number, Value>();

  /** The value of `op` applied to `inputs`, an earlier one or that of `make`. */
  valueOf({ shape, dtype }: Aval, op: Op, attrs: unknown, inputs: readonly Value[], make: () => Value): Value {
    let hash = hashed(hashed(0, attrs), shape);
    for (const { id } of inputs) hash = mix(hash, id);
    const isTwin = (v: Value): boolean =>
      v.op === op && v.dtype === dtype && sameShape(v.shape, shape) && v.inputs.length === inputs.length &&
      inputs.every((x, k) => x === v.inputs[k]) && areEqual(v.attrs, attrs);
    for (let key = hash;; key++) {
      const known = this.#values.get(key);
      if (known && !isTwin(known)) continue;
      const value = known ?? make();
      if (!known) this.#values.set(key, value);
      return value;
    }
  }
}
