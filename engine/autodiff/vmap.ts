/** vmap: applies a per-example function to a batch. */
import { check, checkFunction, checkOptions, fail, isPlain, show } from "../core/errors.ts";
import { addPrints, collectPrints, type Print, printed, withTensors } from "../ops/prints.ts";
import { sameShape } from "../core/shape.ts";
import { Tensor } from "../core/tensor.ts";
import { callTraced, refusePromise } from "../core/tracing.ts";
import * as tree from "../core/tree.ts";
import { broadcastTo } from "../ops/shape/broadcast_to.ts";
import { moveAxis } from "../ops/shape/transpose.ts";
import { ancestorsSince, type Batches, type Unit, unitOf } from "./unit.ts";

/** Broadcasts x to every example of a batch. */
const repeat = (x: Tensor, size: number): Tensor => broadcastTo(x, { shape: [size, ...x.shape] });

/** Batches every node that `outputs` depend on and that depends on the examples; nothing older than `first` does. */
function batch(outputs: readonly Tensor[], known: Batches, size: number, first: number): void {
  const done = new Set<Unit>();
  for (const t of ancestorsSince(outputs, first)) {
    if (known.has(t) || t.source.kind !== "op") continue;
    const unit = unitOf(t);
    if (unit) {
      if (done.has(unit)) continue;
      done.add(unit);
      const results = unit.batch({
        size,
        batches: known,
        full: (x) => known.get(x) ?? repeat(x, size),
        extend: (outputs, batches) => batch(outputs, batches, size, Math.min(...[...batches.keys()].map((x) => x.id))),
        vmap: (f) => vmap(f),
      });
      // What is null stays as it is.
      results.forEach((result, k) => result && known.set(unit.results[k], result));
      continue;
    }
    const { op, inputs, attrs } = t.source;
    const batched = inputs.map((x) => known.has(x));
    if (!batched.includes(true)) continue;
    if (!op.batch && op.lowering.kind === "composite") {
      const inner = op.lowering.expand(inputs, attrs);
      batch([inner], known, size, first);
      known.set(t, known.get(inner)!);
      continue;
    }
    if (!op.batch) fail(op.name, "has no rule for vmap; map over the examples in a loop instead");
    const batches = inputs.map((x) => known.get(x) ?? x);
    const full = (k: number): Tensor => (batched[k] ? batches[k] : repeat(batches[k], size));
    const result = op.batch({ inputs: batches, batched, size, output: t, attrs, full });
    check(
      sameShape(result.shape, [size, ...t.shape]),
      op.name,
      () => `its rule for vmap gave ${show(result.shape)} for ${size} examples of ${show(t.shape)}`,
    );
    known.set(t, result);
  }
}

/** What is printed for each example; once, if it is the same for all. */
function batchedPrint(print: Print, known: Batches, size: number): Print {
  const tensors = printed([print]);
  if (!tensors.some((t) => known.has(t))) return print;
  const prints = withTensors([print], tensors.map((t) => known.get(t) ?? repeat(t, size)));
  return { kind: "each", length: size, reverse: false, prints };
}

/** A batch axis, null for none, or a tree of them that is the beginning of the tree that it is for. */
export type Axes = number | null | readonly Axes[] | { readonly [name: string]: Axes };

/** Whether axes are well formed. */
function areAxes(axes: unknown): axes is Axes {
  if (Array.isArray(axes)) return axes.every(areAxes);
  if (isPlain(axes)) return Object.values(axes).every(areAxes);
  return axes === null || Number.isInteger(axes);
}

/** Applies f to the leaves of a value with their axes. `what` names the value in errors. */
function mapAxes(
  what: string,
  value: unknown,
  axes: Axes,
  f: (leaf: Tensor, axis: number | null, at: string) => unknown,
) {
  const visit = (level: unknown, axes: Axes, path: string): unknown => {
    const at = `${what}${path && `, ${path}`}`;
    const join = (key: string): string => (path === "" ? key : `${path}.${key}`);
    if (axes === null || typeof axes === "number") {
      return tree.map<unknown, unknown>(level, (leaf, below) => {
        const place = below === "" ? at : `${what}, ${join(below)}`;
        return leaf instanceof Tensor ? f(leaf, axes, place) : leaf;
      });
    }
    check(
      Array.isArray(axes) ? Array.isArray(level) && axes.length === level.length : isPlain(level),
      "vmap",
      () => `the axes of ${at} are ${show(axes)}, which does not fit ${show(level)}`,
    );
    const children = level as Record<string, unknown>;
    const given = axes as Readonly<Record<string, Axes>>;
    const stranger = Object.keys(given).find((key) => !Object.hasOwn(children, key));
    check(stranger === undefined, "vmap", () => `the axes of ${at} name ${stranger}, which ${show(level)} lacks`);
    const mapped = Object.keys(children).map((key) => {
      check(Object.hasOwn(given, key), "vmap", () => `the axes of ${at} lack ${key}: an axis, or null for none`);
      return [key, visit(children[key], given[key], join(key))] as const;
    });
    return Array.isArray(level) ? mapped.map(([, child]) => child) : Object.fromEntries(mapped);
  };
  return visit(value, axes, "");
}

/**
 * Batches f: arguments have one more axis, f sees one example, and its results are stacked along a new axis.
 * Operators run batched, not in a loop. Composes with grad, jvp, hvp, checkpoint, scan, compile and itself.
 *
 * @param options.inAxes the batch axis of all arguments (default: 0), or one entry per argument: an axis, null for an
 *   argument shared by all examples, or for a tree a tree of these by name: `[{ weight: 0, bias: null }, 0]`
 * @param options.outAxes the batch axis of the results (default: 0), or a tree of axes like the result. null gives a
 *   result that is the same for all examples without the batch axis
 * @throws VoxgradError at the call, for batches of different sizes, axes that do not fit, naming the path, operators
 *   that cannot be batched, and results with outAxes null that differ between examples
 * @example
 * ```ts
 * import { grad, ones, type Tensor, vmap } from "voxgrad";
 *
 * const loss = (weight: Tensor, x: Tensor) => weight.mul(x).square().sum();
 * const gradients = vmap(grad(loss), { inAxes: [null, 0] })(ones([3]), ones([5, 3])); // [5, 3]: one per example
 * ```
 */
export function vmap<A extends unknown[] = Tensor[], R = Tensor>(
  f: (...args: A) => R,
  options: { inAxes?: number | readonly Axes[]; outAxes?: Axes } = {},
): (...args: A) => R {
  checkFunction("vmap", "the first argument", f);
  checkOptions("vmap", options, ["inAxes", "outAxes"]);
  const { inAxes = 0, outAxes = 0 } = options;
  check(
    Number.isInteger(inAxes) || (Array.isArray(inAxes) && areAxes(inAxes)),
    "vmap",
    () => `inAxes is an axis, or for each argument an axis, null or a tree of them, got ${show(inAxes)}`,
  );
  check(areAxes(outAxes), "vmap", () => `outAxes is an axis, null or a tree of them, got ${show(outAxes)}`);
  return (...args) => {
    check(
      !Array.isArray(inAxes) || inAxes.length === args.length,
      "vmap",
      () => `inAxes has ${(inAxes as readonly unknown[]).length} entries for ${args.length} arguments`,
    );
    const known: Batches = new Map();
    let size: number | null = null;
    let first = Infinity;
    const inside = args.map((arg, k) =>
      mapAxes(`argument ${k}`, arg, typeof inAxes === "number" ? inAxes : inAxes[k], (leaf, axis, where) => {
        if (axis === null) return leaf;
        const at = axis < 0 ? axis + leaf.rank : axis;
        check(at >= 0 && at < leaf.rank, "vmap", () => `${where} is ${leaf}, which has no axis ${axis}`);
        size ??= leaf.shape[at];
        check(
          size === leaf.shape[at],
          "vmap",
          () => `${where} is ${leaf}: ${leaf.shape[at]} examples along axis ${axis}, other arguments have ${size}`,
        );
        const shape = leaf.shape.filter((_, j) => j !== at);
        const example = new Tensor(shape, leaf.dtype, { kind: "placeholder" });
        first = Math.min(first, example.id);
        known.set(example, moveAxis(leaf, { source: at, destination: 0 }));
        return example;
      })
    );
    check(size !== null, "vmap", () => "no argument has a tensor to map over");
    const { result: out, prints } = collectPrints(() => callTraced("vmap", () => f(...(inside as A))));
    const leaves: unknown[] = tree.leaves<unknown>(out);
    for (const leaf of leaves) refusePromise("vmap", leaf);
    batch([...leaves.filter((t) => t instanceof Tensor), ...printed(prints)], known, size, first);
    addPrints(prints.map((print) => batchedPrint(print, known, size!)));
    return mapAxes("the result", out, outAxes, (t, axis, where) => {
      if (axis === null) {
        check(!known.has(t), "vmap", () => `outAxes is null for ${where}, which differs between the examples`);
        return t;
      }
      const result = known.get(t) ?? repeat(t, size!);
      const to = axis < 0 ? axis + result.rank : axis;
      check(to >= 0 && to < result.rank, "vmap", () => `outAxes ${axis} is no axis of ${where}, ${result}`);
      return moveAxis(result, { source: 0, destination: to });
    }) as R;
  };
}
