/** Prepares loops for lowering: the graph of one step, reduced to what the program needs. */
import { isFloat } from "../../core/dtype.ts";
import type { Loop, Op } from "../../core/op.ts";
import { size } from "../../core/shape.ts";
import { ancestors, inputsOf, node, Tensor } from "../../core/tensor.ts";
import { scalar } from "../../ops/elementwise/creation.ts";
import { add } from "../../ops/elementwise/elementwise.ts";
import { take } from "../../ops/shape/take.ts";
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

const store = (fusesPrologue: readonly number[]): Op => ({
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
    instead: new Map(sliced.map((k, j) => [rest[k], take(stacks[j], index)])),
    outputs: [
      ...(counted ? [add(index, reverse ? -1 : 1)] : []),
      ...carries.map((k) => outputs[k]),
      ...kept.map((k) => {
        const { shape, dtype } = outputs[k];
        const op = isFloat(dtype) ? storeFloats : storeOthers;
        return node(op, [outputs[k], index], {}, [length, ...shape], dtype);
      }),
    ],
    carries: carries.length + Number(counted),
    places: new Map([...carries, ...kept].map((k, j) => [k, j + Number(counted)])),
  };
}
