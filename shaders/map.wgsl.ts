/** Kernel of a fused elementwise chain. */
import { wgsl } from "wgsl-preprocessor/wgsl-preprocessor.js";
import type { Kernel, Target } from "./types.ts";

export interface MapParams {
  readonly name: string;
  /** WGSL functions that the body calls. */
  readonly library: string;
  /** Element types of the bindings b0, b1, ... */
  readonly reads: readonly string[];
  readonly result: string;
  /** The result is `rows` rows of `length` elements. */
  readonly rows: number;
  readonly length: number;
  /** The first element that is written, at the start of `result`; the last is before `length`. One row only. */
  readonly from?: number;
  /** Floating-point operations an element. */
  readonly operations: number;
  /** Statements from the row `o` alone. */
  readonly before: readonly string[];
  /** Statements from `o` and the element `k` of the row to the store into `result`. */
  readonly body: readonly string[];
}

const WORKGROUP = 64;

/** A line of invocations folded into as many rows as the limit on workgroups asks for. */
export function fold(
  count: number,
  workgroup: number,
  target: Target,
): { workgroups: readonly [number, number, number]; row: number } {
  const groups = Math.max(1, Math.ceil(count / workgroup));
  const x = Math.min(groups, target.maxWorkgroupsPerDimension);
  return { workgroups: [x, Math.ceil(groups / x), 1], row: x * workgroup };
}

export const bindings = (reads: readonly string[]): string =>
  reads.map((type, k) => `@group(0) @binding(${k}) var<storage, read> b${k}: array<${type}>;`).join("\n");

/**
 * Elements of one invocation: on a CPU an invocation costs about as much as an element, so several share one, as long as
 * there is work for all threads.
 */
const elementsPerInvocation = (p: MapParams, target: Target): number =>
  target.software && p.rows * p.length >= 16384 ? Math.max(1, Math.min(8, Math.floor(p.length / WORKGROUP))) : 1;

/** Rows that an invocation takes together, and elements from which on that leaves work for all threads. */
const TOGETHER = 4;
const MANY = 2 ** 16;

/**
 * Statements of the body by what they are made of: the element of the row alone, or the row too. Loads are what costs on
 * a CPU: where some serve all rows, an invocation takes several rows at once. Null where that saves nothing.
 */
export function sharedByRows(
  { rows, length, before, body }: Pick<MapParams, "rows" | "length" | "before" | "body">,
  target: Target,
): { shared: readonly string[]; own: readonly string[]; names: ReadonlySet<string> } | null {
  if (!target.software || rows % TOGETHER > 0 || rows * length < MANY) return null;
  const names = new Set(["o"]);
  const varies = (line: string): boolean => {
    const [, name, expression = line] = /^let (\w+) = ([^]*);$/.exec(line) ?? [];
    const depends = (expression.match(/\b[A-Za-z_]\w*/g) ?? []).some((word) => names.has(word));
    if (depends && name) names.add(name);
    return depends;
  };
  before.forEach(varies);
  // A branch is left as it is.
  if (!body.every((line) => /^(let |result\[)/.test(line))) return null;
  const own = body.filter((line) => varies(line) || line.startsWith("result["));
  const shared = body.filter((line) => !own.includes(line));
  return shared.some((line) => /\bb\d+\[/.test(line)) ? { shared, own, names } : null;
}

export function mapKernel(p: MapParams, target: Target): Kernel {
  const each = elementsPerInvocation(p, target);
  const split = p.rows > 1 ? sharedByRows(p, target) : null;
  const together = split ? TOGETHER : 1;
  // Names that depend on the row are its own.
  const perRow = (lines: readonly string[]): string =>
    Array.from({ length: together }, (_, t) =>
      lines
        .map((line) => (split ? line.replace(/\b[A-Za-z_]\w*/g, (w) => (split.names.has(w) ? `${w}_${t}` : w)) : line))
        .join("\n")).join("\n");
  const body = split ? `${split.shared.join("\n")}\n${perRow(split.own)}` : p.body.join("\n");
  const named = (line: string): boolean => !!split?.names.has(/^let (\w+)/.exec(line)?.[1] ?? "");
  const before = [...p.before.filter((line) => !named(line)), perRow(p.before.filter(named))].join("\n");
  const single = p.rows === 1;
  const { from = 0 } = p;
  const { workgroups } = fold(Math.ceil((p.length - from) / each), WORKGROUP, target);
  // A single row ends where its memory ends, so that chains of any size share a pipeline; compiling is what costs.
  const length = single && p.from === undefined ? "arrayLength(&result)" : `${p.length}u`;
  // Elements of a workgroup lie together, those of an invocation a workgroup's width apart.
  const source = (): string =>
    wgsl`${p.library}
${bindings(p.reads)}
@group(0) @binding(${p.reads.length}) var<storage, read_write> result: array<${p.result}>;

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
#if ${single}
  let first = (group.x + group.y * ${target.maxWorkgroupsPerDimension}u) * ${WORKGROUP * each}u + lane${
      from > 0 ? ` + ${from}u` : ""
    };
#else
  let first = group.x * ${WORKGROUP * each}u + lane;
${
      Array.from(
        { length: together },
        (_, t) => (split ? `  let o_${t} = group.y * ${TOGETHER}u + ${t}u;` : "  let o = group.y;"),
      ).join("\n")
    }
#endif
${before}
#if ${each === 1}
  let k = first;
  if (k >= ${length}) {
    return;
  }
${body}
#else
  for (var k = first; k < min(first + ${WORKGROUP * each}u, ${length}); k += ${WORKGROUP}u) {
${body}
  }
#endif
}
`;
  const flops = p.operations * (p.rows * p.length - from);
  return { name: p.name, source, flops, workgroups: single ? workgroups : [workgroups[0], p.rows / together, 1] };
}
