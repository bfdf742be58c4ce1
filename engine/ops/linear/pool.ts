/** 2D and 3D max and average pooling. */
import { check, checkOptions, show } from "../../core/errors.ts";
import { call } from "../../core/expr.ts";
import type { BatchContext, Op } from "../../core/op.ts";
import { checkShape, perAxis, type Shape, size } from "../../core/shape.ts";
import { node, Tensor } from "../../core/tensor.ts";
import { lowerPool, type PoolWindows } from "../../../shaders/pool.wgsl.ts";
import { computeInF32 } from "../promote_f16.ts";
import { inParts, partsFor } from "../split.ts";
import { reshape, stopGradient } from "../shape/reshape.ts";

// All operators here work on planes [planes, voxels] and [planes, windows]; batch axes become more planes.
const voxels = (a: PoolWindows): number => size(a.input);
const windows = (a: PoolWindows): number => size(a.output);

/** Folds a batch of planes into planes. */
const asPlanes =
  (f: (inputs: readonly Tensor[], attrs: PoolWindows) => Tensor) => (c: BatchContext<PoolWindows>): Tensor => {
    const inputs = c.inputs.map((_, k) => {
      const x = c.full(k);
      return reshape(x, { shape: [x.shape[0] * x.shape[1], x.shape[2]] });
    });
    return reshape(f(inputs, c.attrs), { shape: [c.size, ...c.output.shape] });
  };

/** Planes are independent, so they can be split. */
const byPlanes =
  (name: string, f: (inputs: readonly Tensor[], attrs: PoolWindows) => Tensor): NonNullable<Op<PoolWindows>["split"]> =>
  (inputs, output, attrs, most) => {
    const count = partsFor(name, [...inputs, { size: size(output.shape) }], output.shape[0], most);
    return inParts(inputs, 0, count, (parts) => f(parts, attrs));
  };

/** Position in its plane of the largest value of every window, as i32; not differentiable. */
const indicesOp: Op<PoolWindows> = {
  name: "maxPoolIndices",
  lowering: { kind: "kernel", lower: ([x], _, a, target) => lowerPool("indices", x.shape[0], a, target) },
  vjp: null,
  batch: asPlanes(([x], a) => indices(x, a)),
  split: byPlanes("maxPool", ([x], a) => indices(x, a)),
};

// y[p, o] = x[p, i[p, o]]; dx is the scatter of g to i
const pickOp: Op<PoolWindows> = {
  name: "maxPool",
  lowering: {
    kind: "map",
    cost: 2,
    emit(e, index) {
      const at = e.bind(call("u32", e.input(1, index)), "u32");
      return e.input(0, index.replace(e.inputs[0].shape, 1, 1, at));
    },
  },
  vjp: ({ inputs: [, at], attrs }, g) => [scatter(g, at, attrs), null],
  jvp: ({ inputs: [, at], attrs }, [t]) => pick(t!, at, attrs),
  batch: asPlanes(([x, at], a) => pick(x, at, a)),
};

// The adjoint of the pick: dx[p, v] = sum over windows o with i[p, o] = v of g[p, o]; dg is the pick of t at i
const scatterOp: Op<PoolWindows> = {
  name: "maxPoolGrad",
  lowering: { kind: "kernel", lower: ([g], _, a, target) => lowerPool("scatter", g.shape[0], a, target) },
  vjp: ({ inputs: [, at], attrs }, t) => [pick(t, at, attrs), null],
  jvp: ({ inputs: [, at], attrs }, [t]) => scatter(t!, at, attrs),
  batch: asPlanes(([g, at], a) => scatter(g, at, a)),
  split: byPlanes("maxPoolGrad", ([g, at], a) => scatter(g, at, a)),
};

// y[p, o] = sum over the voxels of window o of x / its size; linear, so dx is the adjoint of g
const meanOp: Op<PoolWindows> = {
  name: "avgPool",
  lowering: { kind: "kernel", lower: ([x], _, a, target) => lowerPool("mean", x.shape[0], a, target) },
  vjp: ({ attrs }, g) => [spread(g, attrs)],
  jvp: ({ attrs }, [t]) => mean(t!, attrs),
  batch: asPlanes(([x], a) => mean(x, a)),
  split: byPlanes("avgPool", ([x], a) => mean(x, a)),
};

// dx[p, v] = sum over the windows that hold v of g / their size; its adjoint is the mean
const spreadOp: Op<PoolWindows> = {
  name: "avgPoolGrad",
  lowering: { kind: "kernel", lower: ([g], _, a, target) => lowerPool("spread", g.shape[0], a, target) },
  vjp: ({ attrs }, t) => [mean(t, attrs)],
  jvp: ({ attrs }, [t]) => spread(t!, attrs),
  batch: asPlanes(([g], a) => spread(g, a)),
  split: byPlanes("avgPoolGrad", ([g], a) => spread(g, a)),
};

const toWindows = (op: Op<PoolWindows>, inputs: readonly Tensor[], a: PoolWindows, dtype: "f32" | "i32"): Tensor =>
  node(op, inputs, a, [inputs[0].shape[0], windows(a)], dtype);
const toVoxels = (op: Op<PoolWindows>, inputs: readonly Tensor[], a: PoolWindows): Tensor =>
  node(op, inputs, a, [inputs[0].shape[0], voxels(a)], "f32");
const indices = (x: Tensor, a: PoolWindows): Tensor => toWindows(indicesOp, [x], a, "i32");
const pick = (x: Tensor, at: Tensor, a: PoolWindows): Tensor => toWindows(pickOp, [x, at], a, "f32");
const scatter = (g: Tensor, at: Tensor, a: PoolWindows): Tensor => toVoxels(scatterOp, [g, at], a);
const mean = (x: Tensor, a: PoolWindows): Tensor => toWindows(meanOp, [x], a, "f32");
const spread = (g: Tensor, a: PoolWindows): Tensor => toVoxels(spreadOp, [g], a);

export interface PoolOptions {
  /** Window size: one number for all axes, or one per axis. */
  kernel: number | readonly number[];
  /** Distance between windows; default: the kernel. */
  stride?: number | readonly number[];
  /** Padding on both sides, at most half the kernel; default: 0. */
  padding?: number | readonly number[];
}

function pool(
  name: string,
  dims: number,
  x: Tensor,
  options: PoolOptions,
  f: (planes: Tensor, windows: PoolWindows) => Tensor,
): Tensor {
  check(
    x instanceof Tensor && x.rank === dims + 2 && x.dtype === "f32" && x.size > 0,
    name,
    () =>
      `the input is a non-empty f32 tensor [N, C, ${["L", "H, W", "D, H, W"][dims - 1]}], got ${
        x instanceof Tensor ? `${x}` : show(x)
      }`,
  );
  checkOptions(name, options, ["kernel", "stride", "padding"]);
  const kernel = perAxis(name, "kernel", options.kernel, dims, 1);
  const stride = perAxis(name, "stride", options.stride ?? kernel, dims, 1);
  const padding = perAxis(name, "padding", options.padding ?? 0, dims, 0);
  check(
    padding.every((n, k) => 2 * n <= kernel[k]),
    name,
    () => `padding is at most half the kernel ${show(kernel)}, got ${show(padding)}`,
  );
  const space = x.shape.slice(2);
  check(
    space.every((n, k) => n + 2 * padding[k] >= kernel[k]),
    name,
    () => `kernel ${show(kernel)} does not fit the padded input ${show(x.shape)}, padding ${show(padding)}`,
  );
  const output = space.map((n, k) => Math.floor((n + 2 * padding[k] - kernel[k]) / stride[k]) + 1);
  const shape: Shape = [x.shape[0], x.shape[1], ...output];
  checkShape(name, shape);
  // 2D is 3D with depth 1, 1D with height 1 too.
  const triple = (list: readonly number[], fill: number): readonly [number, number, number] =>
    [...new Array(3 - dims).fill(fill), ...list] as unknown as readonly [number, number, number];
  const planes = reshape(x, { shape: [x.shape[0] * x.shape[1], size(space)] });
  const result = f(planes, {
    input: triple(space, 1),
    output: triple(output, 1),
    kernel: triple(kernel, 1),
    stride: triple(stride, 1),
    padding: triple(padding, 0),
  });
  return reshape(result, { shape });
}

const largest = (planes: Tensor, a: PoolWindows): Tensor => pick(planes, indices(stopGradient(planes), a), a);

/**
 * Max pooling of x [N, C, L], as torch.nn.functional.max_pool1d; see maxPool2d.
 *
 * @throws VoxgradError for a window that does not fit, or padding over half the kernel
 * @example
 * ```ts
 * import { maxPool1d, random } from "voxgrad";
 *
 * const x = random.normal(random.key(0), { shape: [1, 8, 32] });
 * const y = maxPool1d(x, { kernel: 2 }); // [1, 8, 16]
 * ```
 */
export const maxPool1d: (x: Tensor, options: PoolOptions) => Tensor = computeInF32(
  (x, options) => pool("maxPool1d", 1, x, options, largest),
);

/**
 * Average pooling of x [N, C, L], as torch.nn.functional.avg_pool1d; see avgPool2d.
 *
 * @throws VoxgradError for a window that does not fit, or padding over half the kernel
 * @example
 * ```ts
 * import { avgPool1d, random } from "voxgrad";
 *
 * const x = random.normal(random.key(0), { shape: [1, 8, 32] });
 * const y = avgPool1d(x, { kernel: 2 }); // [1, 8, 16]
 * ```
 */
export const avgPool1d: (x: Tensor, options: PoolOptions) => Tensor = computeInF32(
  (x, options) => pool("avgPool1d", 1, x, options, mean),
);

/**
 * Max pooling of x [N, C, H, W], as torch.nn.functional.max_pool2d: padding is never chosen, NaN always is, and ties
 * send the gradient to the first element in row-major order.
 *
 * @throws VoxgradError for a window that does not fit, or padding over half the kernel
 * @example
 * ```ts
 * import { maxPool2d, random } from "voxgrad";
 *
 * const x = random.normal(random.key(0), { shape: [1, 8, 32, 32] });
 * const y = maxPool2d(x, { kernel: 3, stride: 2, padding: 1 }); // [1, 8, 16, 16]
 * ```
 */
export const maxPool2d: (x: Tensor, options: PoolOptions) => Tensor = computeInF32(
  (x, options) => pool("maxPool2d", 2, x, options, largest),
);

/**
 * Max pooling of x [N, C, D, H, W], as torch.nn.functional.max_pool3d; see maxPool2d.
 *
 * @throws VoxgradError for a window that does not fit, or padding over half the kernel
 * @example
 * ```ts
 * import { maxPool3d, random } from "voxgrad";
 *
 * const x = random.normal(random.key(0), { shape: [1, 8, 4, 16, 16] });
 * const y = maxPool3d(x, { kernel: [1, 2, 2] }); // [1, 8, 4, 8, 8]
 * ```
 */
export const maxPool3d: (x: Tensor, options: PoolOptions) => Tensor = computeInF32(
  (x, options) => pool("maxPool3d", 3, x, options, largest),
);

/**
 * Average pooling of x [N, C, H, W], padding counted as zeros, as torch.nn.functional.avg_pool2d.
 *
 * @throws VoxgradError for a window that does not fit, or padding over half the kernel
 * @example
 * ```ts
 * import { avgPool2d, random } from "voxgrad";
 *
 * const x = random.normal(random.key(0), { shape: [1, 8, 32, 32] });
 * const y = avgPool2d(x, { kernel: 2 }); // [1, 8, 16, 16]
 * ```
 */
export const avgPool2d: (x: Tensor, options: PoolOptions) => Tensor = computeInF32(
  (x, options) => pool("avgPool2d", 2, x, options, mean),
);

/**
 * Average pooling of x [N, C, D, H, W], padding counted as zeros, as torch.nn.functional.avg_pool3d.
 *
 * @throws VoxgradError for a window that does not fit, or padding over half the kernel
 * @example
 * ```ts
 * import { avgPool3d, random } from "voxgrad";
 *
 * const x = random.normal(random.key(0), { shape: [1, 8, 4, 16, 16] });
 * const y = avgPool3d(x, { kernel: 2, stride: 1 }); // [1, 8, 3, 15, 15]
 * ```
 */
export const avgPool3d: (x: Tensor, options: PoolOptions) => Tensor = computeInF32(
  (x, options) => pool("avgPool3d", 3, x, options, mean),
);
