/** Binary searches of sorted lines. */
import type { Lowered, Target } from "../types.ts";
import { keySource, type Ordered, step } from "./step.wgsl.ts";

/** WGSL that moves `low` to the first of the places 0 .. length for which `isBefore(middle)` does not hold. */
const bisect = (length: number, isBefore: (middle: string) => string): string =>
  `var low = 0u;
  var high = ${length}u;
  while (low < high) {
    let middle = (low + high) / 2u;
    if (${isBefore("middle")}) { low = middle + 1u; } else { high = middle; }
  }`;

export interface SearchParams {
  readonly lines: number;
  readonly length: number;
  /** Values looked up in each line. */
  readonly queries: number;
  readonly type: Ordered;
  /** Equal entries lie before the place. */
  readonly right: boolean;
}

/** Reads sorted lines [lines, length] and values [lines, queries]; writes places [lines, queries], i32. */
export function lowerSearch(p: SearchParams, target: Target): Lowered {
  const { lines, length, queries, type, right } = p;
  const body = `let wanted = key(b1[i]);
  let start = i / ${queries}u * ${length}u;
  ${bisect(length, (middle) => `key(b0[start + ${middle}]) ${right ? "<=" : "<"} wanted`)}
  b2[i] = low;`;
  const reads = [{ input: 0 }, { input: 1 }];
  const name = `searchSorted.${right ? "right" : "left"}`;
  const dispatch = step(name, lines * queries, reads, [{ output: 0 }], body, target, [], keySource(type));
  return { temps: [], dispatches: [dispatch] };
}

export interface StartsParams {
  readonly lines: number;
  readonly count: number;
  /** The first index that is looked for, and how many. */
  readonly first: number;
  readonly length: number;
}

/** Reads indices [lines, count] and their order; writes where each index starts in it, [lines, length], i32. */
export function lowerStarts({ lines, count, first, length }: StartsParams, target: Target): Lowered {
  const body = `let wanted = i % ${length}u + ${first}u;
  let start = i / ${length}u * ${count}u;
  ${bisect(count, (middle) => `b0[start + b1[start + ${middle}]] < wanted`)}
  b2[i] = low;`;
  const reads = [{ input: 0 }, { input: 1 }];
  return { temps: [], dispatches: [step("scatter.starts", lines * length, reads, [{ output: 0 }], body, target)] };
}
