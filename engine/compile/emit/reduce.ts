/** The kernels of a reduction, with what computes its terms and what becomes of its result. */
import { type Expr, print, variable } from "../../core/expr.ts";
import { Index } from "../../core/index_map.ts";
import type { ReduceAttrs } from "../../core/op.ts";
import { size } from "../../core/shape.ts";
import { type Finish, reduceKernels } from "../../../shaders/reduce.wgsl.ts";
import type { Target } from "../../../shaders/types.ts";
import type { Roots } from "../fuse.ts";
import type { Value } from "../lower.ts";
import { Body, librarySourceOf } from "./body.ts";
import { chainName, type Emitted, slotsOf } from "./emitted.ts";
import { fits } from "./kernel.ts";
import { printStatements } from "./statements.ts";

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
    variable("o"),
    body.bindIndex,
  );
  const inner = Index.linear(
    axes.map((k) => shape[k]),
    variable("r"),
    body.bindIndex,
  );
  const runs: { from: number; to: number; expression: Expr }[] = [];
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
      reads: body.types,
      by,
      operations: body.operations,
      type: root.inputs[0].dtype as "f32" | "i32" | "u32",
      outputs: root.size,
      length: size(axes.map((k) => shape[k])),
      contiguous: axes.includes(shape.length - 1),
      results: values.length,
      code: () => ({
        library: librarySourceOf(values, body),
        before: printStatements(body.before),
        body: printStatements(body.statements),
        values: values.map(print),
      }),
      ...(finish && {
        finish: {
          ...finish.params,
          code: () => ({ ...finish.params.code(), library: librarySourceOf(values, body, finish.body) }),
        },
      }),
    },
    target,
  );
  const reads = [...new Set([...body.reads, ...(finish?.body.reads ?? [])])];
  const [all, last] = [slotsOf(body, reads), finish ? slotsOf(finish.body, reads) : []];
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
  const value = body.value(root, Index.linear(root.shape, variable("i"), body.bindIndex));
  if (!fits(body)) return null;
  const name = chainName(root, new Set([...roots, reduced]));
  const params = {
    name,
    reads: body.types,
    type: "f32",
    code: () => ({
      library: "",
      body: printStatements([...body.before, ...body.statements]),
      value: print(value),
    }),
  };
  const { summed, ...own } = emitReduce([reduced], roots, target, { body, params });
  const alike = (v: Value): boolean => v.size === root.size && v.dtype === root.dtype && !summed.includes(v);
  const aligned = body.reads.filter((v) => alike(v) && [...body.places.get(v)!].every((place) => place === "i"));
  return { ...own, aligned };
}
