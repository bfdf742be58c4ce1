/** broadcastTo. */
import { check, checkOptions, show } from "../../core/errors.ts";
import type { Op } from "../../core/op.ts";
import { broadcastShapes, checkShape, sameShape, type Shape } from "../../core/shape.ts";
import { checkTensor, node, type Tensor } from "../../core/tensor.ts";
import { reshape } from "./reshape.ts";
import { sumTo } from "./sum_to.ts";

const op: Op = {
  name: "broadcastTo",
  lowering: {
    kind: "map",
    cost: 0,
    elementwise: true,
    emit: (e, index) => e.input(0, index.unbroadcast(e.inputs[0].shape)),
  },
  vjp: (c, g) => [sumTo(g, c.inputs[0].shape)],
  jvp: (c, [t]) => broadcastTo(t!, { shape: c.output.shape }),
  batch: (c) => broadcastTo(alignBatch(c.inputs[0], c.output.shape.length), { shape: [c.size, ...c.output.shape] }),
};

/**
 * Broadcasts x along axes of size 1 and new leading axes by NumPy's rules. Uses no memory.
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([1, 2]).broadcastTo({ shape: [3, 2] }).array(); // [[1, 2], [1, 2], [1, 2]]
 * ```
 */
export function broadcastTo(x: Tensor, options: { shape: Shape }): Tensor {
  checkTensor("broadcastTo", x);
  checkOptions("broadcastTo", options, ["shape"]);
  checkShape("broadcastTo", options.shape);
  if (sameShape(x.shape, options.shape)) return x;
  check(
    sameShape(broadcastShapes("broadcastTo", x.shape, options.shape), options.shape),
    "broadcastTo",
    () => `shape ${show(x.shape)} does not broadcast to ${show(options.shape)}`,
  );
  return node(op, [x], {}, options.shape, x.dtype);
}

/** Reshapes a batch [B, ...shape] to [B, 1, ..., 1, ...shape], whose examples broadcast to `rank` axes. */
export function alignBatch(x: Tensor, rank: number): Tensor {
  const [size, ...shape] = x.shape as [number, ...number[]];
  const ones = new Array<number>(Math.max(0, rank - shape.length)).fill(1);
  return reshape(x, { shape: [size, ...ones, ...shape] });
}
