/** Trees: nested objects and arrays whose leaves are tensors (or anything but plain objects and arrays). */
import { check, fail, isPlain, show } from "./errors.ts";
import { pairLeaves } from "./pair.ts";
import { Tensor } from "./tensor.ts";

/** A nested structure with leaves of type L; null and undefined mark omitted entries. */
export type TreeOf<L> = L | null | undefined | readonly TreeOf<L>[] | { readonly [name: string]: TreeOf<L> };

/** A nested structure with tensors as leaves. */
export type Tree = TreeOf<Tensor>;

/** Parameters of a network, or optimizer state: trees of tensors by name. */
export type Params = { readonly [name: string]: Tree };

/**
 * Types that are leaves. Other class instances are leaves too, but the type system cannot tell them from plain
 * objects.
 */
type LeafType =
  | Tensor
  | string
  | number
  | boolean
  | bigint
  | symbol
  | ArrayBufferView
  | ((...args: never[]) => unknown);

/** The type of the leaves of a structure of type T. */
export type Leaf<T> = unknown extends T ? T
  : [T] extends [Tree] ? Tensor
  : [Tree] extends [T] ? unknown
  : T extends null | undefined ? never
  : T extends LeafType ? T
  : T extends readonly (infer E)[] ? Leaf<E>
  : T extends object ? Leaf<T[keyof T]>
  : unknown;

/** The type of T with leaves of type R. */
export type Mapped<T, R> = unknown extends T ? T
  : [Tree] extends [T] ? TreeOf<R>
  : T extends null | undefined ? T
  : T extends LeafType ? R
  : T extends object ? { [K in keyof T]: Mapped<T[K], R> }
  : unknown;

/** Nesting limit: deeper trees are mistakes and would overflow the stack. */
const DEEPEST = 200;

/**
 * Applies `f(leaf, path)` to every leaf and returns the same structure with the results; for several trees
 * `f(leaf, leaf of the second, ..., path)`. They are paired by name, whatever the order of their keys. null and
 * undefined, such as the missing bias of a layer, are kept.
 *
 * @param f `path` is the keys joined by ".", "" if the tree itself is a leaf
 * @throws VoxgradError for trees that differ in structure, naming the path, and for a structure that contains itself or
 *   is nested deeper than 200 levels
 * @example
 * ```ts
 * import { ones, tree } from "voxgrad";
 *
 * const params = { weight: ones([2, 3]), bias: ones([2]) };
 * const halves = tree.map(params, (leaf) => leaf.mul(0.5)); // { weight, bias }
 * const shapes = tree.map(params, (leaf, path) => `${path}: ${leaf.shape}`); // { weight: "weight: 2,3", ... }
 * const next = tree.map(params, halves, (p, half) => p.sub(half));
 * ```
 */
export function map<T, R>(tree: T, f: (leaf: Leaf<T>, path: string) => R): Mapped<T, R>;
export function map<T, U, R>(tree: T, second: U, f: (leaf: Leaf<T>, second: Leaf<U>, path: string) => R): Mapped<T, R>;
export function map<T, U, V, R>(
  tree: T,
  second: U,
  third: V,
  f: (leaf: Leaf<T>, second: Leaf<U>, third: Leaf<V>, path: string) => R,
): Mapped<T, R>;
export function map<T, U, V, W, R>(
  tree: T,
  second: U,
  third: V,
  fourth: W,
  f: (leaf: Leaf<T>, second: Leaf<U>, third: Leaf<V>, fourth: Leaf<W>, path: string) => R,
): Mapped<T, R>;
export function map(tree: unknown, ...rest: unknown[]): unknown {
  const f = rest.pop();
  check(typeof f === "function", "tree.map", () => `the last argument is a function, got ${show(f)}`);
  const apply = f as (...args: unknown[]) => unknown;
  if (rest.length === 0) return visitLeaves(tree, apply);
  // Structures that contain themselves are refused here.
  visitLeaves(tree, () => null);
  const others = rest.map((other, k) => pairLeaves("tree.map", `tree ${k + 2}`, tree, other).map(({ given }) => given));
  let next = 0;
  return visitLeaves(tree, (leaf, path) => {
    const k = next++;
    return apply(leaf, ...others.map((leaves) => leaves[k]), path);
  });
}

function visitLeaves(tree: unknown, f: (leaf: unknown, path: string) => unknown): unknown {
  const above: object[] = [];
  const visit = (level: unknown, path: string): unknown => {
    if (level === null || level === undefined) return level;
    if (!isBranch(level)) return f(level, path);
    const place = path === "" ? "the tree" : `the tree at ${path.slice(0, 100)}`;
    if (above.includes(level)) fail("tree", `${place} contains itself; give a structure without cycles`);
    if (above.length > DEEPEST) fail("tree", `${place} is nested deeper than ${DEEPEST} levels`);
    above.push(level);
    const join = (key: string): string => (path === "" ? key : `${path}.${key}`);
    const result = Array.isArray(level)
      ? level.map((child, k) => visit(child, join(String(k))))
      : Object.fromEntries(Object.entries(level).map(([key, child]) => [key, visit(child, join(key))]));
    above.pop();
    return result;
  };
  return visit(tree, "");
}

/** Whether a value has children: an array or a plain object. */
const isBranch = (value: unknown): value is unknown[] | Record<string, unknown> =>
  Array.isArray(value) || isPlain(value);

/**
 * The leaves in order: arrays by index, objects by insertion order. `map` walks several trees together, by name.
 *
 * @example
 * ```ts
 * import { ones, tree } from "voxgrad";
 *
 * const count = tree.leaves({ weight: ones([2, 3]), bias: ones([2]) }).reduce((sum, t) => sum + t.size, 0); // 8
 * ```
 */
export function leaves<T>(tree: T): Leaf<T>[] {
  const list: Leaf<T>[] = [];
  map(tree, (leaf) => list.push(leaf));
  return list;
}

/**
 * The tensors of a tree by path: keys joined by ".", like a PyTorch state dict.
 *
 * @throws VoxgradError for a leaf that is not a tensor, and for two leaves with the same path
 * @example
 * ```ts
 * import { ones, tree } from "voxgrad";
 *
 * const named = tree.flatten({ conv: { weight: ones([4, 1, 3, 3]), bias: ones([4]) } });
 * named.get("conv.bias"); // Tensor(f32[4])
 * ```
 */
export function flatten(tree: object): Map<string, Tensor> {
  const result = new Map<string, Tensor>();
  map(tree, (leaf, path) => {
    check(leaf instanceof Tensor, "tree.flatten", () => `leaf ${path} is not a tensor: ${show(leaf)}`);
    check(!result.has(path), "tree.flatten", () => `two leaves have the path ${path}; leave dots out of names`);
    result.set(path, leaf);
  });
  return result;
}

type Level = Map<string, Tensor | Level>;

/**
 * The inverse of flatten: nested objects, or arrays where the keys of a level are 0, 1, 2, ...
 *
 * @param entries a Map, or [path, tensor] pairs
 * @throws VoxgradError for a duplicate path or one that runs through a tensor
 * @example
 * ```ts
 * import { ones, tree } from "voxgrad";
 *
 * const params = tree.unflatten([["layers.0.weight", ones([2])], ["layers.1.weight", ones([2])]]);
 * // { layers: [{ weight }, { weight }] }
 * ```
 */
export function unflatten(entries: Iterable<readonly [string, Tensor]>): Tree {
  const root: Level = new Map();
  for (const [path, leaf] of entries) {
    const keys = path.split(".");
    let level = root;
    for (const key of keys.slice(0, -1)) {
      const next = level.get(key) ?? new Map();
      if (!(next instanceof Map)) fail("tree.unflatten", `${path} runs through ${key}, which is a tensor`);
      level.set(key, next);
      level = next;
    }
    if (level.has(keys.at(-1)!)) fail("tree.unflatten", `${path} is given twice`);
    level.set(keys.at(-1)!, leaf);
  }
  const build = (level: Tensor | Level): Tree => {
    if (!(level instanceof Map)) return level;
    const entries = [...level].map(([key, child]) => [key, build(child)] as const);
    const list = entries.length > 0 && entries.every(([key], k) => key === String(k));
    return list ? entries.map(([, child]) => child) : Object.fromEntries(entries);
  };
  return build(root);
}

/**
 * The structure of a tree with new leaves, in the order of `leaves`.
 *
 * @throws VoxgradError unless there is one value per leaf
 * @example
 * ```ts
 * import { tree, zeros } from "voxgrad";
 *
 * tree.rebuild({ weight: zeros([2]), bias: zeros([1]) }, ["w", "b"]); // { weight: "w", bias: "b" }
 * ```
 */
export function rebuild<T, R>(tree: T, values: readonly R[]): Mapped<T, R> {
  let k = 0;
  const result = map(tree, () => values[k++]);
  check(k === values.length, "tree.rebuild", () => `the structure has ${k} leaves, got ${values.length} values`);
  return result;
}
