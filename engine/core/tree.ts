/** Trees: nested objects and arrays whose leaves are tensors (or anything that is neither plain object nor array). */
import { check, fail, isPlain } from "./errors.ts";
import { Tensor } from "./tensor.ts";

/** A nested structure with tensors as leaves. */
export type Tree = Tensor | readonly Tree[] | { readonly [name: string]: Tree };

/** Calls `f(leaf, path)` on every leaf and gives the same structure with the results. */
export function map<R = any>(tree: any, f: (leaf: any, path: string) => R, path = ""): any {
  const join = (key: string): string => (path === "" ? key : `${path}.${key}`);
  if (Array.isArray(tree)) return tree.map((child, k) => map(child, f, join(String(k))));
  if (isPlain(tree))
    return Object.fromEntries(Object.entries(tree).map(([key, child]) => [key, map(child, f, join(key))]));
  return f(tree, path);
}

/** Leaves in order: arrays by position, objects by insertion. */
export function leaves(tree: unknown): any[] {
  const list: unknown[] = [];
  map(tree, (leaf) => list.push(leaf));
  return list;
}

/** Leaves by path: names joined by ".", as PyTorch names a state dict. */
export function flatten(tree: object): Map<string, Tensor> {
  const result = new Map<string, Tensor>();
  map(tree, (leaf, path) => {
    check(leaf instanceof Tensor, "tree.flatten", () => `leaf ${path} is not a tensor: ${String(leaf)}`);
    result.set(path, leaf);
  });
  return result;
}

/** The inverse of flatten: nested objects, with arrays where all keys of a level are 0, 1, 2 and so on. */
export function unflatten(entries: Iterable<readonly [string, Tensor]>): any {
  const root = new Map<string, any>();
  for (const [path, leaf] of entries) {
    const keys = path.split(".");
    let level = root;
    for (const key of keys.slice(0, -1)) {
      if (!level.has(key)) level.set(key, new Map());
      level = level.get(key);
      if (!(level instanceof Map)) fail("tree.unflatten", `${path} runs through ${key}, which is a tensor`);
    }
    if (level.has(keys.at(-1)!)) fail("tree.unflatten", `${path} is given twice`);
    level.set(keys.at(-1)!, leaf);
  }
  const build = (level: unknown): unknown => {
    if (!(level instanceof Map)) return level;
    const keys = [...level.keys()];
    const list = keys.length > 0 && keys.every((key, k) => key === String(k));
    return list
      ? keys.map((key) => build(level.get(key)))
      : Object.fromEntries(keys.map((key) => [key, build(level.get(key))]));
  };
  return build(root);
}

/** Structure with leaves replaced, in the order of `leaves`. */
export function rebuild(tree: unknown, values: readonly unknown[]): any {
  let k = 0;
  const result = map(tree, () => values[k++]);
  check(k === values.length, "tree.rebuild", () => `the structure has ${k} leaves, got ${values.length} values`);
  return result;
}
