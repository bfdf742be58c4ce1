/** The kernels of an operator that has its own, with elementwise functions where they read and write. */
import { isFloat } from "../../core/dtype.ts";
import { call, type Expr, print, variable } from "../../core/expr.ts";
import { Index } from "../../core/index_map.ts";
import { OPERAND, RESULT } from "../../../shaders/operands.ts";
import type { Fused, PartialMoments, Slot, Target } from "../../../shaders/types.ts";
import type { Roots } from "../fuse.ts";
import { base, type Value } from "../lower.ts";
import { Body } from "./body.ts";
import { chainName, type Emitted } from "./emitted.ts";
import { functionsOf, printStatements } from "./statements.ts";

/** Kernels that a function would need windows for, or that read at another place than they write, are not fused. */
export const fits = (body: Body): boolean => !body.misplaced && body.bindings.every(({ window }) => window === null);

/** A body as the function of a template, with the `value` that its statements lead to. */
function fused(name: string, body: Body, value: Expr, type: string): Fused {
  const statements = [...body.before, ...body.statements];
  return {
    name,
    reads: body.types,
    type,
    code: () => ({
      functions: [...functionsOf(statements, [value])],
      body: printStatements(statements),
      value: print(value),
    }),
  };
}

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
    const value = body.value(x, Index.linear(x.shape, variable("i"), body.bindIndex));
    if (!fits(body)) return { stored: source };
    loads.push(fused(chainName(source, roots), body, value, "f32"));
    extra.push(...body.bindings.map((b) => b.value));
  }
  let store: Fused | null = null;
  if (finish) {
    if (finish.size !== v.size || !isFloat(v.dtype) || !isFloat(finish.dtype)) return null;
    const body = new Body(finish, roots, target, "i", { given: { value: v, name: "given" }, prefix: `${RESULT}_` });
    const value = body.value(finish, Index.linear(finish.shape, variable("i"), body.bindIndex));
    if (!fits(body)) return null;
    const name = chainName(finish, new Set([...roots, v]));
    store = fused(name, body, finish.dtype === "f16" ? call("f16", value) : value, finish.dtype);
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
  const value = body.value(x, Index.linear(x.shape, variable("i"), body.bindIndex));
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
