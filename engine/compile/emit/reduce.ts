/** Emits the kernels of a reduction, with its inputs and an epilogue fused in. */
import { type Expr, print, variable } from "../../core/expr.ts";
import { Index } from "../../core/index_map.ts";
import type { ReduceAttrs } from "../../core/op.ts";
import { size } from "../../core/shape.ts";
import { type Epilogue, reduceKernels } from "../../../shaders/reduce.wgsl.ts";
import { chunkElements, type Slot, type Target } from "../../../shaders/types.ts";
import { coneOf, coneOfAll, type Materialized, operationsOf } from "../graph/cone.ts";
import type { Value } from "../graph/lower.ts";
import { Body, stored } from "./body.ts";
import { chainName, type Emitted, slotsOf } from "./emitted.ts";
import { Lifted } from "./lift.ts";
import { printStatements, tidied } from "./statements.ts";

/** The terms of a reduction: each member's value at row `o` and term `r`. */
interface Terms {
  readonly body: Body;
  readonly values: readonly Expr[];
}

function termsOf(
  members: readonly Value[],
  materialized: Materialized,
  target: Target,
  options: { reads?: readonly Value[]; isBounded?: boolean },
): Terms {
  const root = members[0];
  const { axes } = root.attrs as ReduceAttrs;
  const { shape } = root.inputs[0];
  const kept = shape.map((_, k) => k).filter((k) => !axes.includes(k));
  const body = new Body(root, materialized, target, "r", options);
  const outer = Index.linear(kept.map((k) => shape[k]), variable("o"), body.bindIndex);
  const inner = Index.linear(axes.map((k) => shape[k]), variable("r"), body.bindIndex);
  const runs: { from: number; to: number; expression: Expr }[] = [];
  for (let from = 0; from < shape.length;) {
    const isReduced = axes.includes(from);
    let to = from;
    while (to + 1 < shape.length && axes.includes(to + 1) === isReduced) to++;
    const list = isReduced ? axes : kept;
    runs.push({ from, to, expression: (isReduced ? inner : outer).part(list.indexOf(from), list.indexOf(to)) });
    from = to + 1;
  }
  const index = Index.runs(shape, runs, body.bindIndex);
  return { body, values: members.map((v) => body.value(v.inputs[0], index)) };
}

export interface ReduceOptions {
  /** An elementwise function of the only member, stored in its place. */
  readonly epilogue?: Value | null;
  /** The value that the epilogue's result overwrites. */
  readonly alias?: Value | null;
  /** Whether to throw TooLarge if the kernel would compute too much. */
  readonly isBounded?: boolean;
}

/**
 * The kernels of a reduction, or of several sums over the same rows, with their inputs fused in. The statements are
 * built when they are printed, unless they read a value in chunks.
 */
export function emitReduce(
  members: readonly Value[],
  materialized: Materialized,
  target: Target,
  { epilogue = null, alias = null, isBounded = false }: ReduceOptions = {},
): Emitted {
  const root = members[0];
  const { axes, by } = root.attrs as ReduceAttrs;
  const { shape } = root.inputs[0];
  const cone = coneOfAll(members, materialized);
  const known = isBounded || cone.reads.some((v) => v.size > chunkElements(target) || v.size === 0)
    ? termsOf(members, materialized, target, { isBounded })
    : null;
  const summed = known ? known.body.reads : cone.reads;
  const own = epilogue ? epilogueReads(root, epilogue, materialized).filter((v) => v !== alias) : [];
  const reads = [...new Set([...summed, ...own])];
  const inputs: readonly Slot[] = known ? slotsOf(known.body, reads) : summed.map((v) => ({ input: reads.indexOf(v) }));
  const { kernels, temps } = reduceKernels(
    {
      name: members.map((v) => chainName(v, materialized)).join("&"),
      reads: known ? known.body.types : summed.map((v) => stored(v.dtype)),
      by,
      operations: operationsOf(cone.inside),
      type: root.inputs[0].dtype as "f32" | "i32" | "u32",
      outputs: root.size,
      length: size(axes.map((k) => shape[k])),
      contiguous: axes.includes(shape.length - 1),
      results: members.length,
      code: () => {
        const { body, values } = known ?? termsOf(members, materialized, target, { reads: summed });
        const lifted = new Lifted({ o: root.size, r: size(axes.map((k) => shape[k])) });
        const tidy = tidied([body.before, body.statements], values);
        const before = lifted.statements(tidy.lists[0], true);
        const statements = lifted.statements(tidy.lists[1]);
        return {
          declarations: body.declarations(values),
          before: body.unloaded(values) + printStatements(before),
          body: printStatements(statements),
          values: tidy.values.map((value) => print(lifted.value(value))),
          numbers: lifted,
        };
      },
      ...(epilogue && { epilogue: epilogueOf(root, epilogue, materialized, target, own, alias) }),
    },
    target,
  );
  const last = own.map((v): Slot => ({ input: reads.indexOf(v) }));
  const dispatches = kernels.map(({ kernel, from, to, isLast }) => ({
    kernel,
    reads: [...(from === "inputs" ? inputs : from), ...(isLast ? last : [])],
    writes: to,
  }));
  return { temps, dispatches, reads };
}

/** The reads of an epilogue besides the sum. */
const epilogueReads = (reduced: Value, epilogue: Value, materialized: Materialized): Value[] =>
  coneOf(epilogue, materialized).reads.filter((v) => v !== reduced);

function epilogueOf(
  reduced: Value,
  v: Value,
  materialized: Materialized,
  target: Target,
  reads: readonly Value[],
  alias: Value | null,
): Epilogue {
  return {
    name: chainName(v, materialized, reduced),
    reads: reads.map((x) => stored(x.dtype)),
    type: "f32",
    code() {
      const given = { value: reduced, name: "total0" };
      const body = new Body(v, materialized, target, "i", { alias, given, prefix: "own", reads });
      const value = body.value(v, Index.linear(v.shape, variable("i"), body.bindIndex));
      const lifted = new Lifted({ i: v.size }, "m");
      const tidy = tidied([[...body.before, ...body.statements]], [value]);
      const statements = lifted.statements(tidy.lists[0]);
      return {
        declarations: body.declarations([value]),
        body: body.unloaded([value]) + printStatements(statements),
        value: print(lifted.value(tidy.values[0])),
        numbers: lifted,
      };
    },
  };
}
