/** Runs lowered operators and whole graphs by the machine. */
import type { Tensor } from "../../../engine/mod.ts";
import { lower } from "../../../engine/compile/graph/lower.ts";
import { type Bound, isRepetition, type Place, schedule } from "../../../engine/compile/schedule.ts";
import type { Lowered, Slot, Target } from "../../../shaders/types.ts";
import { runKernel, type RunOptions } from "./machine.ts";

type Bytes = Uint8Array<ArrayBuffer>;
export type Numbers = Float32Array | Int32Array | Uint32Array | Uint16Array | Uint8Array;

/** A program and what it reads. */
export interface Case {
  readonly name: string;
  readonly lowered: Lowered;
  readonly inputs: readonly Numbers[];
  /** Bytes of the output slots. */
  readonly outputs: readonly number[];
  /** Where the results are; default: in the outputs. */
  readonly results?: readonly Slot[];
  /** Lanes of a subgroup to run it with; default 32. */
  readonly widths?: readonly number[];
  /** Throws unless the results are right. */
  readonly check?: (results: readonly Bytes[]) => void;
}

/** Bits of NaN, as a program may find memory. */
const poison = (bytes: number): Bytes => new Uint8Array(Math.ceil(bytes / 4) * 4).fill(0xff);

function bytesOf(numbers: Numbers): Bytes {
  const bytes = new Uint8Array(Math.ceil(numbers.byteLength / 4) * 4);
  bytes.set(new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength));
  return bytes;
}

/** Runs the kernels of a case and gives its results; `change` edits their sources. */
export function runCase(
  { lowered, inputs, outputs: sizes, results }: Case,
  options: RunOptions = {},
  change: (source: string) => string = (source) => source,
): Bytes[] {
  const given = inputs.map(bytesOf);
  const outputs = sizes.map(poison);
  const temps = lowered.temps.map(poison);
  const buffer = (slot: Slot): Bytes =>
    "input" in slot ? given[slot.input] : "temp" in slot ? temps[slot.temp] : outputs[slot.output];
  for (const { kernel, reads, writes } of lowered.dispatches) {
    const bound = [...reads, ...writes].map(buffer);
    if (kernel.sizes?.length) {
      const sizes = new Uint32Array(Math.ceil(kernel.sizes.length / 4) * 4);
      sizes.set(kernel.sizes);
      bound.push(bytesOf(sizes));
    }
    runKernel(change(kernel.source()), kernel.workgroups, bound, options);
  }
  return (results ?? sizes.map((_, output): Slot => ({ output }))).map((slot) => buffer(slot).slice());
}

/** The program that computes tensors from numbers. */
export function caseOf(name: string, results: readonly Tensor[], target: Target): Case {
  const graph = lower(results, target);
  const { steps, places, outputs } = schedule(graph, target);
  const once = steps.map((step) => {
    if (isRepetition(step)) throw new Error(`${name}: a loop is not run here`);
    return step;
  });
  const made = [...new Set(outputs.filter((place) => place.leaf === null))];
  const temps = places.filter((place) => place.leaf === null && !made.includes(place));
  const slotOf = (place: Place): Slot =>
    place.leaf !== null
      ? { input: place.leaf }
      : made.includes(place)
      ? { output: made.indexOf(place) }
      : { temp: temps.indexOf(place) };
  const whole = ({ place, offset, bytes }: Bound): Slot => {
    if (offset === 0 && bytes === place.bytes) return slotOf(place);
    throw new Error(`${name}: ${place.label} is bound in parts`);
  };
  const inputs = graph.leaves.map(({ source }) => {
    if (source.kind !== "host") throw new Error(`${name}: reads a tensor that holds no numbers`);
    return source.data as Numbers;
  });
  return {
    name,
    lowered: {
      temps: temps.map(({ bytes }) => bytes),
      dispatches: once.map(({ kernel, reads, writes }) => ({
        kernel,
        reads: reads.map(whole),
        writes: writes.map(whole),
      })),
    },
    inputs,
    outputs: made.map(({ bytes }) => bytes),
    results: outputs.map(slotOf),
  };
}
