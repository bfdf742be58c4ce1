/** Groups of values computed by one sequence of kernels, described by the graph alone until they are emitted. */
import type { ReduceAttrs } from "../../core/op.ts";
import { sameShape } from "../../core/shape.ts";
import { chunkElements, type Target } from "../../../shaders/types.ts";
import { coneFrom, coneOf, coneOfAll, type Materialized, movedReads } from "../graph/cone.ts";
import { type Emitted, hasTooManyBindings } from "../emit/emitted.ts";
import { emitKernel, type KernelOptions } from "../emit/kernel.ts";
import { emitMap } from "../emit/map.ts";
import { emitReduce } from "../emit/reduce.ts";
import { type LoweredLoop, storageOf, type Value } from "../graph/lower.ts";

export interface KernelGroup {
  /** The values that it writes. */
  readonly members: readonly Value[];
  /** Values read from memory. */
  readonly reads: readonly Value[];
  /** For one elementwise member: reads at exactly the index being written, whose memory the result may reuse. */
  aligned(): readonly Value[];
  readonly mayOverwrite: boolean;
  /** For a kernel operator: the operator, and what is fused into its kernel. */
  readonly kernel: { readonly value: Value; readonly options: KernelOptions } | null;
  /** For the results of a loop: the loop, which is scheduled on its own. */
  readonly loop?: LoweredLoop;
  /** Emits the kernels; with `alias` the result overwrites that value. */
  emit(alias: Value | null): Emitted;
}

/** Those of `reads` that have the layout of v and are read at exactly its index. */
function alignedReads(v: Value, reads: readonly Value[], materialized: Materialized): Value[] {
  const moved = movedReads(v, materialized);
  return reads.filter((x) => x.size === v.size && x.dtype === v.dtype && !moved.has(x));
}

/** The kernel of an elementwise or movement value. */
function mapGroup(v: Value, materialized: Materialized, target: Target): KernelGroup {
  const { reads } = coneOf(v, materialized);
  return {
    members: [v],
    reads,
    aligned: () => alignedReads(v, reads, materialized),
    mayOverwrite: true,
    kernel: null,
    emit: (alias) => emitMap(v, materialized, target, alias),
  };
}

/** The kernels of reductions over the same rows. */
export const reduceGroup = (members: readonly Value[], materialized: Materialized, target: Target): KernelGroup => ({
  members,
  reads: coneOfAll(members, materialized).reads,
  aligned: () => [],
  mayOverwrite: false,
  kernel: null,
  emit: () => emitReduce(members, materialized, target),
});

/** The kernels of a sum that store `epilogue`, an elementwise function of it, in its place. */
export function epilogueGroup(sum: Value, epilogue: Value, materialized: Materialized, target: Target): KernelGroup {
  const summed = coneOf(sum, materialized).reads;
  const own = coneOf(epilogue, materialized).reads.filter((x) => x !== sum);
  return {
    members: [epilogue],
    reads: [...new Set([...summed, ...own])],
    aligned: () => alignedReads(epilogue, own.filter((x) => !summed.includes(x)), materialized),
    mayOverwrite: true,
    kernel: null,
    emit: (alias) => emitReduce([sum], materialized, target, { epilogue, alias }),
  };
}

/** The kernels of a kernel operator; null if what the options ask for cannot be fused. */
export function kernelGroup(
  value: Value,
  options: KernelOptions,
  materialized: Materialized,
  target: Target,
): KernelGroup | null {
  const { epilogue = null, statistics = null } = options;
  const emit = (): Emitted | null => emitKernel(value, materialized, target, options);
  // Whether it can be fused depends on the variant, so the kernels are emitted now.
  let emitted = epilogue || statistics ? emit() : null;
  if ((epilogue || statistics) && !emitted) return null;
  const prologues = value.inputs.map(storageOf).flatMap((x) =>
    x.leaf === null && !materialized.has(x) ? coneFrom([x], materialized).reads : []
  );
  const reads = emitted?.reads ?? [...value.inputs.map(storageOf), ...prologues];
  return {
    members: [epilogue ?? value, ...(statistics ? [statistics] : [])],
    reads,
    aligned: () => [],
    mayOverwrite: false,
    kernel: { value, options },
    emit: () => (emitted ??= emit()!),
  };
}

/**
 * Whether a kernel of the group binds more buffers than the adapter allows. Sums are emitted to count them only if the
 * graph alone cannot tell: a pass binds each read at most twice, for the sum and for its epilogue, and for each member
 * partial sums and a result.
 */
export function bindsTooMany({ members, reads, kernel, emit }: KernelGroup, target: Target): boolean {
  const chunks = reads.reduce((sum, x) => sum + Math.max(1, Math.ceil(x.size / chunkElements(target))), 0);
  const most = 2 * chunks + 2 * members.length;
  return (kernel !== null || most > target.maxStorageBuffers) && hasTooManyBindings(emit(null), target);
}

/** The loop that gives v and other results. */
const loopGroup = (v: Value, materialized: Materialized): KernelGroup => ({
  members: v.loop!.of.results.filter((result) => materialized.has(result)),
  reads: [...new Set(v.inputs.map(storageOf))],
  aligned: () => [],
  mayOverwrite: false,
  kernel: null,
  loop: v.loop!.of,
  emit: () => {
    throw new Error("a loop is scheduled, not emitted");
  },
});

/** The kernels of a materialized value. */
export function groupOf(v: Value, materialized: Materialized, target: Target): KernelGroup {
  switch (v.op!.lowering.kind) {
    case "map":
      return mapGroup(v, materialized, target);
    case "reduce":
      return reduceGroup([v], materialized, target);
    case "loop":
      return loopGroup(v, materialized);
    default:
      return kernelGroup(v, {}, materialized, target)!;
  }
}

const isSum = (v: Value): boolean => v.op!.lowering.kind === "reduce" && (v.attrs as ReduceAttrs).by === "sum";

/** Whether v is a sum that may share its kernel: with another over the same rows, or with an epilogue. */
export const isShareable = (v: Value, target: Target): boolean => isSum(v) && v.inputs[0].size <= chunkElements(target);

/** Whether two shareable sums can share a loop. */
export function haveSameRows(v: Value, w: Value): boolean {
  const [a, b] = [v.inputs[0], w.inputs[0]];
  const axesOf = ({ attrs }: Value): readonly number[] => (attrs as ReduceAttrs).axes;
  return a.dtype === b.dtype && sameShape(a.shape, b.shape) && sameShape(axesOf(v), axesOf(w));
}
