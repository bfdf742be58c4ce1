/** Writes a tensor as one slice of a larger one, at an index that a buffer holds. */
import { wgsl } from "wgsl-preprocessor/wgsl-preprocessor.js";
import { fold } from "./map.wgsl.ts";
import { operands } from "./operands.ts";
import { chunkElements, type Dispatch, type Fusion, type Lowered, type Slot, type Target } from "./types.ts";

export interface StoreParams {
  /** Elements of a slice, and the number of slices. */
  readonly count: number;
  readonly length: number;
  /** Storage type of the elements. */
  readonly type: string;
}

const WORKGROUP = 64;

/** Elements from..to of a slice or of the result, in their chunk; a null chunk is the whole. */
interface Range {
  readonly chunk: number | null;
  readonly from: number;
  readonly to: number;
}

function rangesOf(elements: number, most: number): Range[] {
  if (elements <= most) return [{ chunk: null, from: 0, to: elements }];
  return Array.from({ length: Math.ceil(elements / most) }, (_, chunk) => {
    return { chunk, from: chunk * most, to: Math.min(elements, (chunk + 1) * most) };
  });
}

const slot = <T extends Slot>(of: T, { chunk }: Range): T => (chunk === null ? of : { ...of, chunk });

/** Input 0 is the slice, input 1 the index (one i32); output 0 keeps its other slices. */
export function lowerStore(p: StoreParams, target: Target, fusion: Fusion | null): Lowered {
  const most = chunkElements(target);
  const outputs = rangesOf(p.count * p.length, most);
  return {
    temps: [],
    dispatches: rangesOf(p.count, most).flatMap((input) =>
      outputs.map((output) => storeDispatch(p, input, output, target, fusion))
    ),
  };
}

function storeDispatch(p: StoreParams, input: Range, output: Range, target: Target, fusion: Fusion | null): Dispatch {
  const { count, type } = p;
  const whole = input.chunk === null && output.chunk === null;
  const o = operands(
    [
      { name: "values", type, slot: slot({ input: 0 }, input) },
      { name: "index", type: "i32", slot: { input: 1 } },
    ],
    { name: "result", type, slot: slot({ output: 0 }, output) },
    fusion,
  );
  // The size of a plain slice is that of its binding, so that all sizes share a pipeline.
  const size = whole && !fusion && type !== "f16" ? "arrayLength(&values)" : `${count}u`;
  const each = target.software && input.to - input.from >= 16384 ? 8 : 1;
  const { workgroups } = fold(Math.ceil((input.to - input.from) / each), WORKGROUP, target);
  const source = (): string =>
    wgsl`${o.enable}
${o.declarations()}

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let size = ${size};
  let first = (group.x + group.y * ${target.maxWorkgroupsPerDimension}u) * ${WORKGROUP * each}u + lane;
  let start = u32(index[0]) * size;
  for (var k = first; k < min(first + ${WORKGROUP * each}u, ${
      whole ? "size" : `${input.to - input.from}u`
    }); k += ${WORKGROUP}u) {
    let at = start + k${input.from > 0 ? ` + ${input.from}u` : ""};
#if ${whole}
    ${o.store("at", o.load("values", "k"))}
#else
    if (at >= ${output.from}u && at < ${output.to}u) {
      ${o.store(`at - ${output.from}u`, o.load("values", "k"))}
    }
#endif
  }
}
`;
  const name = `${o.prefix}scan.store${o.suffix}`;
  return { kernel: { name, source, workgroups }, reads: o.reads, writes: [slot({ output: 0 }, output)] };
}
