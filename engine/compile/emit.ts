/** WGSL of fused kernels: a root value and everything that is computed along with it. */
import { Index } from "../core/index_map.ts";
import type { ReduceAttrs } from "../core/op.ts";
import { size } from "../core/shape.ts";
import { mapKernel, sharedByRows } from "../../shaders/map.wgsl.ts";
import { type Finish, reduceKernels } from "../../shaders/reduce.wgsl.ts";
import { isFloat } from "../core/dtype.ts";
import { OPERAND, RESULT } from "../../shaders/operands.ts";
import {
  type Dispatch,
  type Fused,
  type Kernel,
  type PartialMoments,
  type Slot,
  type Target,
  windowElements,
} from "../../shaders/types.ts";
import { Body, functionsOf, library, type Span, stored } from "./body.ts";
import { base, isView, type Value } from "./lower.ts";
import type { Roots } from "./fuse.ts";

export interface Emitted {
  readonly temps: readonly number[];
  readonly dispatches: readonly Dispatch[];
  /** What Slot input k means. */
  readonly reads: readonly Value[];
  /** Values read only at the very element that is written: memory that the result may overwrite. */
  readonly aligned: readonly Value[];
}

/** The kernel of an elementwise or movement root. With `alias` the result overwrites that value. */
export function emitMap(root: Value, roots: Roots, target: Target, alias: Value | null = null): Emitted {
  const most = windowElements(target);
  const alike = (v: Value): boolean => v.size === root.size && v.dtype === root.dtype;
  if (root.size > most) {
    // One kernel for each window of the result.
    const reads: Value[] = [];
    const dispatches: Dispatch[] = [];
    const unaligned = new Set<Value>();
    for (let window = 0; window * most < root.size; window++) {
      const span = { window, from: window * most, to: Math.min(root.size, (window + 1) * most) };
      const emitted = mapBody(root, roots, target, 1, { alias, span });
      for (const v of emitted.body.reads) {
        if (!reads.includes(v)) reads.push(v);
        if ([...emitted.body.places.get(v)!].some((place) => place !== "k")) unaligned.add(v);
      }
      const kernel = mapKernelOf(root, roots, target, emitted, 1, span);
      dispatches.push({ kernel, reads: slots(emitted.body, reads), writes: [{ output: 0, window }] });
    }
    return { temps: [], dispatches, reads, aligned: reads.filter((v) => alike(v) && !unaligned.has(v)) };
  }
  let emitted = mapBody(root, roots, target, 1, { alias });
  const rowsOf = (length: number): MapBody => (length > 1 ? mapBody(root, roots, target, length, { alias }) : emitted);
  let inner = rowLength(root, emitted.body, SHORTEST_SHARED_ROW);
  let rows = rowsOf(inner);
  // Short rows serve only to share loads.
  const { before, lines } = rows.body;
  const last = `result[${rows.here}] = ${rows.result};`;
  const layout = { rows: root.size / inner, length: inner, before, body: [...lines, last] };
  if (inner > 1 && inner < SHORTEST_ROW && !sharedByRows(layout, target)) {
    inner = rowLength(root, emitted.body, SHORTEST_ROW);
    rows = rowsOf(inner);
  }
  emitted = rows;
  const { body, here } = emitted;
  const kernel = mapKernelOf(root, roots, target, emitted, inner, null);
  const { reads } = body;
  const aligned = reads.filter((v) => alike(v) && [...body.places.get(v)!].every((place) => place === here));
  return { temps: [], dispatches: [{ kernel, reads: slots(body, reads), writes: [{ output: 0 }] }], reads, aligned };
}

/** The bindings of a kernel, where input k is the k-th of `reads`. */
const slots = (body: Body, reads: readonly Value[]): Slot[] =>
  body.bindings.map(({ value, window }) => ({
    input: reads.indexOf(value),
    ...(window === null ? {} : { window }),
  }));

interface MapBody {
  readonly body: Body;
  /** The offset of the element that is written. */
  readonly here: string;
  readonly result: string;
}

function mapKernelOf(
  root: Value,
  roots: Roots,
  target: Target,
  { body, here, result }: MapBody,
  inner: number,
  span: Span | null,
): Kernel {
  if (root.dtype === "f16") body.half = true;
  const value = root.dtype === "bool" ? `select(0u, 1u, ${result})` : root.dtype === "f16" ? `f16(${result})` : result;
  const place = span && span.from > 0 ? `${here} - ${span.from}u` : here;
  return mapKernel(
    {
      name: chainName(root, roots),
      library: library(value, body),
      reads: body.types,
      result: stored(root.dtype),
      rows: inner > 1 ? root.size / inner : 1,
      length: span ? span.to : inner > 1 ? inner : root.size,
      ...(span ? { from: span.from } : {}),
      operations: body.operations,
      before: body.before,
      body: [...body.lines, `result[${place}] = ${value};`],
    },
    target,
  );
}

/** The statements for element `k` of row `o`; a single row where `inner` is 1. */
function mapBody(
  root: Value,
  roots: Roots,
  target: Target,
  inner: number,
  options: { alias: Value | null; span?: Span },
): MapBody {
  const body = new Body(root, roots, target, "k", options);
  let index = Index.linear(root.shape, "k", body.bindIndex);
  if (options.span) index = index.bounded(options.span.from, options.span.to);
  if (inner > 1) {
    const axis = innerAxis(root, inner);
    index = Index.runs(
      root.shape,
      [
        { from: 0, to: axis - 1, expression: "o" },
        { from: axis, to: root.shape.length - 1, expression: "k" },
      ],
      body.bindIndex,
    );
  }
  const here = index.offset;
  return { body, here, result: body.value(root, index) };
}

/** The first axis of the trailing ones that hold `inner` elements; 0 where none do. */
function innerAxis(root: Value, inner: number): number {
  for (let axis = root.shape.length - 1; axis > 0; axis--) if (size(root.shape.slice(axis)) === inner) return axis;
  return 0;
}

/** Shorter rows leave lanes idle; more or longer ones are beyond what a dimension of the grid holds. */
const SHORTEST_ROW = 512;
const SHORTEST_SHARED_ROW = 64;
const MOST_ROWS = 65535;
const LONGEST_ROW = 64 * 65535;

/**
 * Divisions cost more than the arithmetic of most chains. Where elements are divided by the size of trailing axes, as for
 * a value per channel, the kernel gets a dimension for those axes, and the quotient is known without division.
 */
function rowLength(root: Value, body: Body, shortest: number): number {
  const divisors = body.lines.flatMap((line) => [...line.matchAll(/= k \/ (\d+)u;/g)].map((match) => Number(match[1])));
  const fitting = divisors.filter(
    (n) => n >= shortest && n <= LONGEST_ROW && root.size / n <= MOST_ROWS && innerAxis(root, n) > 0,
  );
  return fitting.length > 0 ? Math.min(...fitting) : 1;
}

/** The kernels of a reduction, or of several sums over the same rows, with whatever computes their inputs, from `summed`, fused in. */
export function emitReduce(
  members: readonly Value[],
  roots: Roots,
  target: Target,
  finish: { readonly body: Body; readonly params: Finish } | null = null,
): Emitted & { readonly summed: readonly Value[] } {
  const root = members[0];
  const { axes, by } = root.attrs as ReduceAttrs;
  const { shape } = root.inputs[0];
  const kept = shape.map((_, k) => k).filter((k) => !axes.includes(k));
  const body = new Body(root, roots, target, "r");
  const outer = Index.linear(
    kept.map((k) => shape[k]),
    "o",
    body.bindIndex,
  );
  const inner = Index.linear(
    axes.map((k) => shape[k]),
    "r",
    body.bindIndex,
  );
  const runs: { from: number; to: number; expression: string }[] = [];
  for (let from = 0; from < shape.length;) {
    const falls = axes.includes(from);
    let to = from;
    while (to + 1 < shape.length && axes.includes(to + 1) === falls) to++;
    const list = falls ? axes : kept;
    runs.push({ from, to, expression: (falls ? inner : outer).part(list.indexOf(from), list.indexOf(to)) });
    from = to + 1;
  }
  const index = Index.runs(shape, runs, body.bindIndex);
  const values = members.map((v) => body.value(v.inputs[0], index));
  const { kernels, temps } = reduceKernels(
    {
      name: members.map((v) => chainName(v, roots)).join("&"),
      library: library(values.join(), body),
      reads: body.types,
      by,
      operations: body.operations,
      type: root.inputs[0].dtype as "f32" | "i32" | "u32",
      outputs: root.size,
      length: size(axes.map((k) => shape[k])),
      contiguous: axes.includes(shape.length - 1),
      before: body.before,
      body: body.lines,
      values,
      ...(finish ? { finish: { ...finish.params, library: library(values.join(), body, finish.body) } } : {}),
    },
    target,
  );
  const reads = [...new Set([...body.reads, ...(finish?.body.reads ?? [])])];
  const [all, last] = [slots(body, reads), finish ? slots(finish.body, reads) : []];
  const dispatches = kernels.map(({ kernel, from, to, finishes }) => ({
    kernel,
    reads: [...(from === "inputs" ? all : from), ...(finishes ? last : [])],
    writes: to,
  }));
  return { temps, dispatches, reads, aligned: [], summed: body.reads };
}

/**
 * A sum with an elementwise function of it, which is written instead; null where that does not do. With `alias` the
 * result overwrites that value.
 */
export function emitFinished(
  reduced: Value,
  root: Value,
  roots: Roots,
  target: Target,
  alias: Value | null = null,
): Emitted | null {
  if (root.size !== reduced.size || root.dtype !== "f32" || reduced.dtype !== "f32") return null;
  const body = new Body(root, roots, target, "i", { alias, given: { value: reduced, name: "total0" }, prefix: "f" });
  const value = body.value(root, Index.linear(root.shape, "i", body.bindIndex));
  if (!fits(body)) return null;
  const name = chainName(root, new Set([...roots, reduced]));
  const params = { name, library: "", reads: body.types, type: "f32", body: [...body.before, ...body.lines], value };
  const { summed, ...own } = emitReduce([reduced], roots, target, { body, params });
  const alike = (v: Value): boolean => v.size === root.size && v.dtype === root.dtype && !summed.includes(v);
  const aligned = body.reads.filter((v) => alike(v) && [...body.places.get(v)!].every((place) => place === "i"));
  return { ...own, aligned };
}

/** Kernels that a function would need windows for, or that read at another place than they write, are not fused. */
const fits = (body: Body): boolean => !body.misplaced && body.bindings.every(({ window }) => window === null);

/** A body as the function of a template, with its statements' `value`. */
const fused = (name: string, body: Body, value: string, type: string): Fused => ({
  name,
  functions: [...functionsOf(value, body)],
  reads: body.types,
  type,
  body: [...body.before, ...body.lines],
  value,
});

/**
 * The kernels of a kernel operator, with the elementwise functions that its inputs are where those are no roots, and
 * with `finish`, an elementwise function of its result that is written instead. `stored` must have memory for that.
 * With `moments`, a value that is computed from moments of what is written, as output 1.
 */
export function emitKernel(
  v: Value,
  roots: Roots,
  target: Target,
  finish: Value | null = null,
  moments: Value | null = null,
): Emitted | { readonly stored: Value } | null {
  const { lowering } = v.op!;
  if (lowering.kind !== "kernel") throw new Error(`${v.op!.name}: a ${lowering.kind} has no kernel`);
  const reads = v.inputs.map(base);
  const extra: Value[] = [];
  const loads: (Fused | null)[] = [];
  for (const [k, x] of v.inputs.entries()) {
    const source = reads[k];
    if (source.leaf !== null || roots.has(source)) {
      loads.push(null);
      continue;
    }
    const body = new Body(v, roots, target, "i", { prefix: `${OPERAND}${k}_` });
    const value = body.value(x, Index.linear(x.shape, "i", body.bindIndex));
    if (!fits(body)) return { stored: source };
    loads.push(fused(chainName(source, roots), body, value, "f32"));
    extra.push(...body.bindings.map((b) => b.value));
  }
  let store: Fused | null = null;
  if (finish) {
    if (finish.size !== v.size || !isFloat(v.dtype) || !isFloat(finish.dtype)) return null;
    const body = new Body(finish, roots, target, "i", { given: { value: v, name: "given" }, prefix: `${RESULT}_` });
    const value = body.value(finish, Index.linear(finish.shape, "i", body.bindIndex));
    if (!fits(body)) return null;
    const name = chainName(finish, new Set([...roots, v]));
    store = fused(name, body, finish.dtype === "f16" ? `f16(${value})` : value, finish.dtype);
    extra.push(...body.bindings.map((b) => b.value));
  }
  const observed = moments ? observe(finish ?? v, moments, roots, target) : null;
  if (moments && !observed) return null;
  const fuses = store || observed || loads.some((f) => f !== null);
  const fusion = fuses ? { loads, store, moments: observed, first: reads.length } : null;
  const lowered = lowering.lower(v.inputs, v, v.attrs, target, fusion);
  const emitted = { ...lowered, reads: [...reads, ...extra], aligned: [] };
  return moments ? withMoments(emitted, moments, lowered.moments, target) : emitted;
}

/** What `moments` reads as a function of v alone at the same place; null where it is none. */
function observe(v: Value, moments: Value, roots: Roots, target: Target): Fused | null {
  const body = new Body(moments, roots, target, "i", { given: { value: v, name: "given" } });
  const x = moments.inputs[0];
  const value = body.value(x, Index.linear(x.shape, "i", body.bindIndex));
  return x.size === v.size && fits(body) && body.bindings.length === 0 ? fused("", body, value, "f32") : null;
}

/** The kernels of a unit, and those that make `moments` of what they left for it; null where they left nothing. */
function withMoments(
  emitted: Emitted,
  moments: Value,
  parts: PartialMoments | undefined,
  target: Target,
): Emitted | null {
  const { lowering } = moments.op!;
  if (!parts || lowering.kind !== "kernel") return null;
  const own = lowering.fromPartialMoments!(moments.inputs, moments.attrs, parts, target);
  if (!own) return null;
  const slot = (s: Slot): Slot =>
    "temp" in s ? { temp: emitted.temps.length + s.temp } : "input" in s ? { temp: parts.temp } : { output: 1 };
  const dispatches = own.dispatches.map((d) => ({ ...d, reads: d.reads.map(slot), writes: d.writes.map(slot) }));
  return {
    ...emitted,
    temps: [...emitted.temps, ...own.temps],
    dispatches: [...emitted.dispatches, ...dispatches],
  };
}

/** For profiles: the operators that a kernel computes, root first. */
function chainName(root: Value, roots: Roots): string {
  const names = [root.op!.name];
  const visit = (v: Value): void => {
    for (const x of v.inputs) {
      if (names.length >= 4) return;
      if (x.leaf !== null || roots.has(x)) continue;
      if (!isView(x) && x.op!.lowering.kind === "map" && x.op!.lowering.cost > 0) names.push(x.op!.name);
      visit(x);
    }
  };
  visit(root);
  return names.join("+");
}
