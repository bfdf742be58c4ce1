/** Prepares loops for lowering: the graph of one step, reduced to what the program needs. */
import { isFloat } from "../../core/dtype.ts";
import { call, type Expr, u32 } from "../../core/expr.ts";
import { Index } from "../../core/index_map.ts";
import type { Loop, Op } from "../../core/op.ts";
import { size } from "../../core/shape.ts";
import { ancestors, inputsOf, node, Tensor } from "../../core/tensor.ts";
import { scalar } from "../../ops/elementwise/creation.ts";
import { add } from "../../ops/elementwise/elementwise.ts";
import { lowerStore } from "../../../shaders/store_slice.wgsl.ts";

/** A loop of which only some results are needed. */
export interface NeededLoop {
  readonly loop: Loop;
  /** The leaves of a step: carries, then values to slice, then constants; and what stands for them outside. */
  readonly leaves: readonly Tensor[];
  readonly inputs: readonly Tensor[];
  /** The tensors that the slices are computed from. */
  readonly instead: ReadonlyMap<Tensor, Tensor>;
  /** What a step gives: the next carries, then the values that it stores. */
  readonly outputs: readonly Tensor[];
  readonly carries: number;
  /** The index in `outputs` of each needed result. */
  readonly places: ReadonlyMap<number, number>;
}

/** Results of several stores are kept apart, even if they are equal: each has a place of its own. */
const store = (fusesPrologue: readonly number[]): Op<{ output: number }> => ({
  name: "scan.store",
  lowering: {
    kind: "kernel",
    fusesPrologue,
    lower: ([slice], output, _, target, fusion) => {
      const type = slice.dtype === "bool" ? "u32" : slice.dtype;
      return lowerStore({ count: size(slice.shape), length: output.shape[0], type }, target, fusion);
    },
  },
  vjp: null,
});
// Functions that are fused into loads give floats.
const storeFloats = store([0]);
const storeOthers = store([]);

const copyOp: Op<{ output: number }> = {
  name: "scan.carry",
  lowering: { kind: "map", cost: 0, elementwise: true, emit: (e, index) => e.input(0, index) },
  vjp: null,
};

/** The slice of input 0 at an index (i32 scalar) that lies within it. */
const sliceOp: Op = {
  name: "scan.slice",
  lowering: {
    kind: "map",
    cost: 1,
    emit(e, index) {
      const bind = (x: Expr): Expr => e.bind(x, "u32");
      const { shape } = e.inputs[0];
      const at = bind(call("u32", e.input(1, Index.linear([], u32(0), bind))));
      const runs = [{ from: 0, to: 0, expression: at }, { from: 1, to: shape.length - 1, expression: index.offset }];
      return e.input(0, Index.runs(shape, shape.length > 1 ? runs : runs.slice(0, 1), bind));
    },
  },
  vjp: null,
};

/** The values of x in memory of their own; copies for different outputs are not merged. */
export const copyOf = (x: Tensor, output: number): Tensor => node(copyOp, [x], { output }, x.shape, x.dtype);

/** The part of a loop that some of its results depend on. */
export function needed(loop: Loop, results: ReadonlySet<number>): NeededLoop {
  const { params, outputs, carries: count, slices, length, reverse, inputs } = loop;
  const [index, ...rest] = params;
  const isParam = new Set(params);
  const kept = [...results].filter((k) => k >= count).sort((a, b) => a - b);
  const carried = new Set([...results].filter((k) => k < count));
  let used = new Set<Tensor>();
  for (let before = -1; before < carried.size;) {
    before = carried.size;
    const wanted = [...carried, ...kept].map((k) => outputs[k]);
    used = new Set(ancestors(wanted, (t) => isParam.has(t) ? [] : inputsOf(t)).filter((t) => isParam.has(t)));
    for (let k = 0; k < count; k++) if (used.has(rest[k])) carried.add(k);
  }
  const carries = [...carried].sort((a, b) => a - b);
  // A value that is kept under several numbers is stored once.
  const stored = [...new Set(kept.map((k) => outputs[k]))];
  const indices = (from: number, to: number): number[] =>
    Array.from({ length: to - from }, (_, k) => from + k).filter((k) => used.has(rest[k]));
  const sliced = indices(count, count + slices);
  const constants = indices(count + slices, rest.length);
  const stacks = sliced.map((k) => new Tensor([length, ...rest[k].shape], rest[k].dtype, { kind: "placeholder" }));
  const counted = used.has(index) || sliced.length > 0 || kept.length > 0;
  return {
    loop,
    leaves: [...(counted ? [index] : []), ...carries.map((k) => rest[k]), ...stacks, ...constants.map((k) => rest[k])],
    inputs: [
      ...(counted ? [scalar(reverse ? length - 1 : 0, "i32")] : []),
      ...[...carries, ...sliced, ...constants].map((k) => inputs[k]),
    ],
    instead: new Map(
      sliced.map((k, j) => [rest[k], node(sliceOp, [stacks[j], index], {}, rest[k].shape, rest[k].dtype)]),
    ),
    outputs: [
      ...(counted ? [add(index, reverse ? -1 : 1)] : []),
      ...carries.map((k) => outputs[k]),
      ...stored.map((t, output) => {
        const op = isFloat(t.dtype) ? storeFloats : storeOthers;
        return node(op, [t, index], { output }, [length, ...t.shape], t.dtype);
      }),
    ],
    carries: carries.length + Number(counted),
    places: new Map([
      ...carries.map((k, j) => [k, Number(counted) + j] as const),
      ...kept.map((k) => [k, Number(counted) + carries.length + stored.indexOf(outputs[k])] as const),
    ]),
  };
}
