/** Lowers a graph to an ordered list of dispatches, each with the memory that it reads and writes. */
import { bytesOf, bytesPerElement, type DType } from "../core/dtype.ts";
import { VoxgradError } from "../core/errors.ts";
import { chunkElements, type Kernel, type Slot, type Target, type VariantChoice } from "../../shaders/types.ts";
import { bindingsOf, hasTooManyBindings } from "./emit/emitted.ts";
import { chooseInPlace, hoistUpdates } from "./fusion/hoist_updates.ts";
import { type Graph, type LoweredLoop, storageOf, type Value } from "./graph/lower.ts";
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

/** A carried value of a repetition. Its places `before` and `after` a pass are at other buffers in each. */
export interface Carry {
  readonly before: Place;
  readonly after: Place;
  readonly initial: Place;
  /** Where the last pass leaves it; others alternate between this and `spare`. */
  readonly result: Place;
  readonly spare: Place | null;
}

/** Steps that run several times, as the body of a loop. */
export interface Repetition {
  readonly count: number;
  readonly steps: readonly (Step | Repetition)[];
  readonly carries: readonly Carry[];
  /** Places whose values no pass leaves to the next. */
  readonly own: ReadonlySet<Place>;
}

export const isRepetition = (step: Step | Repetition): step is Repetition => "count" in step;

/** All steps in order, those of repetitions once. */
export const singleSteps = (steps: readonly (Step | Repetition)[]): Step[] =>
  steps.flatMap((step) => (isRepetition(step) ? singleSteps(step.steps) : [step]));

export interface Schedule {
  readonly steps: readonly (Step | Repetition)[];
  readonly places: readonly Place[];
  /** Memory of each output; outputs may share memory or be leaves. */
  readonly outputs: readonly Place[];
  /** Leaf memory that an output reuses, by leaf. */
  readonly inPlace: ReadonlyMap<number, Place>;
  /** The variant choices of kernels. */
  readonly choices: readonly VariantChoice[];
}

/** The places of a loop's step that lie outside of it: those of its leaves, and of the storages of its outputs. */
interface GivenPlaces {
  readonly leaves: readonly Place[];
  readonly outputs: ReadonlyMap<Value, Place>;
}

/**
 * Decides from the graph alone which values are materialized, which kernels are merged and in which order they run;
 * then emits each group once. Values keep the order of creation, which ends with the updates of a training step.
 */
export function schedule(
  graph: Graph,
  target: Target,
  donated: ReadonlySet<number> = new Set(),
  given: GivenPlaces | null = null,
): Schedule {
  const half = graph.values.find((v) => v.dtype === "f16");
  if (half && !target.features.has("shader-f16")) {
    throw new VoxgradError(
      `${half.op?.name ?? "tensor"}: dtype f16 needs the WebGPU feature shader-f16, which this adapter lacks; use f32`,
    );
  }
  const materialized = materialize(graph, target);
  const isFirst = (v: Value): boolean => v === v.loop?.of.results.find((x) => materialized.has(x) && x.size > 0);
  const order = graph.values.filter((v) => materialized.has(v) && v.size > 0 && (!v.loop || isFirst(v)));
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
  for (const v of graph.values) {
    if (v.leaf !== null) {
      placeOf.set(v, given ? given.leaves[v.leaf] : add(v.size, v.dtype, v.leaf, `argument ${v.leaf}`));
    }
  }
  const leafPlaces = new Map<number, Place>();
  for (const v of [...materialized].filter((v) => kept.has(v) || v.size === 0)) {
    const over = inPlace.get(v);
    if (over) leafPlaces.set(over.leaf!, placeOf.get(over)!);
    const place = over ? placeOf.get(over)! : given?.outputs.get(v);
    placeOf.set(v, place ?? add(v.size, v.dtype, null, labelOf(v)));
  }

  const bind = (place: Place, chunk?: number): Bound => {
    if (chunk === undefined) return { place, offset: 0, bytes: place.bytes };
    const width = chunkElements(target) * bytesPerElement(place.dtype);
    return { place, offset: chunk * width, bytes: Math.min(width, place.bytes - chunk * width) };
  };
  const steps: (Step | Repetition)[] = [];
  const choices: VariantChoice[] = [];
  for (const group of groups) {
    const { members, loop } = group;
    const [v] = members;
    if (loop) {
      const scheduled = repetition(loop, v.inputs.map((x) => placeOf.get(storageOf(x))!), placeOf, target);
      steps.push(scheduled.repetition);
      places.push(...scheduled.places);
      choices.push(...scheduled.choices);
      continue;
    }
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

const labelOf = (v: Value): string => `${v.op!.name} [${v.shape.join(", ")}]`;

/** The steps of a loop with inputs at `inputs` and results at their `placeOf`, and the places that only they use. */
function repetition(
  loop: LoweredLoop,
  inputs: readonly Place[],
  placeOf: ReadonlyMap<Value, Place>,
  target: Target,
): { repetition: Repetition; places: Place[]; choices: readonly VariantChoice[] } {
  const { length, step, results } = loop;
  const own: Place[] = [];
  /** A place that is at the buffer of another in each pass. */
  const moving = (v: Value): Place => ({
    dtype: v.dtype,
    bytes: bytesOf(v.size, v.dtype),
    leaf: null,
    label: labelOf(v),
  });
  const add = (v: Value): Place => {
    own.push(moving(v));
    return own.at(-1)!;
  };
  const storages = step.outputs.map(storageOf);
  const resultOf = (k: number): Place => {
    const found = results.find((v) => v.loop!.output === k);
    return (found && placeOf.get(found)) ?? add(storages[k]);
  };
  const carries = storages.slice(0, loop.carries).map((v, k): Carry => ({
    before: moving(v),
    after: moving(v),
    initial: inputs[k],
    result: resultOf(k),
    spare: length > 1 ? add(v) : null,
  }));
  const outputs = new Map(storages.map((v, k) => [v, carries[k]?.after ?? resultOf(k)]));
  const leaves = inputs.map((place, k) => carries[k]?.before ?? place);
  const inner = schedule(step, target, new Set(), { leaves, outputs });
  return {
    repetition: { count: length, steps: inner.steps, carries, own: new Set(inner.places) },
    places: [...own, ...inner.places],
    choices: inner.choices,
  };
}
