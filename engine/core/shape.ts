/** Arithmetic on shapes, axes and broadcasting. */
import { check, fail, ifTraced, show } from "./errors.ts";

export type Shape = readonly number[];

/** Upper bound on elements, so that 32-bit indices suffice. */
export const MAX_ELEMENTS = 2 ** 31;

export function size(shape: Shape): number {
  let count = 1;
  for (let k = 0; k < shape.length; k++) count *= shape[k];
  return count;
}

export const sameShape = (a: Shape, b: Shape): boolean => a.length === b.length && a.every((n, k) => n === b[k]);

/** Row-major strides in elements. */
export function strides(shape: Shape): number[] {
  const result = new Array<number>(shape.length);
  let step = 1;
  for (let k = shape.length - 1; k >= 0; k--) {
    result[k] = step;
    step *= shape[k];
  }
  return result;
}

function isShape(value: unknown): value is Shape {
  if (!Array.isArray(value)) return false;
  for (let k = 0; k < value.length; k++) if (!Number.isInteger(value[k]) || value[k] < 0) return false;
  return true;
}

export function checkShape(operator: string, shape: unknown): asserts shape is Shape {
  if (!isShape(shape)) {
    const hint = (Array.isArray(shape) ? shape : []).map(ifTraced).find((hint) => hint) ?? "";
    fail(operator, `a shape is an array of integers >= 0, got ${show(shape)}${hint}`);
  }
  if (size(shape) >= MAX_ELEMENTS) fail(operator, `shape ${show(shape)} has 2^31 elements or more; split it`);
}

/** NumPy broadcasting of two shapes; the error names both. */
export function broadcastShapes(operator: string, a: Shape, b: Shape): Shape {
  if (a.length === 0 || sameShape(a, b)) return b;
  if (b.length === 0) return a;
  const rank = Math.max(a.length, b.length);
  const result = new Array<number>(rank);
  for (let k = 0; k < rank; k++) {
    const m = a[a.length - rank + k] ?? 1;
    const n = b[b.length - rank + k] ?? 1;
    if (m !== n && m !== 1 && n !== 1) {
      fail(
        operator,
        `shapes ${show(a)} and ${show(b)} do not broadcast: ${m} against ${n} at axis ${k - rank} from the end`,
      );
    }
    result[k] = m === 1 ? n : m;
  }
  return result;
}

/** Maps an axis in [-rank, rank) to [0, rank). */
export function normalizeAxis(operator: string, axis: unknown, rank: number, name = "axis"): number {
  check(
    Number.isInteger(axis) && (axis as number) >= -rank && (axis as number) < rank,
    operator,
    () => `${name} ${show(axis)} is out of range for a tensor of rank ${rank}${ifTraced(axis)}`,
  );
  return (axis as number) < 0 ? (axis as number) + rank : (axis as number);
}

/** Axes sorted and without duplicates; undefined means all. */
export function normalizeAxes(operator: string, axes: unknown, rank: number): number[] {
  if (axes === undefined) return Array.from({ length: rank }, (_, k) => k);
  check(Array.isArray(axes), operator, () => `axes are an array of integers, got ${show(axes)}`);
  const list = axes.map((axis) => normalizeAxis(operator, axis, rank, "axes entry")).sort((a, b) => a - b);
  check(new Set(list).size === list.length, operator, () => `axes ${show(axes)} name an axis twice`);
  return list;
}

/** Expands one number to all axes, or checks a list with one number per axis. */
export function perAxis(operator: string, name: string, value: unknown, rank: number, least: number): number[] {
  const list = typeof value === "number" ? new Array<number>(rank).fill(value) : value;
  check(
    Array.isArray(list) && list.length === rank && list.every((n) => Number.isInteger(n) && n >= least),
    operator,
    () => `${name} is an integer >= ${least} or ${rank} of them, got ${show(value)}${ifTraced(value)}`,
  );
  return [...list];
}
