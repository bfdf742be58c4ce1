/**
 * Reductions as trees: every invocation reduces a part of its row in blocks, further passes reduce the parts. The order is
 * fixed by the sizes alone, and no partial sum has more than a few hundred terms.
 */
import { wgsl } from "wgsl-preprocessor/wgsl-preprocessor.js";
import { bindings, fold } from "./map.wgsl.ts";
import type { Kernel, Slot, Target } from "./types.ts";

type By = "sum" | "max" | "min" | "argmax";

export interface ReduceParams {
  readonly name: string;
  readonly library: string;
  readonly reads: readonly string[];
  readonly by: By;
  readonly type: "f32" | "i32" | "u32";
  /** Rows, one result each. */
  readonly outputs: number;
  /** Terms of a row. */
  readonly length: number;
  /** The last axis falls: neighbouring terms lie side by side. */
  readonly contiguous: boolean;
  /** Statements from `o` (row) alone, from `r` (term), and the term's value. */
  readonly before: readonly string[];
  readonly body: readonly string[];
  readonly value: string;
}

interface Pass {
  readonly kernel: Kernel;
  readonly from: "inputs" | readonly Slot[];
  readonly to: readonly Slot[];
}

const WORKGROUP = 64;
/** Terms that one accumulator takes before it is added to the invocation's total. */
const BLOCK = 16;
/** Most terms of one invocation. */
const MOST = 256;
/** Parts that one invocation may join in the last pass. */
const SHORT = 512;

/** Parts of a row, each for one invocation; one where a row is short. */
function parts(outputs: number, length: number, first: boolean, target: Target): number {
  if (length <= (first ? 32 : SHORT)) return 1;
  const wanted = target.software ? 4096 : 65536;
  // Where it can be, so few parts that one more pass ends it.
  const terms = Math.min(MOST, Math.max(BLOCK, Math.ceil((outputs * length) / wanted), Math.ceil(length / SHORT)));
  return Math.ceil(length / terms);
}

/** Passes over the data, and the bytes of the partial results between them. */
export function reduceKernels(p: ReduceParams, target: Target): { kernels: readonly Pass[]; temps: readonly number[] } {
  const kernels: Pass[] = [];
  const temps: number[] = [];
  const pair = p.by === "argmax";
  const source: { from: Pass["from"]; length: number } = { from: "inputs", length: p.length };
  for (;;) {
    const first = source.from === "inputs";
    const split = parts(p.outputs, source.length, first, target);
    const last = split === 1;
    const to: Slot[] = last ? [{ output: 0 }] : [{ temp: temps.length }];
    if (!last) {
      temps.push(4 * p.outputs * split);
      if (pair) {
        to.push({ temp: temps.length });
        temps.push(4 * p.outputs * split);
      }
    }
    const kernel = pass(
      {
        ...p,
        length: source.length,
        ...(first ? {} : later(p, source.length)),
        by: p.by,
      },
      split,
      first,
      last,
      target,
    );
    kernels.push({ kernel, from: source.from, to });
    if (last) return { kernels, temps };
    source.from = to;
    source.length = split;
  }
}

/** A pass over partial results, which lie as the pass before wrote them. */
function later(p: ReduceParams, length: number): Partial<ReduceParams> {
  const at = p.contiguous ? `o * ${length}u + r` : `r * ${p.outputs}u + o`;
  return {
    name: `${p.name}.partial`,
    library: "",
    reads: p.by === "argmax" ? [p.type, "i32"] : [p.type],
    before: [],
    body: [`let at = ${at};`, ...(p.by === "argmax" ? ["let place = b1[at];"] : [])],
    value: "b0[at]",
  };
}

function pass(p: ReduceParams, split: number, first: boolean, last: boolean, target: Target): Kernel {
  const count = p.outputs * split;
  const { workgroups, row } = fold(count, WORKGROUP, target);
  const sum = p.by === "sum";
  const pair = p.by === "argmax";
  const result = pair && last ? "i32" : p.type;
  const zero = p.type === "f32" ? "0f" : p.type === "i32" ? "0i" : "0u";
  // Neighbouring invocations read neighbouring elements.
  const rowOf = split === 1 ? "i" : p.contiguous ? `i / ${split}u` : `i % ${p.outputs}u`;
  const partOf = split === 1 ? "0u" : p.contiguous ? `i % ${split}u` : `i / ${p.outputs}u`;
  const better = p.by === "min" ? "term < best" : "term > best";
  const text = wgsl`${p.library}
${bindings(p.reads)}
@group(0) @binding(${p.reads.length}) var<storage, read_write> result: array<${result}>;
#if ${pair && !last}
@group(0) @binding(${p.reads.length + 1}) var<storage, read_write> places: array<i32>;
#endif

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x + id.y * ${row}u;
  if (i >= ${count}u) {
    return;
  }
  let o = ${rowOf};
  let part = ${partOf};
${p.before.join("\n")}
#if ${sum}
  var total = ${zero};
  for (var start = part; start < ${p.length}u; start += ${BLOCK * split}u) {
    var block = ${zero};
    for (var r = start; r < min(start + ${BLOCK * split}u, ${p.length}u); r += ${split}u) {
${p.body.join("\n")}
      block += ${p.value};
    }
    total += block;
  }
  result[i] = total;
#else
  var best = ${zero};
  var bestPlace = -1i;
  for (var r = part; r < ${p.length}u; r += ${split}u) {
${p.body.join("\n")}
    let term = ${p.value};
#if ${pair && !first}
    let where_ = place;
#else
    let where_ = i32(r);
#endif
    if ((bestPlace < 0i) | (${better}) | ((term == best) & (where_ < bestPlace))) {
      best = term;
      bestPlace = where_;
    }
  }
#if ${pair && last}
  result[i] = bestPlace;
#else
  result[i] = best;
#endif
#if ${pair && !last}
  places[i] = bestPlace;
#endif
#endif
}
`;
  return { name: p.name, source: text, workgroups };
}
