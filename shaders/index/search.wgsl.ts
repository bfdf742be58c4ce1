/** Binary search of sorted lines. */
import type { Lowered, Target } from "../types.ts";
import { keySource, type Ordered, step } from "./step.wgsl.ts";

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
  var low = 0u;
  var high = ${length}u;
  while (low < high) {
    let middle = (low + high) / 2u;
    if (key(b0[start + middle]) ${right ? "<=" : "<"} wanted) { low = middle + 1u; } else { high = middle; }
  }
  b2[i] = low;`;
  const reads = [{ input: 0 }, { input: 1 }];
  const name = `searchSorted.${right ? "right" : "left"}`;
  const dispatch = step(name, lines * queries, reads, [{ output: 0 }], body, target, [], keySource(type));
  return { temps: [], dispatches: [dispatch] };
}
