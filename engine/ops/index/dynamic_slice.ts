/** dynamicSlice and dynamicUpdateSlice: a block at a place that is known when the program runs. */
import { check, checkOptions, refuseOptions, show } from "../../core/errors.ts";
import { call, type Expr, infix, joined, u32 } from "../../core/expr.ts";
import { Index } from "../../core/index_map.ts";
import type { Emit, Op } from "../../core/op.ts";
import { checkShape, type Shape } from "../../core/shape.ts";
import { checkTensor, node, Tensor } from "../../core/tensor.ts";
import { constant } from "../elementwise/constant.ts";
import { scalar, tensor } from "../elementwise/creation.ts";
import { cast } from "../elementwise/elementwise.ts";
import { concat } from "../shape/concat.ts";
import { reshape } from "../shape/reshape.ts";

/** The first `lead` axes are those of a batch: each example starts at its own place, [...lead, rank]. */
interface BlockAttrs {
  readonly lead: number;
  readonly size: Shape;
}

/** Where the block starts along each axis behind `lead`, moved into the tensor; null where it is as long. */
function startsOf(e: Emit<BlockAttrs>, starts: number, index: Index, shape: Shape): (Expr | null)[] {
  const { lead, size } = e.attrs;
  const bind = (x: Expr): Expr => e.bind(x, "u32");
  return shape.map((n, k) => {
    if (k < lead || n === size[k]) return null;
    const axis = { from: lead, to: lead, expression: u32(k - lead) };
    const runs = lead === 0 ? [axis] : [{ from: 0, to: lead - 1, expression: index.part(0, lead - 1) }, axis];
    const at = e.input(starts, Index.runs(e.inputs[starts].shape, runs, bind));
    return bind(call("u32", call("clamp", at, constant(0, "i32"), constant(n - size[k], "i32"))));
  });
}

// dx = dynamicUpdateSlice(0, g, start)
const sliceOp: Op<BlockAttrs> = {
  name: "dynamicSlice",
  lowering: {
    kind: "map",
    cost: 2,
    emit(e, index) {
      const from = e.inputs[0].shape;
      const starts = startsOf(e, 1, index, from);
      return e.input(0, index.along(from, starts.map((at) => (at === null ? null : (i) => infix(i, "+", at)))));
    },
  },
  vjp: ({ inputs: [x, start], attrs }, g) => [updateAt(scalar(0, g.dtype, x.shape), g, start, attrs.lead), null],
  jvp: ({ inputs: [, start], attrs }, [t]) => sliceAt(t!, start, attrs),
  batch: ({ size: batch, attrs: { lead, size }, full }) =>
    sliceAt(full(0), full(1), { lead: lead + 1, size: [batch, ...size] }),
};

const sliceAt = (x: Tensor, start: Tensor, attrs: BlockAttrs): Tensor =>
  node(sliceOp, [x, start], attrs, attrs.size, x.dtype);

// dx = dynamicUpdateSlice(g, 0, start), du = dynamicSlice(g, start)
const updateOp: Op<BlockAttrs> = {
  name: "dynamicUpdateSlice",
  lowering: {
    kind: "map",
    cost: 3,
    emit(e, index) {
      const { size } = e.attrs;
      if (size.includes(0)) return e.input(0, index);
      const tests: Expr[] = [];
      const starts = startsOf(e, 2, index, e.output.shape);
      const inner = index.along(
        size,
        starts.map((at, k) =>
          at === null ? null : (i) => {
            // Before the block the difference wraps around to a large number.
            const place = e.bind(infix(i, "-", at), "u32");
            tests.push(infix(place, "<", u32(size[k])));
            return place;
          }
        ),
      );
      if (tests.length === 0) return e.input(1, index);
      return e.select(joined("&", tests), e.output.dtype, () => e.input(1, inner), () => e.input(0, index));
    },
  },
  vjp: ({ inputs: [, update, start], attrs }, g) => [
    updateAt(g, scalar(0, g.dtype, update.shape), start, attrs.lead),
    sliceAt(g, start, attrs),
    null,
  ],
  jvp: ({ inputs: [x, update, start], output, attrs }, [tx, tu]) =>
    updateAt(
      tx ?? scalar(0, output.dtype, x.shape),
      tu ?? scalar(0, output.dtype, update.shape),
      start,
      attrs.lead,
    ),
  batch: ({ attrs: { lead }, full }) => updateAt(full(0), full(1), full(2), lead + 1),
};

const updateAt = (x: Tensor, update: Tensor, start: Tensor, lead: number): Tensor =>
  node(updateOp, [x, update, start], { lead, size: update.shape }, x.shape, x.dtype);

/** Where a block starts along each axis: an i32 or u32 vector, or an array of integers and tensors of one element. */
export type Start = Tensor | readonly (number | Tensor)[];

/** The start as an i32 vector, after checking what is known on the host against the places that a block may have. */
function checkStart(name: string, start: unknown, shape: Shape, size: Shape): Tensor {
  const rank = shape.length;
  const isInteger = (x: Tensor): boolean => x.dtype === "i32" || x.dtype === "u32";
  const inside = (k: number, value: number): void =>
    check(
      Number.isInteger(value) && value >= 0 && value <= shape[k] - size[k],
      name,
      () => `start ${show(value)} of axis ${k} is not in [0, ${shape[k] - size[k]}], where ${show(size)} fits`,
    );
  if (start instanceof Tensor) {
    check(
      start.rank === 1 && start.size === rank && isInteger(start),
      name,
      () => `start is an i32 or u32 vector of ${rank} places, got ${start}`,
    );
    if (start.source.kind === "host") start.source.data.forEach((value: number, k: number) => inside(k, value));
    return cast(start, "i32");
  }
  check(
    Array.isArray(start) && start.length === rank,
    name,
    () => `start is a vector, or an array of ${rank} integers or tensors of one element, got ${show(start)}`,
  );
  const list: unknown[] = start;
  list.forEach((at, k) => {
    if (!(at instanceof Tensor)) return inside(k, at as number);
    check(
      at.size === 1 && isInteger(at),
      name,
      () => `start ${k} is an integer, or an i32 or u32 tensor of one element, got ${at}`,
    );
    if (at.source.kind === "host") inside(k, at.source.data[0]);
  });
  if (!list.some((at) => at instanceof Tensor)) return tensor(new Int32Array(list as number[]));
  return concat(
    list.map((at) =>
      at instanceof Tensor ? reshape(cast(at, "i32"), { shape: [1] }) : scalar(at as number, "i32", [1])
    ),
  );
}

/**
 * A block of x at a place that may be computed, as `jax.lax.dynamic_slice`. Its size is known beforehand.
 *
 * @param start where it starts along each axis. Starts known on the host keep the block inside of x, others are
 *   clamped so that it is
 * @param options.size the size of the block along each axis
 * @throws VoxgradError for a size that does not fit, or starts known to be out of range
 * @example
 * ```ts
 * import { dynamicSlice, tensor } from "voxgrad";
 *
 * const x = tensor([[1, 2, 3], [4, 5, 6]]);
 * const column = tensor(1, { dtype: "i32" });
 * await dynamicSlice(x, [0, column], { size: [2, 2] }).array(); // [[2, 3], [5, 6]]
 * ```
 */
export function dynamicSlice(x: Tensor, start: Start, options: { size: Shape }): Tensor {
  checkTensor("dynamicSlice", x);
  checkOptions("dynamicSlice", options, ["size"]);
  const { size } = options;
  checkShape("dynamicSlice", size);
  check(
    size.length === x.rank && size.every((n, k) => n <= x.shape[k]),
    "dynamicSlice",
    () => `size has an entry for each axis of ${show(x.shape)}, at most as large, got ${show(size)}`,
  );
  const at = checkStart("dynamicSlice", start, x.shape, size);
  return x.rank === 0 ? x : sliceAt(x, at, { lead: 0, size });
}

/**
 * x with a block replaced at a place that may be computed, as `jax.lax.dynamic_update_slice`.
 *
 * @param update the block, of the dtype and rank of x
 * @param start where it starts along each axis. Starts known on the host keep the block inside of x, others are
 *   clamped so that it is
 * @throws VoxgradError for a block that does not fit, or starts known to be out of range
 * @example
 * ```ts
 * import { dynamicUpdateSlice, tensor, zeros } from "voxgrad";
 *
 * const place = tensor([2], { dtype: "i32" });
 * await dynamicUpdateSlice(zeros([5]), tensor([1, 2]), place).array(); // [0, 0, 1, 2, 0]
 * ```
 */
export function dynamicUpdateSlice(x: Tensor, update: Tensor, start: Start, ...rest: never[]): Tensor {
  checkTensor("dynamicUpdateSlice", x);
  checkTensor("dynamicUpdateSlice", update, "the update");
  refuseOptions("dynamicUpdateSlice", rest);
  check(
    update.dtype === x.dtype && update.rank === x.rank && update.shape.every((n, k) => n <= x.shape[k]),
    "dynamicUpdateSlice",
    () => `the update has the dtype and rank of ${x} and is at most as large, got ${update}`,
  );
  const at = checkStart("dynamicUpdateSlice", start, x.shape, update.shape);
  return x.rank === 0 ? update : updateAt(x, update, at, 0);
}
