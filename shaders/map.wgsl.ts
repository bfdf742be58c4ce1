/** Kernel of a fused elementwise chain. */
import { wgsl } from "wgsl-preprocessor/wgsl-preprocessor.js";
import { declarationsSource } from "./library.ts";
import { sizedKernel, sizesOf } from "./sizes.ts";
import type { Declarations, Kernel, Numbers, Target } from "./types.ts";

export interface MapParams {
  readonly name: string;
  /** Element types of the bindings b0, b1, ... */
  readonly reads: readonly string[];
  readonly result: string;
  /** The result is `rows` rows of `length` elements. */
  readonly rows: number;
  readonly length: number;
  /** Rows per invocation: `o`, or if there are several `o_0`, `o_1`, ... */
  readonly rowsTogether: number;
  /** The first element to write, stored at the start of `result`; `length` is the end. One row only. */
  readonly from?: number;
  /** Floating-point operations per element. */
  readonly operations: number;
  readonly code: () => {
    readonly declarations: Declarations;
    /** Statements that depend only on the row. */
    readonly before: string;
    /** Statements from the row and its element `k` to the store into `result`. */
    readonly body: string;
    readonly numbers: Numbers;
  };
}

const WORKGROUP = 64;

/** Folds a line of invocations into as many rows as the workgroup limit requires. */
export function fold(
  count: number,
  workgroup: number,
  target: Target,
): { workgroups: readonly [number, number, number]; row: number } {
  const groups = Math.max(1, Math.ceil(count / workgroup));
  const x = Math.min(groups, target.maxWorkgroupsPerDimension);
  // Also where there is one row: both then share a pipeline.
  return { workgroups: [x, Math.ceil(groups / x), 1], row: target.maxWorkgroupsPerDimension * workgroup };
}

export const bindings = (reads: readonly string[]): string =>
  reads.map((type, k) => `@group(0) @binding(${k}) var<storage, read> b${k}: array<${type}>;`).join("\n");

/**
 * Elements per invocation: on a CPU an invocation costs about as much as an element, so each computes several if that
 * still occupies all threads.
 */
const elementsPerInvocation = (p: MapParams, target: Target): number =>
  target.software && p.rows * p.length >= 16384 ? Math.max(1, Math.min(8, Math.floor(p.length / WORKGROUP))) : 1;

const rowNames = (together: number): string =>
  together === 1
    ? "  let o = group.y;"
    : Array.from({ length: together }, (_, t) => `  let o_${t} = group.y * ${together}u + ${t}u;`).join("\n");

export function mapKernel(p: MapParams, target: Target): Kernel {
  const each = elementsPerInvocation(p, target);
  const single = p.rows === 1;
  const { from = 0 } = p;
  const { workgroups } = fold(Math.ceil((p.length - from) / each), WORKGROUP, target);
  // A single row ends at arrayLength, so that chains of any size share a pipeline; compilation dominates.
  const length = single && p.from === undefined ? "arrayLength(&result)" : "last";
  // Elements of a workgroup are contiguous; those of an invocation are a workgroup's width apart.
  const make = (): { source: string; sizes: readonly number[] } => {
    const { declarations, before, body, numbers } = p.code();
    const own = {
      span: WORKGROUP * each,
      ...(length === "last" ? { last: p.length } : {}),
      ...(p.from === undefined ? {} : { begin: from }),
    };
    const sizes = sizesOf({ ...own, ...numbers.unsigned }, {}, numbers.floats);
    const source = wgsl`${declarationsSource([declarations])}
${bindings(p.reads)}
@group(0) @binding(${p.reads.length}) var<storage, read_write> result: array<${p.result}>;
${sizes.declaration(p.reads.length + 1)}

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
${sizes.lets}
#if ${single}
  let first = (group.x + group.y * ${target.maxWorkgroupsPerDimension}u) * span + lane${
      p.from === undefined ? "" : " + begin"
    };
#else
  let first = group.x * span + lane;
${rowNames(p.rowsTogether)}
#endif
${before}
  for (var k = first; k < min(first + span, ${length}); k += ${WORKGROUP}u) {
${body}
  }
}
`;
    return { source, sizes: sizes.values };
  };
  const flops = p.operations * (p.rows * p.length - from);
  const grid = single ? workgroups : [workgroups[0], p.rows / p.rowsTogether, 1] as const;
  return sizedKernel({ name: p.name, flops, workgroups: grid }, make);
}
