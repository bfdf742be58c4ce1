/** Lowers tensors to a flat list of values: expands composites, merges equal values, removes no-op nodes. */
import type { DType } from "../../core/dtype.ts";
import { fail } from "../../core/errors.ts";
import type { Loop, LoopAttrs, Op } from "../../core/op.ts";
import { sameShape, type Shape } from "../../core/shape.ts";
import { ancestors, inputsOf, type Source, type Tensor, whyGone } from "../../core/tensor.ts";
import { chunkElements, type Target } from "../../../shaders/types.ts";
import { copyOf, needed } from "./loops.ts";
import { Twins } from "./twins.ts";

/** A value of a program: a leaf passed in from outside, or an operator on earlier values. */
export interface Value {
  /** Index in `Graph.values`; inputs precede their users. */
  readonly id: number;
  readonly shape: Shape;
  readonly dtype: DType;
  readonly size: number;
  readonly op: Op | null;
  readonly attrs: never;
  readonly inputs: readonly Value[];
  /** Index in `Graph.leaves`, for leaves. */
  readonly leaf: number | null;
  /** The value whose memory a view refers to; null if it is no view. */
  readonly viewed: Value | null;
  /** The loop that computes the value, and which of its outputs the value is. */
  readonly loop?: { readonly of: LoweredLoop; readonly output: number };
}

/** A loop as the program runs it. All its results have the same inputs. */
export interface LoweredLoop {
  readonly length: number;
  /** Its leaves are the carries, then the other inputs; its outputs the next carries, then the values it stores. */
  readonly step: Graph;
  readonly carries: number;
  /** Its results in the program. */
  readonly results: readonly Value[];
}

export interface Graph {
  readonly values: readonly Value[];
  readonly leaves: readonly Tensor[];
  readonly outputs: readonly Value[];
  /** Graphs with equal keys share a program. */
  readonly key: string;
}

export const isView = (value: Value): boolean => value.viewed !== null;

/** The value whose memory this one refers to: itself, unless it is a view. */
export const storageOf = (value: Value): Value => value.viewed ?? value;

const isBarrier = ({ op }: Value): boolean => op?.lowering.kind === "view" && op.lowering.barrier === true;

/** The nearest barrier below views: values computed from views of a barrier must not be merged either. */
function barrierOf(value: Value): Value {
  let v = value;
  while (isView(v) && !isBarrier(v)) v = v.inputs[0];
  return v;
}

function serialize(value: unknown): string {
  if (typeof value === "number") return Object.is(value, -0) ? "-0" : `${value}`;
  if (Array.isArray(value)) return `[${value.map(serialize)}]`;
  if (typeof value === "object" && value !== null) {
    let key = "{";
    for (const name in value) key += `${name}:${serialize((value as Record<string, unknown>)[name])},`;
    return `${key}}`;
  }
  return typeof value === "string" ? JSON.stringify(value) : `${value}`;
}

/** What `Graph.key` says of a value. */
function keyOf({ op, inputs, attrs, dtype, shape }: Value): string {
  const type = `${dtype}[${shape}]`;
  return op === null ? `leaf ${type}` : `${op.name} ${idsOf(inputs)} ${serialize(attrs)} ${type}`;
}

/** The loop that a tensor is a result of; null once it is evaluated. */
function loopOf({ source }: Tensor): Loop | null {
  return source.kind === "op" && source.op.lowering.kind === "loop" ? (source.attrs as LoopAttrs).loop : null;
}

/** Whether an output of a step has no memory of its own: it is a leaf, or shares that of another carry. */
const isShared = (v: Value, carries: readonly Value[]): boolean =>
  storageOf(v).leaf !== null || carries.filter((other) => storageOf(other) === storageOf(v)).length > 1;

const idsOf = (values: readonly Value[]): string => values.map((v) => v.id).join();

/**
 * The expansion of an operator: the operators of a composite; parts, if a tensor exceeds a binding (fused kernels use
 * chunks instead); or the decomposition. Null if the operator is kept.
 */
function expand(t: Tensor, op: Op, inputs: readonly Tensor[], attrs: never, target: Target): Tensor | null {
  const { lowering, split, decompose } = op;
  if (lowering.kind === "composite") return lowering.expand(inputs, attrs);
  const most = chunkElements(target);
  const large = (x: Tensor): boolean => x.size > most;
  // One binding is reserved for the result.
  const unbound = lowering.kind === "reduce" && inputs[0].size > most * (target.maxStorageBuffers - 1);
  if (
    split &&
    ((lowering.kind === "kernel" && [t, ...inputs].some(large)) || (lowering.kind === "reduce" && large(t)) || unbound)
  ) {
    return split(inputs, t, attrs, most, target.maxStorageBuffers);
  }
  return decompose ? decompose(inputs, t, attrs, target) : null;
}

/** Those of `order`, a topological order, that `outputs` depend on: of a loop, only what its needed results use. */
function liveIn(order: readonly Tensor[], outputs: readonly Tensor[]): Set<Tensor> {
  const live = new Set(outputs);
  if (!order.some(loopOf)) return new Set(order);
  for (let k = order.length - 1; k >= 0; k--) {
    const t = order[k];
    const loop = loopOf(t);
    if (!loop) {
      if (live.has(t)) { for (const x of inputsOf(t)) live.add(x); }
      continue;
    }
    // Results have consecutive ids: the first decides for all.
    if (k > 0 && loopOf(order[k - 1]) === loop) continue;
    const wanted = loop.results.flatMap((result, j) => live.has(result) && loopOf(result) === loop ? [j] : []);
    for (const x of needed(loop, new Set(wanted)).inputs) live.add(x);
  }
  return live;
}

/**
 * Builds the graph of `outputs`. `arguments_` come first among the leaves, in order, even if unused. For tensors in
 * `held` the values are taken from there, even if the tensors were disposed of or donated since; tensors in `instead`
 * are computed from others.
 */
export function lower(
  outputs: readonly Tensor[],
  target: Target,
  arguments_: readonly Tensor[] = [],
  held: ReadonlyMap<Tensor, Source> = new Map(),
  instead: ReadonlyMap<Tensor, Tensor> = new Map(),
): Graph {
  const values: Value[] = [];
  const leaves: Tensor[] = [];
  const known = new Map<Tensor, Value>();
  const twins = new Twins<Value>();

  const valueOf = (
    { shape, dtype, size }: Tensor,
    op: Op | null,
    attrs: never,
    inputs: readonly Value[],
    leaf: number | null,
  ): Value => ({
    id: values.length,
    shape,
    dtype,
    size,
    op,
    attrs,
    inputs,
    leaf,
    viewed: op?.lowering.kind === "view" ? storageOf(inputs[0]) : null,
  });
  const add = (value: Value): Value => {
    values.push(value);
    return value;
  };
  const addLeaf = (t: Tensor): Value => {
    leaves.push(t);
    return add(valueOf(t, null, null as never, [], leaves.length - 1));
  };
  const addOp = (t: Tensor, op: Op, attrs: never, inputs: readonly Value[]): Value => {
    if (op.lowering.kind === "view") {
      if (op.lowering.barrier) return add(valueOf(t, op, attrs, inputs, null));
      const source = barrierOf(inputs[0]);
      if (sameShape(source.shape, t.shape)) return source;
      inputs = [source];
    }
    const value = valueOf(t, op, attrs, inputs, null);
    const first = twins.firstOf(value);
    return first === value ? add(value) : first;
  };
  /** Adds the values of those results of a loop that are among `tensors`. */
  const addLoop = (loop: Loop, tensors: readonly Tensor[]): void => {
    const found = needed(loop, new Set(tensors.map((t) => loop.results.indexOf(t))));
    visit(found.inputs);
    const stepOf = (results: readonly Tensor[]): Graph => lower(results, target, found.leaves, held, found.instead);
    let step = stepOf(found.outputs);
    const next = step.outputs.slice(0, found.carries);
    if (next.some((v) => isShared(v, next))) {
      step = stepOf(found.outputs.map((t, k) => k < next.length && isShared(next[k], next) ? copyOf(t, k) : t));
    }
    const stranger = step.leaves[found.leaves.length];
    if (stranger) {
      fail(
        "scan",
        `its function uses ${stranger}, an argument of another function that has ended; pass it as an input`,
      );
    }
    const results: Value[] = [];
    const of: LoweredLoop = { length: loop.length, step, carries: found.carries, results };
    const inputs = found.inputs.map((t) => known.get(t)!);
    const { key } = step;
    for (const t of tensors) {
      const output = found.places.get(loop.results.indexOf(t))!;
      const attrs = { length: loop.length, output, step: key } as never;
      const value = { ...valueOf(t, (t.source as { op: Op }).op, attrs, inputs, null), loop: { of, output } };
      const first = twins.firstOf(value);
      known.set(t, first === value ? add(value) : first);
      if (first === value) results.push(value);
    }
  };
  const visit = (tensors: readonly Tensor[]): void => {
    const order = ancestors(tensors, (t) => known.has(t) ? null : instead.has(t) ? [] : inputsOf(t));
    const live = liveIn(order, tensors);
    for (const t of order) {
      if (!live.has(t) || known.has(t)) continue;
      const { source } = t;
      const loop = loopOf(t);
      if (loop) {
        addLoop(loop, loop.results.filter((result) => live.has(result) && loopOf(result) === loop));
        continue;
      }
      const replaced = instead.get(t);
      if (replaced) {
        visit([replaced]);
        known.set(t, known.get(replaced)!);
        continue;
      }
      const why = held.has(t) ? null : whyGone(t);
      if (why) fail("evaluate", `${t} ${why}`);
      if (source.kind !== "op") {
        known.set(t, addLeaf(t));
        continue;
      }
      const expansion = expand(t, source.op, source.inputs, source.attrs, target);
      if (expansion) {
        visit([expansion]);
        known.set(t, known.get(expansion)!);
      } else {
        known.set(
          t,
          addOp(
            t,
            source.op,
            source.attrs,
            source.inputs.map((x) => known.get(x)!),
          ),
        );
      }
    }
  };

  for (const t of arguments_) if (!known.has(t)) known.set(t, addLeaf(t));
  visit(outputs);
  const results = outputs.map((t) => known.get(t)!);
  return {
    values,
    leaves,
    outputs: results,
    get key() {
      return `${values.map(keyOf).join("\n")}\n-> ${idsOf(results)}`;
    },
  };
}
