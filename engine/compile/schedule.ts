/** Lowers a graph to an ordered list of dispatches, each with the memory that it reads and writes. */
import { bytesOf, bytesPerElement, type DType } from "../core/dtype.ts";
import { VoxgradError } from "../core/errors.ts";
import { chunkElements, type Kernel, type Slot, type Target, type VariantChoice } from "../../shaders/types.ts";
import { bindingsOf, hasTooManyBindings } from "./emit/emitted.ts";
import { chooseInPlace, hoistUpdates } from "./fusion/hoist_updates.ts";
import { type Graph, storageOf, type Value } from "./graph/lower.ts";
import { materialize, tooManyBindings } from "./fusion/materialize.ts";
import { fuseEpilogues, mergeReductions, shareStatistics } from "./fusion/merge_kernels.ts";

/** A piece of memory of a program. */
export interface Place {
  readonly dtype: DType;
  readonly bytes: number;
  /** Index of the leaf that provides it; null otherwise. */
  readonly leaf: number | null;
  /** Its purpose, for messages. */
  readonly label: string;
}

/** A place, or a part of it, as a kernel binds it. */
export interface Bound {
  readonly place: Place;
  readonly offset: number;
  readonly bytes: number;
}

export interface Step {
  readonly kernel: Kernel;
  readonly reads: readonly Bound[];
  readonly writes: readonly Bound[];
  /** Between the variants of its operator, if there are several. */
  readonly choice?: VariantChoice | undefined;
}

export interface Schedule {
  readonly steps: readonly Step[];
  readonly places: readonly Place[];
  /** Memory of each output; outputs may share memory or be leaves. */
  readonly outputs: readonly Place[];
  /** Leaf memory that an output reuses, by leaf. */
  readonly inPlace: ReadonlyMap<number, Place>;
  /** The variant choices of kernels. */
  readonly choices: readonly VariantChoice[];
}

/**
 * Decides from the graph alone which values are materialized, which kernels are merged and in which order they run;
 * then emits each group once. Values keep the order of creation, which ends with the updates of a training step.
 */
export function schedule(graph: Graph, target: Target, donated: ReadonlySet<number> = new Set()): Schedule {
  const half = graph.values.find((v) => v.dtype === "f16");
  if (half && !target.features.has("shader-f16")) {
    throw new VoxgradError(
      `${half.op?.name ?? "tensor"}: dtype f16 needs the WebGPU feature shader-f16, which this adapter lacks; use f32`,
    );
  }
  const materialized = materialize(graph, target);
  const order = graph.values.filter((v) => materialized.has(v) && v.size > 0);
  const outputs = new Set(graph.outputs.map(storageOf));
  const merged = mergeReductions(order, materialized, target);
  const ended = fuseEpilogues(merged, outputs, materialized, target);
  const groups = hoistUpdates(shareStatistics(ended, materialized, target), outputs, donated);
  // Values read only by an epilogue have no memory.
  const kept = new Set(groups.flatMap((group) => group.members));
  const inPlace = chooseInPlace(graph, groups, donated);

  const places: Place[] = [];
  const placeOf = new Map<Value, Place>();
  const add = (elements: number, dtype: DType, leaf: number | null, label: string): Place => {
    const place: Place = { dtype, bytes: bytesOf(elements, dtype), leaf, label };
    places.push(place);
    return place;
  };
  for (const v of graph.values) if (v.leaf !== null) placeOf.set(v, add(v.size, v.dtype, v.leaf, `argument ${v.leaf}`));
  const leafPlaces = new Map<number, Place>();
  for (const v of [...materialized].filter((v) => kept.has(v) || v.size === 0)) {
    const over = inPlace.get(v);
    if (over) leafPlaces.set(over.leaf!, placeOf.get(over)!);
    placeOf.set(v, over ? placeOf.get(over)! : add(v.size, v.dtype, null, `${v.op!.name} [${v.shape.join(", ")}]`));
  }

  const bind = (place: Place, chunk?: number): Bound => {
    if (chunk === undefined) return { place, offset: 0, bytes: place.bytes };
    const width = chunkElements(target) * bytesPerElement(place.dtype);
    return { place, offset: chunk * width, bytes: Math.min(width, place.bytes - chunk * width) };
  };
  const steps: Step[] = [];
  const choices: VariantChoice[] = [];
  for (const group of groups) {
    const { members } = group;
    const [v] = members;
    const emitted = group.emit(inPlace.get(v) ?? null);
    if (hasTooManyBindings(emitted, target)) throw tooManyBindings(v, bindingsOf(emitted), target);
    if (emitted.choice) choices.push(emitted.choice);
    const { temps, dispatches, reads } = emitted;
    const scratch = temps.map((bytes) => add(bytes / 4, "u32", null, `partial results of ${v.op!.name}`));
    const resolve = (slot: Slot): Bound => {
      if ("temp" in slot) return bind(scratch[slot.temp]);
      return bind(placeOf.get("input" in slot ? reads[slot.input] : members[slot.output])!, slot.chunk);
    };
    for (const { kernel, reads: from, writes } of dispatches) {
      steps.push({ kernel, reads: from.map(resolve), writes: writes.map(resolve), choice: emitted.choice });
    }
  }
  return { steps, places, outputs: graph.outputs.map((v) => placeOf.get(storageOf(v))!), inPlace: leafPlaces, choices };
}
