/** Pairs the leaves of two trees by path, independent of key order. */
import { isFloat } from "./dtype.ts";
import { fail, isPlain, show } from "./errors.ts";
import { sameShape } from "./shape.ts";
import { Tensor } from "./tensor.ts";

/** A leaf of one tree and its counterpart in the other. */
export interface Pair {
  readonly path: string;
  readonly of: unknown;
  readonly given: unknown;
}

const isNone = (value: unknown): boolean => value === null || value === undefined;

/**
 * Pairs the leaves of `of`, in order, with those of `given` at the same paths; unmatched leaves are errors that name
 * the path. With `partial`, `given` may have null in place of a leaf or branch, which is then skipped.
 */
export function pairLeaves(name: string, what: string, of: unknown, given: unknown, partial = false): Pair[] {
  const pairs: Pair[] = [];
  const refuse = (path: string, problem: string): never => fail(name, `${what}${path && ` at ${path}`}: ${problem}`);
  const visit = (a: unknown, b: unknown, path: string): void => {
    if (partial && isNone(b)) return;
    if (isNone(a)) return isNone(b) ? undefined : refuse(path, `nothing belongs there, got ${show(b)}`);
    if (isNone(b)) return refuse(path, `missing; ${kind(a)} belongs there`);
    const join = (key: string | number): string => (path === "" ? String(key) : `${path}.${key}`);
    if (Array.isArray(a) || isPlain(a)) {
      if (Array.isArray(a) !== Array.isArray(b) || isPlain(a) !== isPlain(b)) {
        return refuse(path, `${kind(a)} belongs there, got ${show(b)}`);
      }
      const [mine, theirs] = [a, b] as [Record<string, unknown>, Record<string, unknown>];
      for (const key of Object.keys(theirs)) {
        if (Object.hasOwn(mine, key) || isNone(theirs[key])) continue;
        refuse(join(key), `nothing has that name, got ${show(theirs[key])}`);
      }
      for (const key of Object.keys(mine)) {
        visit(mine[key], Object.hasOwn(theirs, key) ? theirs[key] : undefined, join(key));
      }
      return;
    }
    if (Array.isArray(b) || isPlain(b)) return refuse(path, `${kind(a)} belongs there, got ${show(b)}`);
    pairs.push({ path, of: a, given: b });
  };
  visit(of, given, "");
  return pairs;
}

const kind = (value: unknown): string =>
  Array.isArray(value) ? `an array of ${value.length}` : isPlain(value) ? `an object ${show(value)}` : show(value);

/** The tensors of a pair, after checking that `given` is f32 or f16 and has the shape of `of`. */
export function checkPair(name: string, what: string, { path, of, given }: Pair): { of: Tensor; given: Tensor } {
  const where = `${what}${path && ` at ${path}`}`;
  if (!(of instanceof Tensor && given instanceof Tensor)) {
    fail(name, `${where}: a tensor like ${show(of)} belongs there, got ${show(given)}`);
  }
  if (!sameShape(given.shape, of.shape)) fail(name, `${where}: the shape is that of ${of}, got ${given}`);
  if (!isFloat(given.dtype)) fail(name, `${where}: the dtype is f32 or f16, got ${given}`);
  return { of, given };
}
