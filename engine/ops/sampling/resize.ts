/** resize: interpolation to another grid, axis by axis. */
import { check, checkFlag, checkOptions, show } from "../../core/errors.ts";
import type { Op } from "../../core/op.ts";
import { checkShape, perAxis, size } from "../../core/shape.ts";
import { node, Tensor } from "../../core/tensor.ts";
import { computeInF32 } from "../promote_f16.ts";
import { inParts, partsFor } from "../split.ts";
import { lowerResizeAxis } from "../../../shaders/sampling/resize_axis.wgsl.ts";

interface ResizeAttrs {
  readonly axis: number;
  readonly inputSize: number;
  readonly outputSize: number;
  readonly mode: "nearest" | "linear" | "cubic";
  readonly alignCorners: boolean;
  /** The adjoint: from outputSize back to inputSize. */
  readonly transposed: boolean;
}

// Linear in x: the vjp is the adjoint, the jvp the operator itself.
const op: Op<ResizeAttrs> = {
  name: "resize",
  lowering: {
    kind: "kernel",
    lower([x], _, { axis, ...rest }, target) {
      return lowerResizeAxis(
        { ...rest, outer: size(x.shape.slice(0, axis)), inner: size(x.shape.slice(axis + 1)) },
        target,
      );
    },
  },
  vjp: (c, g) => [resizeAxis(g, { ...c.attrs, transposed: !c.attrs.transposed })],
  jvp: (c, [t]) => resizeAxis(t!, c.attrs),
  batch: (c) => resizeAxis(c.inputs[0], { ...c.attrs, axis: c.attrs.axis + 1 }),
  split([x], output, attrs, most) {
    const longest = (a: number, b: number): number => (x.shape[a] >= x.shape[b] ? a : b);
    const axis = x.shape
      .map((_, k) => k)
      .filter((k) => k !== attrs.axis)
      .reduce(longest);
    const count = partsFor("resize", [x, { size: size(output.shape) }], x.shape[axis], most);
    return inParts([x], axis, count, ([part]) => resizeAxis(part, attrs));
  },
};

function resizeAxis(x: Tensor, attrs: ResizeAttrs): Tensor {
  const n = attrs.transposed ? attrs.inputSize : attrs.outputSize;
  return node(
    op,
    [x],
    attrs,
    x.shape.map((m, k) => (k === attrs.axis ? n : m)),
    "f32",
  );
}

export interface ResizeOptions {
  /** Of the output: one number for all axes of space, or one per axis. */
  size?: number | readonly number[];
  /** Or the factor of each axis: the output has floor(scale n) voxels, and the extents of both grids are aligned. */
  scale?: number | readonly number[];
  mode?: "nearest" | "linear" | "cubic";
  alignCorners?: boolean;
}

/** The size of the output from the options. */
function targetOf(x: Tensor, { size, scale }: ResizeOptions): number[] {
  check(
    (size === undefined) !== (scale === undefined),
    "resize",
    () => `give size or scale, got size ${show(size)} and scale ${show(scale)}`,
  );
  const space = x.shape.slice(2);
  if (scale === undefined) return perAxis("resize", "size", size, space.length, 1);
  const factors = typeof scale === "number" ? space.map(() => scale) : scale;
  check(
    Array.isArray(factors) && factors.length === space.length &&
      factors.every((f, k) => typeof f === "number" && Math.floor(f * space[k]) >= 1 && f < Infinity),
    "resize",
    () => `scale is a number or ${space.length} of them that leave a voxel of ${show(x.shape)}, got ${show(scale)}`,
  );
  return space.map((n, k) => Math.floor(n * factors[k]));
}

/**
 * Resamples x [N, C, ...space] to space `size`, or by `scale`, as torch.nn.functional.interpolate.
 *
 * @param options.mode "nearest" (default), "linear" (bi- or trilinear), "cubic" (Keys' kernel with a = -0.75, along
 *   every axis)
 * @param options.alignCorners whether corner voxels are aligned; default: false, the extents of the grids are aligned
 * @example
 * ```ts
 * import { random, resize } from "voxgrad";
 *
 * const x = random.normal(random.key(0), { shape: [1, 2, 8, 8, 8] });
 * const y = resize(x, { size: [16, 16, 16], mode: "linear" }); // [1, 2, 16, 16, 16]
 * ```
 */
export const resize: (
  x: Tensor,
  options: ResizeOptions,
) => Tensor = computeInF32(
  (x, options) => {
    checkOptions("resize", options, ["size", "scale", "mode", "alignCorners"]);
    check(
      x instanceof Tensor && x.rank >= 3 && x.dtype === "f32" && x.size > 0,
      "resize",
      () => `the input is a non-empty f32 tensor [N, C, ...space], got ${x instanceof Tensor ? `${x}` : show(x)}`,
    );
    const { mode = "nearest", alignCorners = false } = options;
    check(
      ["nearest", "linear", "cubic"].includes(mode),
      "resize",
      () => `mode is "nearest", "linear" or "cubic", got ${show(mode)}`,
    );
    checkFlag("resize", "alignCorners", alignCorners);
    check(!(alignCorners && mode === "nearest"), "resize", () => `alignCorners has no meaning for mode "nearest"`);
    const target = targetOf(x, options);
    checkShape("resize", [...x.shape.slice(0, 2), ...target]);
    // Shrinking axes first keeps the intermediate tensors small.
    const order = target.map((_, k) => k).sort((a, b) => target[a] / x.shape[a + 2] - target[b] / x.shape[b + 2]);
    return order.reduce((y, k) => {
      const axis = k + 2;
      const inputSize = x.shape[axis];
      if (inputSize === target[k]) return y;
      return resizeAxis(y, { axis, inputSize, outputSize: target[k], mode, alignCorners, transposed: false });
    }, x);
  },
);
