/** vmap: applies a per-example function to a batch. */
import { check, checkFunction, checkOptions, fail, show } from "../core/errors.ts";
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

/**
 * Batches f: arguments have one more axis, f sees one example, and its results are stacked along a new axis.
 * Operators run batched, not in a loop. Composes with grad, jvp, hvp, checkpoint, compile and itself.
 *
 * @param options.inAxes the batch axis of all arguments (default: 0), or one entry per argument: an axis, or null for
 *   an argument shared by all examples. It applies to all tensors of an argument's tree.
 * @param options.outAxis the batch axis of the results (default: 0)
 * @throws VoxgradError at the call, for batches of different sizes, and for operators that cannot be batched
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
  options: { inAxes?: number | readonly (number | null)[]; outAxis?: number } = {},
): (...args: A) => R {
  checkFunction("vmap", "the first argument", f);
  checkOptions("vmap", options, ["inAxes", "outAxis"]);
  const { inAxes = 0, outAxis = 0 } = options;
  const whole = (axis: unknown): boolean => Number.isInteger(axis);
  check(
    whole(inAxes) || (Array.isArray(inAxes) && inAxes.every((axis) => axis === null || whole(axis))),
    "vmap",
    () => `inAxes is an axis or one axis or null an argument, got ${show(inAxes)}`,
  );
  check(whole(outAxis), "vmap", () => `outAxis is an axis, got ${show(outAxis)}`);
  return (...args) => {
    check(
      !Array.isArray(inAxes) || inAxes.length === args.length,
      "vmap",
      () => `inAxes has ${(inAxes as readonly unknown[]).length} entries for ${args.length} arguments`,
    );
    const known: Batches = new Map();
    let size: number | null = null;
    let first = Infinity;
    const inside = args.map((arg, k) => {
      const axis = typeof inAxes === "number" ? inAxes : inAxes[k];
      if (axis === null) return arg;
      return tree.map(arg, (leaf, path) => {
        if (!(leaf instanceof Tensor)) return leaf;
        const where = `argument ${k}${path && `, ${path}`}`;
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
      });
    });
    check(size !== null, "vmap", () => "no argument has a tensor to map over");
    const out = callTraced("vmap", () => f(...(inside as A)));
    const leaves: unknown[] = tree.leaves<unknown>(out);
    for (const leaf of leaves) refusePromise("vmap", leaf);
    batch(leaves.filter((t) => t instanceof Tensor), known, size, first);
    return tree.map<unknown, unknown>(out, (t) => {
      if (!(t instanceof Tensor)) return t;
      const result = known.get(t) ?? repeat(t, size!);
      const to = outAxis < 0 ? outAxis + result.rank : outAxis;
      check(to >= 0 && to < result.rank, "vmap", () => `outAxis ${outAxis} is no axis of a result ${result}`);
      return moveAxis(result, { source: 0, destination: to });
    }) as R;
  };
}
