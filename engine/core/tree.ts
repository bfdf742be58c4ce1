/** Trees: nested objects and arrays whose leaves are tensors (or anything that is neither plain object nor array). */
import { check, fail, isPlain, show } from "./errors.ts";
import { Tensor } from "./tensor.ts";

/** A nested structure with tensors as leaves. */
export type Tree = Tensor | readonly Tree[] | { readonly [name: string]: Tree };

/** Deeper nesting is refused: it is a mistake, and would exhaust the stack. */
const DEEPEST = 200;

/**
 * Calls `f(leaf, path)` on every leaf and gives the same structure with the results. null and undefined, such as the bias
 * of a layer without one, are no leaves and stay.
 *
 * @throws VoxgradError for a structure that contains itself, or is nested deeper than 200 levels
 */
export function map<R = any>(tree: any, f: (leaf: any, path: string) => R): any {
  const above: object[] = [];
  const visit = (level: any, path: string): any => {
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
const isBranch = (value: unknown): value is any[] | Record<string, any> => Array.isArray(value) || isPlain(value);

/** Leaves in order: arrays by position, objects by insertion. To go through several trees, pair them by path. */
export function leaves(tree: unknown): any[] {
  const list: unknown[] = [];
  map(tree, (leaf) => list.push(leaf));
  return list;
}

/** Leaves by path: names joined by ".", as PyTorch names a state dict. */
export function flatten(tree: object): Map<string, Tensor> {
  const result = new Map<string, Tensor>();
  map(tree, (leaf, path) => {
    check(leaf instanceof Tensor, "tree.flatten", () => `leaf ${path} is not a tensor: ${show(leaf)}`);
    check(!result.has(path), "tree.flatten", () => `two leaves have the path ${path}; leave dots out of names`);
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
