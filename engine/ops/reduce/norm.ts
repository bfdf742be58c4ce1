/** Group, instance, batch and layer normalization, and weight standardization. */
import { check, checkOptions, show } from "../../core/errors.ts";
import type { Op } from "../../core/op.ts";
import { sameShape, size } from "../../core/shape.ts";
import { node, Tensor } from "../../core/tensor.ts";
import { scalar } from "../elementwise/creation.ts";
import { add, mul, rsqrt, square, sub } from "../elementwise/elementwise.ts";
import { computeInF32 } from "../promote_f16.ts";
import { columns, moments } from "./moments.ts";
import { mean, sum } from "./reduce.ts";
import { reshape } from "../shape/reshape.ts";
import { transpose } from "../shape/transpose.ts";

interface GroupNormAttrs {
  readonly groups: number;
  readonly eps: number;
  /**
   * Whether to subtract the mean before computing the variance, which reduces rounding error compared with one pass.
   */
  readonly centered?: boolean;
}

/** Reshapes [N, C, ...] to [N, G, C / G, M]; statistics are over the last two axes. */
const grouped = (x: Tensor, groups: number): Tensor =>
  reshape(x, { shape: [x.shape[0], groups, x.shape[1] / groups, size(x.shape.slice(2))] });

/** Reshapes a per-channel vector to broadcast against the grouped form. */
const perChannel = (w: Tensor, groups: number): Tensor => reshape(w, { shape: [1, groups, w.size / groups, 1] });

const OVER = { axes: [2, 3], keepDims: true };

/** Deviation from the mean, and 1 / standard deviation, of each group. */
function normalizer(x: Tensor, { groups, eps, centered }: GroupNormAttrs): { deviation: Tensor; rstd: Tensor } {
  if (centered) {
    // Also subtract the remainder of the mean that rounding left.
    const near = sub(grouped(x, groups), mean(grouped(x, groups), OVER));
    const deviation = sub(near, mean(near, OVER));
    return { deviation, rstd: rsqrt(add(mean(square(deviation), OVER), eps)) };
  }
  const rows = x.shape[0] * groups;
  const shape = [x.shape[0], groups, 1, 1];
  const [center, rstd] = columns(moments(reshape(x, { shape: [rows, x.size / rows] }), { eps }));
  return { deviation: sub(grouped(x, groups), reshape(center, { shape })), rstd: reshape(rstd, { shape }) };
}

const op: Op<GroupNormAttrs> = {
  name: "groupNorm",
  lowering: {
    kind: "composite",
    expand([x, weight, bias], attrs) {
      const { deviation, rstd } = normalizer(x, attrs);
      const y = add(mul(mul(deviation, rstd), perChannel(weight, attrs.groups)), perChannel(bias, attrs.groups));
      return reshape(y, { shape: x.shape });
    },
  },
  // With z = (x - mean) rstd, h = g weight: dx = rstd (h - mean(h) - z mean(h z)); dweight = sum(g z); dbias = sum(g).
  // The sums over space serve both the group statistics and the gradients of the affine part.
  vjp({ inputs: [x, weight], attrs }, cotangent) {
    const { deviation, rstd } = normalizer(x, attrs);
    const g = grouped(cotangent, attrs.groups);
    const z = mul(deviation, rstd);
    const w = perChannel(weight, attrs.groups);
    const sumG = sum(g, { axes: [3], keepDims: true });
    const sumGZ = sum(mul(g, z), { axes: [3], keepDims: true });
    const count = g.shape[2] * g.shape[3];
    const meanH = mul(sum(mul(sumG, w), OVER), 1 / count);
    const meanHZ = mul(sum(mul(sumGZ, w), OVER), 1 / count);
    const dx = mul(rstd, sub(sub(mul(g, w), meanH), mul(z, meanHZ)));
    const overBatch = (t: Tensor): Tensor => reshape(sum(t, { axes: [0] }), { shape: weight.shape });
    return [reshape(dx, { shape: x.shape }), overBatch(sumGZ), overBatch(sumG)];
  },
  // For the statistics, examples are samples; per-example weights are applied afterwards.
  batch({ inputs: [, weight, bias], batched, size: batch, output, attrs, full }) {
    const [n, c, ...space] = output.shape as [number, number, ...number[]];
    const merged = reshape(full(0), { shape: [batch * n, c, ...space] });
    const perExample = batched[1] || batched[2];
    const affine = perExample ? [scalar(1, "f32", [c]), scalar(0, "f32", [c])] : [weight, bias];
    const y = reshape(node(op, [merged, ...affine], attrs, merged.shape, "f32"), { shape: [batch, n, c, ...space] });
    const channels = (k: number): Tensor => reshape(full(k), { shape: [batch, 1, c, ...space.map(() => 1)] });
    return perExample ? add(mul(y, channels(1)), channels(2)) : y;
  },
};

function checkAffine(
  name: string,
  x: Tensor,
  axis: number,
  options: { weight?: Tensor; bias?: Tensor },
): [Tensor, Tensor] {
  const channels = x.shape[axis];
  for (const [key, value] of Object.entries({ weight: options.weight, bias: options.bias })) {
    check(
      value === undefined ||
        (value instanceof Tensor && value.dtype === "f32" && value.rank === 1 && value.shape[0] === channels),
      name,
      () => `${key} is an f32 tensor of shape [${channels}], got ${show(value)}`,
    );
  }
  return [options.weight ?? scalar(1, "f32", [channels]), options.bias ?? scalar(0, "f32", [channels])];
}

function checkInput(name: string, x: unknown, least: number): asserts x is Tensor {
  check(
    x instanceof Tensor && x.dtype === "f32" && x.rank >= least,
    name,
    () => `the input is an f32 tensor of rank >= ${least}, got ${show(x)}`,
  );
  check(x.size > 0, name, () => `the input ${show(x.shape)} is empty`);
}

const checkEps = (name: string, eps: number): number => {
  check(typeof eps === "number" && eps >= 0, name, () => `eps is a number >= 0, got ${show(eps)}`);
  return eps;
};

export interface NormOptions {
  weight?: Tensor;
  bias?: Tensor;
  /** Added to the variance; default: 1e-5. */
  eps?: number;
}

/**
 * Group norm, Wu and He 2018: normalizes x [N, C, ...] over the channels of a group and space; weight and bias [C].
 *
 * @example
 * ```ts
 * import { groupNorm, ones, random, zeros } from "voxgrad";
 *
 * const x = random.normal(random.key(0), { shape: [2, 8, 4, 4] });
 * const y = groupNorm(x, { weight: ones([8]), bias: zeros([8]), groups: 4 }); // [2, 8, 4, 4]
 * ```
 */
export const groupNorm: (x: Tensor, options: NormOptions & { groups: number }) => Tensor = computeInF32(
  (x, options) => {
    checkOptions("groupNorm", options, ["groups", "weight", "bias", "eps"]);
    checkInput("groupNorm", x, 2);
    const { groups } = options;
    const eps = options.eps ?? 1e-5;
    check(
      Number.isInteger(groups) && groups > 0 && x.shape[1] % groups === 0,
      "groupNorm",
      () => `groups divides the ${x.shape[1]} channels, got ${show(groups)}`,
    );
    const [weight, bias] = checkAffine("groupNorm", x, 1, options);
    return node(op, [x, weight, bias], { groups, eps: checkEps("groupNorm", eps) }, x.shape, "f32");
  },
);

/**
 * Instance norm, Ulyanov et al. 2016: normalizes x [N, C, ...] over space, per sample and channel.
 *
 * @example
 * ```ts
 * import { instanceNorm, ones, random, zeros } from "voxgrad";
 *
 * const x = random.normal(random.key(0), { shape: [2, 8, 4, 4] });
 * const y = instanceNorm(x, { weight: ones([8]), bias: zeros([8]) }); // [2, 8, 4, 4]
 * ```
 */
export const instanceNorm: (x: Tensor, options?: NormOptions) => Tensor = computeInF32(
  (x, options = {}) => {
    checkOptions("instanceNorm", options, ["weight", "bias", "eps"]);
    checkInput("instanceNorm", x, 3);
    checkAffine("instanceNorm", x, 1, options);
    checkEps("instanceNorm", options.eps ?? 1e-5);
    return groupNorm(x, { ...options, groups: x.shape[1] });
  },
);

/**
 * Batch norm with batch statistics, Ioffe and Szegedy 2015: normalizes x [N, C, ...] over samples and space.
 *
 * @example
 * ```ts
 * import { batchNorm, ones, random, zeros } from "voxgrad";
 *
 * const x = random.normal(random.key(0), { shape: [2, 8, 4, 4] });
 * const y = batchNorm(x, { weight: ones([8]), bias: zeros([8]) }); // [2, 8, 4, 4]
 * ```
 */
export const batchNorm: (x: Tensor, options?: NormOptions) => Tensor = computeInF32(
  (x, options = {}) => {
    checkOptions("batchNorm", options, ["weight", "bias", "eps"]);
    checkInput("batchNorm", x, 2);
    checkAffine("batchNorm", x, 1, options);
    checkEps("batchNorm", options.eps ?? 1e-5);
    const [n, c, ...space] = x.shape as [number, number, ...number[]];
    // Treated as one sample whose space is the batch and the space.
    const swap = { axes: [1, 0, 2] };
    const joined = reshape(transpose(reshape(x, { shape: [n, c, size(space)] }), swap), {
      shape: [1, c, n * size(space)],
    });
    const y = groupNorm(joined, { ...options, groups: c });
    return reshape(transpose(reshape(y, { shape: [c, n, size(space)] }), swap), { shape: x.shape });
  },
);

export interface LayerNormOptions extends NormOptions {
  /** The last axes, over which x is normalized; default: the last one. Weight and bias have this shape. */
  normalizedShape?: readonly number[];
}

/** The shape of the last axes of x, and x with these in one. */
function lastAxes(name: string, x: Tensor, normalizedShape: readonly number[] | undefined): [number[], Tensor] {
  const own = normalizedShape ?? x.shape.slice(-1);
  check(
    Array.isArray(own) && own.length > 0 && own.length <= x.rank &&
      sameShape(own, x.shape.slice(x.rank - own.length)),
    name,
    () => `normalizedShape is that of the last axes of ${show(x.shape)}, got ${show(own)}`,
  );
  return [[...own], reshape(x, { shape: [x.size / size(own), size(own)] })];
}

/** A weight or bias of the shape of the last axes, as a vector. */
function checkLast(name: string, key: string, value: Tensor | undefined, shape: readonly number[]): Tensor | undefined {
  check(
    value === undefined || (value instanceof Tensor && value.dtype === "f32" && sameShape(value.shape, shape)),
    name,
    () => `${key} is an f32 tensor of shape ${show(shape)}, got ${show(value)}`,
  );
  return value && reshape(value, { shape: [value.size] });
}

/**
 * Layer norm, Ba et al. 2016: normalizes x over its last axis, or the last ones, as torch.nn.functional.layer_norm.
 *
 * @example
 * ```ts
 * import { layerNorm, ones, random, zeros } from "voxgrad";
 *
 * const x = random.normal(random.key(0), { shape: [2, 10, 64] });
 * const y = layerNorm(x, { weight: ones([64]), bias: zeros([64]) }); // [2, 10, 64]
 * const z = layerNorm(x, { normalizedShape: [10, 64] }); // [2, 10, 64]
 * ```
 */
export const layerNorm: (x: Tensor, options?: LayerNormOptions) => Tensor = computeInF32(
  (x, options = {}) => {
    checkOptions("layerNorm", options, ["weight", "bias", "eps", "normalizedShape"]);
    checkInput("layerNorm", x, 1);
    const [shape, rows] = lastAxes("layerNorm", x, options.normalizedShape);
    const channels = size(shape);
    const y = groupNorm(rows, {
      groups: 1,
      weight: checkLast("layerNorm", "weight", options.weight, shape) ?? scalar(1, "f32", [channels]),
      bias: checkLast("layerNorm", "bias", options.bias, shape) ?? scalar(0, "f32", [channels]),
      eps: checkEps("layerNorm", options.eps ?? 1e-5),
    });
    return reshape(y, { shape: x.shape });
  },
);

/**
 * Root mean square norm, Zhang and Sennrich 2019: x / sqrt(mean(x^2) + eps) weight over the last axis, or the last
 * ones, as torch.nn.functional.rms_norm.
 *
 * @param options.eps default: 1e-6
 * @example
 * ```ts
 * import { ones, random, rmsNorm } from "voxgrad";
 *
 * const x = random.normal(random.key(0), { shape: [2, 10, 64] });
 * const y = rmsNorm(x, { weight: ones([64]) }); // [2, 10, 64]
 * ```
 */
export const rmsNorm: (x: Tensor, options?: Omit<LayerNormOptions, "bias">) => Tensor = computeInF32(
  (x, options = {}) => {
    checkOptions("rmsNorm", options, ["weight", "eps", "normalizedShape"]);
    checkInput("rmsNorm", x, 1);
    const [shape, rows] = lastAxes("rmsNorm", x, options.normalizedShape);
    const weight = checkLast("rmsNorm", "weight", options.weight, shape);
    const eps = checkEps("rmsNorm", options.eps ?? 1e-6);
    const scaled = mul(rows, rsqrt(add(mean(square(rows), { axes: [1], keepDims: true }), eps)));
    return reshape(weight ? mul(scaled, weight) : scaled, { shape: x.shape });
  },
);

/**
 * Weight standardization, Qiao et al. 2019: each filter w[k] minus its mean, over sqrt(unbiased variance + eps);
 * default: eps 1e-12.
 *
 * @example
 * ```ts
 * import { conv3d, random, weightStandardize } from "voxgrad";
 *
 * const x = random.normal(random.key(0), { shape: [1, 2, 8, 8, 8] });
 * const w = random.normal(random.key(1), { shape: [4, 2, 3, 3, 3] });
 * const y = conv3d(x, weightStandardize(w), { padding: 1 });
 * ```
 */
export const weightStandardize: (w: Tensor, options?: { eps?: number }) => Tensor = computeInF32(
  (w, options = {}) => {
    checkOptions("weightStandardize", options, ["eps"]);
    checkInput("weightStandardize", w, 2);
    const filters = w.shape[0];
    const length = w.size / filters;
    check(length > 1, "weightStandardize", () => `a filter of ${show(w.shape)} has one value and no variance`);
    const eps = checkEps("weightStandardize", options.eps ?? 1e-12);
    // The norm divides by the population variance, which is this fraction of the unbiased one. A remainder of the
    // filter's mean would be multiplied by thousands of positive activations, so the mean is subtracted first.
    const share = (length - 1) / length;
    const affine = [scalar(Math.sqrt(share), "f32", [filters]), scalar(0, "f32", [filters])];
    const rows = reshape(w, { shape: [1, filters, length] });
    const attrs: GroupNormAttrs = { groups: filters, eps: eps * share, centered: true };
    return reshape(node(op, [rows, ...affine], attrs, rows.shape, "f32"), { shape: w.shape });
  },
);
