/** Sums of values by index, without atomics and in a fixed order, and the scatter of values to different places. */
import { wgsl } from "wgsl-preprocessor/wgsl-preprocessor.js";
import type { Dispatch, Lowered, Slot, Target } from "../types.ts";
import { addRange, levelsOf, RUN } from "./runs.ts";
import { type Ordered, step } from "./step.wgsl.ts";

export interface SumParams {
  readonly outer: number;
  /** Values along the axis. */
  readonly count: number;
  readonly inner: number;
  /** Places along the axis of the result. */
  readonly length: number;
  /** All lines have the same indices; otherwise inner is 1. */
  readonly shared: boolean;
  readonly type: Ordered;
}

/**
 * Reads values [outer, count, inner], the order of their indices [outer or 1, count], and where each place starts in
 * it [outer or 1, length + 1]; writes the sums [outer, length, inner]. A place may have many values, so sums of
 * aligned runs are precomputed, and n values cost about log n terms.
 */
export function lowerSumByIndex(p: SumParams, target: Target): Lowered {
  const { outer, count, inner, length, shared, type } = p;
  const levels = levelsOf(count);
  const term = wgsl`
fn term(o: u32, c: u32, e: u32) -> ${type} {
  let position = b1[${shared ? "" : `o * ${count}u + `}e];
  return b0[(o * ${count}u + position) * ${inner}u + c];
}`;
  /** The sum of run `e` of a level, from buffer b. */
  const run = (level: number, b: number): string =>
    wgsl`
fn run${level}(o: u32, c: u32, e: u32) -> ${type} {
  return b${b}[(o * ${levels[level - 1]}u + e) * ${inner}u + c];
}`;
  const [values, order, starts] = [0, 1, 2].map((input) => ({ input })) as [Slot, Slot, Slot];
  /** Outer line, place along the axis and inner place of an item of [outer, n, inner]. */
  const split = (n: number): string =>
    `let c = i % ${inner}u;
  let at = i / ${inner}u % ${n}u;
  let o = i / ${n * inner}u;
  var total = ${type}(0);`;
  const dispatches = levels.map((runs, k): Dispatch => {
    const reads = k === 0 ? [values, order] : [{ temp: k - 1 }];
    const body = `${split(runs)}
  for (var e = at * ${RUN}u; e < at * ${RUN}u + ${RUN}u; e++) { total += ${k === 0 ? "term" : `run${k}`}(o, c, e); }
  b${reads.length}[i] = total;`;
    const types = k === 0 ? [type, "u32", type] : [type, type];
    const library = k === 0 ? term : run(k, 0);
    return step(`scatter.runs${k + 1}`, outer * runs * inner, reads, [{ temp: k }], body, target, types, library);
  });
  const reads = [values, order, starts, ...levels.map((_, k) => ({ temp: k }))];
  const body = `${split(length)}
  let start = ${shared ? "" : `o * ${length + 1}u + `}at;
  var low = b2[start];
  var high = b2[start + 1u];
  ${addRange(levels.length, (level, at) => (level === 0 ? `term(o, c, ${at})` : `run${level}(o, c, ${at})`))}
  b${reads.length}[i] = total;`;
  const types = [type, "u32", "u32", ...levels.map(() => type), type];
  const library = [term, ...levels.map((_, k) => run(k + 1, 3 + k))].join("\n");
  const items = outer * length * inner;
  dispatches.push(step("scatter.sum", items, reads, [{ output: 0 }], body, target, types, library));
  return { temps: levels.map((runs) => 4 * outer * runs * inner), dispatches };
}

export interface PartialParams extends Omit<SumParams, "type"> {
  /** Null to count the indices: there are no values. */
  readonly type: Ordered | null;
  /** Values along the axis that one invocation adds. */
  readonly chunk: number;
}

/**
 * Reads values [outer, count, inner], if there are any, and indices [outer or 1, count]; writes the sums of chunks of
 * the values [outer, chunks, length, inner], which then are to be added. For few places this is faster than sorting.
 */
export function lowerPartialSums(p: PartialParams, target: Target): Lowered {
  const { outer, count, inner, length, shared, type, chunk } = p;
  const chunks = Math.ceil(count / chunk);
  const reads = type === null ? [{ input: 0 }] : [{ input: 1 }, { input: 0 }];
  const result = type ?? "i32";
  const value = type === null ? "1" : `b1[(o * ${count}u + e) * ${inner}u + c]`;
  const body = `let c = i % ${inner}u;
  let at = i / ${inner}u % ${chunks}u;
  let o = i / ${chunks * inner}u;
  let first = i / ${inner}u * ${length * inner}u + c;
  for (var p = 0u; p < ${length}u; p++) { b${reads.length}[first + p * ${inner}u] = ${result}(0); }
  for (var e = at * ${chunk}u; e < min(at * ${chunk}u + ${chunk}u, ${count}u); e++) {
    let p = b0[${shared ? "" : `o * ${count}u + `}e];
    if (p < ${length}u) { b${reads.length}[first + p * ${inner}u] += ${value}; }
  }`;
  const types = ["u32", ...(type === null ? [] : [type]), result];
  const items = outer * chunks * inner;
  return { temps: [], dispatches: [step("scatter.chunks", items, reads, [{ output: 0 }], body, target, types)] };
}

export interface PutParams {
  readonly lines: number;
  readonly count: number;
  readonly length: number;
}

/** Reads values [lines, count] of 32 bits and different places [lines, count]; writes [lines, length], 0 elsewhere. */
export function lowerPut({ lines, count, length }: PutParams, target: Target): Lowered {
  const [values, places, output] = [{ input: 0 }, { input: 1 }, { output: 0 }];
  const put = `b2[i / ${count}u * ${length}u + b1[i]] = b0[i];`;
  const dispatches = [step("scatter.put", lines * count, [values, places], [output], put, target)];
  // As many places as values: all are written.
  if (count < length) dispatches.unshift(step("scatter.clear", lines * length, [], [output], "b0[i] = 0u;", target));
  return { temps: [], dispatches };
}
