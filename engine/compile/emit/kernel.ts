/** Emits operators with a kernel template, with elementwise functions fused into their loads and stores. */
import { isFloat } from "../../core/dtype.ts";
import { call, type Expr, print, variable } from "../../core/expr.ts";
import { Index } from "../../core/index_map.ts";
import { OPERAND, RESULT } from "../../../shaders/operands.ts";
import { chunkElements, type Fused, type PartialMoments, type Slot, type Target } from "../../../shaders/types.ts";
import { coneFrom, coneOf, type Materialized, movedFrom, movedReads } from "../graph/cone.ts";
import { storageOf, type Value } from "../graph/lower.ts";
import { Body, stored } from "./body.ts";
import { chainName, type Emitted } from "./emitted.ts";
import { Lifted } from "./lift.ts";
import { functionsOf, printStatements, tidied } from "./statements.ts";

export interface KernelOptions {
  /** An elementwise function of the result, stored in its place. */
  readonly epilogue?: Value | null;
  /** A value that is computed from statistics of the result, as output 1. */
  readonly statistics?: Value | null;
}

interface FusedOptions {
  readonly name: string;
  /** The value whose kernel the function is fused into, and the value that it computes. */
  readonly root: Value;
  readonly value: Value;
  readonly type: "f32" | "f16";
  readonly reads: readonly Value[];
  readonly prefix: string;
  /** A value that the variable `given` holds. */
  readonly given?: Value;
}

/** A template function at index `i`; its statements are built when they are printed. */
function fused(o: FusedOptions, materialized: Materialized, target: Target): Fused {
  const { name, root, value, type, reads, prefix } = o;
  const given = o.given ? { value: o.given, name: "given" } : null;
  return {
    name,
    reads: reads.map((v) => stored(v.dtype)),
    type,
    code(lifts) {
      const body = new Body(root, materialized, target, "i", { reads, prefix, given });
      const computed = body.value(value, Index.linear(value.shape, variable("i"), body.bindIndex));
      const result: Expr = type === "f16" ? call("f16", computed) : computed;
      const { lists: [statements], values: [final] } = tidied([[...body.before, ...body.statements]], [result]);
      const lifted = new Lifted({ i: value.size }, `${prefix}n`);
      const own = lifts ? lifted.statements(statements) : statements;
      return {
        functions: [...functionsOf(statements, [final])],
        body: body.unloaded([result]) + printStatements(own),
        value: print(lifts ? lifted.value(final) : final),
        numbers: lifted,
      };
    },
  };
}

/** Whether each of these has a single binding, as fused functions require. */
const areWhole = (reads: readonly Value[], target: Target): boolean =>
  reads.every((v) => v.size > 0 && v.size <= chunkElements(target));

/**
 * An input that cannot be fused into the kernel's loads because large values take several bindings; null if there is
 * none.
 */
export const unfusableInput = (v: Value, materialized: Materialized, target: Target): Value | null =>
  v.inputs.map(storageOf).find((x) =>
    x.leaf === null && !materialized.has(x) && !areWhole(coneFrom([x], materialized).reads, target)
  ) ?? null;

/** Whether `epilogue`, which reads v, can be fused into v's stores. */
export function canEndWith(v: Value, epilogue: Value, materialized: Materialized, target: Target): boolean {
  if (epilogue.size !== v.size || (v.size > 1 && movedReads(epilogue, materialized).has(v))) return false;
  return areWhole(coneOf(epilogue, materialized).reads.filter((x) => x !== v), target);
}

/**
 * The kernels of a kernel operator, with its non-materialized elementwise inputs fused in. Null if an epilogue or
 * statistics cannot be fused.
 */
export function emitKernel(
  v: Value,
  materialized: Materialized,
  target: Target,
  { epilogue = null, statistics = null }: KernelOptions = {},
): Emitted | null {
  const { lowering } = v.op!;
  if (lowering.kind !== "kernel") throw new Error(`${v.op!.name}: a ${lowering.kind} has no kernel`);
  const inputs = v.inputs.map(storageOf);
  const extra: Value[] = [];
  const loads = v.inputs.map((x, k) => {
    const source = inputs[k];
    if (source.leaf !== null || materialized.has(source)) return null;
    const { reads } = coneFrom([x], materialized);
    extra.push(...reads);
    const name = chainName(source, materialized);
    return fused({ name, root: v, value: x, type: "f32", reads, prefix: `${OPERAND}${k}_` }, materialized, target);
  });
  let store: Fused | null = null;
  if (epilogue) {
    if (!isFloat(v.dtype) || !isFloat(epilogue.dtype) || !canEndWith(v, epilogue, materialized, target)) return null;
    const reads = coneOf(epilogue, materialized).reads.filter((x) => x !== v);
    extra.push(...reads);
    const name = chainName(epilogue, materialized, v);
    const type = epilogue.dtype === "f16" ? "f16" : "f32";
    const prefix = `${RESULT}_`;
    store = fused({ name, root: epilogue, value: epilogue, type, reads, prefix, given: v }, materialized, target);
  }
  const observed = statistics ? observe(epilogue ?? v, statistics, materialized, target) : null;
  if (statistics && !observed) return null;
  const fuses = store || observed || loads.some((f) => f !== null);
  const fusion = fuses ? { loads, store, moments: observed, first: inputs.length } : null;
  const lowered = lowering.lower(v.inputs, v, v.attrs, target, fusion);
  const emitted = { ...lowered, reads: [...inputs, ...extra] };
  return statistics ? withStatistics(emitted, statistics, lowered.moments, target) : emitted;
}

/** The input of `statistics` as a function of v alone at the same index; null if it is not one. */
function observe(v: Value, statistics: Value, materialized: Materialized, target: Target): Fused | null {
  const x = statistics.inputs[0];
  const { reads } = coneFrom([x], materialized);
  if (x.size !== v.size || reads.some((y) => y !== v)) return null;
  if (v.size > 1 && movedFrom([[x, false]], materialized).has(v)) return null;
  const options = { name: "", root: statistics, value: x, reads: [], prefix: "b", given: v };
  return fused({ ...options, type: "f32" }, materialized, target);
}

/** The kernels, followed by those that compute `statistics` from their partial results; null if they leave none. */
function withStatistics(
  emitted: Emitted,
  statistics: Value,
  parts: PartialMoments | undefined,
  target: Target,
): Emitted | null {
  const { lowering } = statistics.op!;
  if (!parts || lowering.kind !== "kernel") return null;
  const own = lowering.fromPartialMoments!(statistics.inputs, statistics.attrs, parts, target);
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
