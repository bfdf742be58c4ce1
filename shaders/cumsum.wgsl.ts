/** Cumulative sums along the middle axis of [outer, length, inner]. */
import { wgsl } from "wgsl-preprocessor/wgsl-preprocessor.js";
import { fold } from "./map.wgsl.ts";
import type { Dispatch, Lowered, Slot, Target } from "./types.ts";

export interface CumsumParams {
  readonly outer: number;
  readonly length: number;
  readonly inner: number;
  readonly type: "f32" | "i32" | "u32";
  /** Sum from the end. */
  readonly reverse: boolean;
}

const WORKGROUP = 64;
/** Lines up to this length are summed by one invocation each. */
const SHORT = 64;

/**
 * Reads x, writes the sums. Long lines are split into blocks: sums of blocks, prefix sums of those, then each block.
 */
export function lowerCumsum(p: CumsumParams, target: Target): Lowered {
  const { length, inner, type } = p;
  const lines = p.outer * inner;
  const block = length <= SHORT ? length : Math.ceil(Math.sqrt(length));
  const blocks = Math.ceil(length / block);

  /**
   * A kernel with one invocation for each of `parts` of every line: `line`, `part` and the offset `first` of the
   * line's first value.
   */
  const pass = (
    name: string,
    parts: number,
    reads: readonly Slot[],
    writes: readonly Slot[],
    body: string,
  ): Dispatch => {
    const { workgroups, row } = fold(lines * parts, WORKGROUP, target);
    const variables = [...reads, ...writes].map(
      (_, k) =>
        `@group(0) @binding(${k}) var<storage, ${k < reads.length ? "read" : "read_write"}> b${k}: array<${type}>;`,
    );
    const source = (): string =>
      wgsl`
${variables.join("\n")}

/** The offset of the k-th value in summation order. */
fn at(first: u32, k: u32) -> u32 {
  return first + ${p.reverse ? `(${length - 1}u - k)` : "k"} * ${inner}u;
}

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x + id.y * ${row}u;
  if (i >= ${lines * parts}u) {
    return;
  }
  let line = i % ${lines}u;
  let part = i / ${lines}u;
  let first = line / ${inner}u * ${length * inner}u + line % ${inner}u;
  let start = part * ${block}u;
  let end = min(start + ${block}u, ${length}u);
  ${body}
}
`;
    const flops = type === "f32" ? lines * length : 0;
    return { kernel: { name: `cumsum.${name}`, source, workgroups, flops }, reads, writes };
  };

  const input = { input: 0 };
  const run = (zero: string, to: string): string =>
    `var total = ${zero};
  for (var k = start; k < end; k++) {
    let place = at(first, k);
    total += b0[place];
    ${to}[place] = total;
  }`;
  if (blocks === 1) {
    return { temps: [], dispatches: [pass("line", 1, [input], [{ output: 0 }], run(`${type}(0)`, "b1"))] };
  }
  const [sums, before] = [{ temp: 0 }, { temp: 1 }];
  const add = `var total = ${type}(0);
  for (var k = start; k < end; k++) { total += b0[at(first, k)]; }
  b1[i] = total;`;
  const scan = `var total = ${type}(0);
  for (var k = 0u; k < ${blocks}u; k++) {
    b1[k * ${lines}u + line] = total;
    total += b0[k * ${lines}u + line];
  }`;
  return {
    temps: [4 * lines * blocks, 4 * lines * blocks],
    dispatches: [
      pass("blocks", blocks, [input], [sums], add),
      pass("before", 1, [sums], [before], scan),
      pass("values", blocks, [input, before], [{ output: 0 }], run("b1[i]", "b2")),
    ],
  };
}
