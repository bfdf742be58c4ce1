/** Computes several rows of a fused kernel per invocation, so that they share loads. */
import { some } from "../../core/expr.ts";
import type { Target } from "../../../shaders/types.ts";
import { renamed, type Statement, walkStatements } from "./statements.ts";

/** Rows per invocation, and the minimum number of elements at which that still occupies all threads. */
export const ROWS_TOGETHER = 4;
const MANY = 2 ** 16;

export interface SharedRows {
  /** Statements before the loop: shared ones, then those of each row. */
  readonly before: readonly Statement[];
  readonly body: readonly Statement[];
}

/**
 * Statements for several rows `o_0`, `o_1`, ... derived from those for one row `o`. Loads dominate on a CPU: if some
 * loads serve all rows, an invocation computes several rows at once. Null if no load is shared.
 */
export function shareRows(
  rows: number,
  length: number,
  before: readonly Statement[],
  body: readonly Statement[],
  target: Target,
): SharedRows | null {
  if (!target.software || rows % ROWS_TOGETHER > 0 || rows * length < MANY) return null;
  // Branches are not supported.
  if (body.some((s) => s.kind === "branch")) return null;
  const names = new Set(["o"]);
  const varies = (s: Statement): boolean => {
    if (s.kind === "store") return true;
    const depends = s.kind === "let" && some(s.value, (e) => e.kind === "variable" && names.has(e.name));
    if (depends) names.add(s.name);
    return depends;
  };
  const [ownBefore, sharedBefore] = partition(before, varies);
  const [own, shared] = partition(body, varies);
  let loads = false;
  walkStatements(shared, (e) => loads ||= e.kind === "load" && e.buffer !== "result");
  if (!loads) return null;
  const eachRow = (list: readonly Statement[]): Statement[] =>
    Array.from(
      { length: ROWS_TOGETHER },
      (_, t) => list.map((s) => renamed(s, (name) => (names.has(name) ? `${name}_${t}` : name))),
    ).flat();
  return { before: [...sharedBefore, ...eachRow(ownBefore)], body: [...shared, ...eachRow(own)] };
}

function partition<T>(list: readonly T[], holds: (item: T) => boolean): [T[], T[]] {
  const parts: [T[], T[]] = [[], []];
  for (const item of list) parts[holds(item) ? 0 : 1].push(item);
  return parts;
}
