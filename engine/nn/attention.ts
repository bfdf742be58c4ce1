/** Layers of transformers: embedding, multi-head attention, attention within windows. */
import { check, checkOptions, refuseOptions, show } from "../core/errors.ts";
import { perAxis } from "../core/shape.ts";
import { Tensor } from "../core/tensor.ts";
import { tensor } from "../ops/elementwise/creation.ts";
import { equal } from "../ops/elementwise/elementwise.ts";
import { type AttentionOptions, scaledDotProductAttention } from "../ops/linear/attention.ts";
import { truncatedNormal } from "../ops/random/distributions.ts";
import { normal } from "../ops/random/draws.ts";
import { pad } from "../ops/shape/pad.ts";
import { select } from "../ops/shape/parts.ts";
import { reshape } from "../ops/shape/reshape.ts";
import { roll } from "../ops/shape/roll.ts";
import { slice } from "../ops/shape/slice.ts";
import { take } from "../ops/shape/take.ts";
import { transpose } from "../ops/shape/transpose.ts";
import { Parameter, xavierUniform, zerosParameter } from "./init.ts";
import type { Affine } from "./layers.ts";
import { linear } from "./linear.ts";

const small = (shape: readonly number[]): Parameter =>
  new Parameter(shape, (key) => truncatedNormal(key, { shape: [...shape], std: 0.02 }));
const smallLinear = (inputs: number, outputs: number): Affine<Parameter> => ({
  weight: small([outputs, inputs]),
  bias: zerosParameter([outputs]),
});

function checkHeads(name: string, heads: unknown, features: number): number {
  check(
    Number.isInteger(heads) && (heads as number) >= 1 && features % (heads as number) === 0,
    name,
    () => `heads divides the ${features} features, got ${show(heads)}`,
  );
  return heads as number;
}

/**
 * Parameters of an embedding as torch.nn.Embedding: weight [count, features], standard normal.
 *
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { embeddingParameters, initialize } from "voxgrad/nn";
 *
 * const params = initialize(random.key(1), embeddingParameters(10, 4));
 * params.weight.shape; // [10, 4]
 * ```
 */
export const embeddingParameters = (count: number, features: number): { weight: Parameter } => ({
  weight: new Parameter([count, features], (key, shape) => normal(key, { shape })),
});

/**
 * Rows of the weight by number, as torch.nn.functional.embedding. Numbers out of range are clamped.
 *
 * @param indices i32 or u32 [...]
 * @returns [..., features]
 * @example
 * ```ts
 * import { random, tensor } from "voxgrad";
 * import { embedding, embeddingParameters, initialize } from "voxgrad/nn";
 *
 * const params = initialize(random.key(1), embeddingParameters(10, 4));
 * const y = embedding(params, tensor([[1, 2, 9]], { dtype: "i32" })); // [1, 3, 4]
 * ```
 */
export function embedding(params: { weight: Tensor }, indices: Tensor, ...rest: never[]): Tensor {
  refuseOptions("embedding", rest);
  return take(params.weight, indices, { axis: 0 });
}

/** Parameters of multi-head attention, by torch.nn.MultiheadAttention's names. */
export type MultiHeadAttentionParameters<T = Tensor> = {
  /** [3 features, features]: of queries, keys and values. */
  readonly in_proj_weight: T;
  readonly in_proj_bias: T;
  readonly out_proj: Affine<T>;
};

/**
 * Parameters of multi-head attention as torch.nn.MultiheadAttention: Glorot's uniform weights (of
 * deviation 0.02 after the heads), bias 0.
 *
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { initialize, multiHeadAttentionParameters } from "voxgrad/nn";
 *
 * const params = initialize(random.key(1), multiHeadAttentionParameters(8));
 * params.in_proj_weight.shape; // [24, 8]
 * ```
 */
export const multiHeadAttentionParameters = (features: number): MultiHeadAttentionParameters<Parameter> => ({
  in_proj_weight: new Parameter([3 * features, features], (key, shape) => xavierUniform(key, { shape })),
  in_proj_bias: zerosParameter([3 * features]),
  out_proj: smallLinear(features, features),
});

/** Swaps the axes before the last. */
const swapped = (x: Tensor): Tensor =>
  transpose(x, { axes: [...x.shape.keys()].map((k) => (k === x.rank - 3 ? k + 1 : k === x.rank - 2 ? k - 1 : k)) });

/** Heads as an axis before the length: [..., length, heads * width] -> [..., heads, length, width]. */
function split(x: Tensor, heads: number): Tensor {
  const features = x.shape.at(-1)!;
  return swapped(reshape(x, { shape: [...x.shape.slice(0, -1), heads, features / heads] }));
}
/** The inverse of `split`. */
function merge(x: Tensor): Tensor {
  const y = swapped(x);
  return reshape(y, { shape: [...y.shape.slice(0, -2), y.shape.at(-2)! * y.shape.at(-1)!] });
}

/**
 * Multi-head attention (Vaswani et al., "Attention is all you need", 2017) as torch.nn.MultiheadAttention with
 * batch_first, by `scaledDotProductAttention`.
 *
 * @param query [..., queries, features]
 * @param key [..., keys, features]
 * @param value [..., keys, features]
 * @param options.heads divides the features
 * @param options.mask broadcasts to [..., heads, queries, keys]: bool, true where a key takes part (PyTorch's attn_mask
 *   is the opposite), or added to the logits
 * @returns [..., queries, features]
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { initialize, multiHeadAttention, multiHeadAttentionParameters } from "voxgrad/nn";
 *
 * const params = initialize(random.key(1), multiHeadAttentionParameters(8));
 * const x = random.normal(random.key(2), { shape: [2, 5, 8] });
 * const y = multiHeadAttention(params, x, x, x, { heads: 2, causal: true }); // [2, 5, 8]
 * ```
 */
export function multiHeadAttention(
  params: MultiHeadAttentionParameters,
  query: Tensor,
  key: Tensor,
  value: Tensor,
  options: { heads: number } & Pick<AttentionOptions, "mask" | "bias" | "causal">,
): Tensor {
  const name = "multiHeadAttention";
  checkOptions(name, options, ["heads", "mask", "bias", "causal"]);
  const { heads, ...rest } = options;
  const features = params.out_proj.weight.shape[0];
  checkHeads(name, heads, features);
  const [q, k, v] = [query, key, value].map((x, j) => {
    const [start, end] = [[j * features], [(j + 1) * features]];
    const own = {
      weight: slice(params.in_proj_weight, { start, end }),
      bias: slice(params.in_proj_bias, { start, end }),
    };
    return split(linear(own, x), heads);
  });
  return linear(params.out_proj, merge(scaledDotProductAttention(q, k, v, rest)));
}

/** Parameters of attention within windows, by the names of Swin's published code and MONAI's. */
export type WindowAttentionParameters<T = Tensor> = {
  /** [offsets of two places in a window, heads]. */
  readonly relative_position_bias_table: T;
  readonly qkv: Affine<T>;
  readonly proj: Affine<T>;
};

export interface WindowAttentionOptions {
  heads: number;
  /** Sides of a window: one number, or one per axis of space. */
  window: number | readonly number[];
  /** The windows are moved by this much, and wrap around; default: 0. */
  shift?: number | readonly number[];
}

/**
 * Parameters of attention within windows: truncated normal weights of deviation 0.02, bias 0.
 *
 * @param options.window sides of a window, one per axis of space
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { initialize, windowAttentionParameters } from "voxgrad/nn";
 *
 * const params = initialize(random.key(1), windowAttentionParameters(8, { heads: 2, window: [3, 3, 3] }));
 * params.relative_position_bias_table.shape; // [125, 2]
 * ```
 */
export function windowAttentionParameters(
  features: number,
  options: { heads: number; window: readonly number[] },
): WindowAttentionParameters<Parameter> {
  const name = "windowAttentionParameters";
  checkOptions(name, options, ["heads", "window"]);
  const heads = checkHeads(name, options.heads, features);
  return {
    relative_position_bias_table: small([options.window.reduce((n, w) => n * (2 * w - 1), 1), heads]),
    qkv: smallLinear(features, 3 * features),
    proj: smallLinear(features, features),
  };
}

const product = (list: readonly number[]): number => list.reduce((a, b) => a * b, 1);

/** Coordinates of the places of a box, row by row. */
function places(box: readonly number[]): number[][] {
  return Array.from({ length: product(box) }, (_, i) => {
    const at: number[] = [];
    for (let axis = box.length - 1, rest = i; axis >= 0; rest = Math.floor(rest / box[axis--])) {
      at.unshift(rest % box[axis]);
    }
    return at;
  });
}

/**
 * Rows of the bias table for the first `count` places of a window. A smaller window than the parameters' takes the
 * first rows and columns of theirs, as in MONAI.
 */
function biasIndex(window: readonly number[], count: number): Int32Array {
  const at = places(window).slice(0, count);
  return Int32Array.from(
    at.flatMap((a) => at.map((b) => window.reduce((row, w, axis) => row * (2 * w - 1) + a[axis] - b[axis] + w - 1, 0))),
  );
}

/** The part of the wrapped space that each place of each window lies in, [windows, places]. */
function parts(space: readonly number[], window: readonly number[], shift: readonly number[]): Int32Array {
  const part = (x: number, axis: number): number =>
    shift[axis] === 0 || x < space[axis] - window[axis] ? 0 : x < space[axis] - shift[axis] ? 1 : 2;
  const inside = places(window);
  return Int32Array.from(
    places(space.map((n, axis) => n / window[axis])).flatMap((tile) =>
      inside.map((at) => at.reduce((id, x, axis) => id * 3 + part(tile[axis] * window[axis] + x, axis), 0))
    ),
  );
}

/** [N, ...space, C] as windows [N, windows, places, C], or back. */
function windows(x: Tensor, space: readonly number[], window: readonly number[], back: boolean): Tensor {
  const [n, c, d] = [x.shape[0], x.shape.at(-1)!, space.length];
  const tiles = space.map((size, axis) => size / window[axis]);
  const axes = space.map((_, k) => k);
  if (back) {
    const y = reshape(x, { shape: [n, ...tiles, ...window, c] });
    const order = [0, ...axes.flatMap((k) => [1 + k, 1 + d + k]), 1 + 2 * d];
    return reshape(transpose(y, { axes: order }), { shape: [n, ...space, c] });
  }
  const y = reshape(x, { shape: [n, ...axes.flatMap((k) => [tiles[k], window[k]]), c] });
  const order = [0, ...axes.map((k) => 1 + 2 * k), ...axes.map((k) => 2 + 2 * k), 1 + 2 * d];
  return reshape(transpose(y, { axes: order }), { shape: [n, product(tiles), product(window), c] });
}

/**
 * Self-attention within windows of 2D or 3D space with a learned bias by relative position (Liu et al., "Swin
 * Transformer", 2021). With a shift, windows wrap around the ends of space, and places that wrapped do not see those
 * that did not. Space is padded by zeros to whole windows; an axis that is no longer than its window is one window
 * without a shift, as in MONAI.
 *
 * @param x [N, ...space, features]
 * @returns [N, ...space, features]
 * @throws VoxgradError for windows and shifts that do not fit space
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { initialize, windowAttention, windowAttentionParameters } from "voxgrad/nn";
 *
 * const params = initialize(random.key(1), windowAttentionParameters(8, { heads: 2, window: [3, 3, 3] }));
 * const x = random.normal(random.key(2), { shape: [1, 6, 7, 9, 8] });
 * const y = windowAttention(params, x, { heads: 2, window: 3, shift: 1 }); // [1, 6, 7, 9, 8]
 * ```
 */
export function windowAttention(
  params: WindowAttentionParameters,
  x: Tensor,
  options: WindowAttentionOptions,
): Tensor {
  const name = "windowAttention";
  checkOptions(name, options, ["heads", "window", "shift"]);
  check(
    x instanceof Tensor && (x.rank === 4 || x.rank === 5),
    name,
    () => `the input is [N, H, W, C] or [N, D, H, W, C], got ${show(x)}`,
  );
  const space = x.shape.slice(1, -1);
  const heads = checkHeads(name, options.heads, x.shape.at(-1)!);
  const full = perAxis(name, "window", options.window, space.length, 1);
  const shifts = perAxis(name, "shift", options.shift ?? 0, space.length, 0);
  const table = params.relative_position_bias_table;
  check(
    table.shape[0] === full.reduce((n, w) => n * (2 * w - 1), 1) && shifts.every((s, axis) => s < full[axis]),
    name,
    () =>
      `windows ${show(full)} with shifts less than that fit the table of ${table.shape[0]} rows, got ${show(shifts)}`,
  );
  const window = full.map((w, axis) => Math.min(w, space[axis]));
  const shift = shifts.map((s, axis) => (space[axis] <= full[axis] ? 0 : s));
  const padded = space.map((n, axis) => Math.ceil(n / window[axis]) * window[axis]);
  const axes = space.map((_, axis) => axis + 1);
  const moved = shift.some((s) => s > 0);
  const whole = pad(x, { after: [0, ...padded.map((n, axis) => n - space[axis]), 0] });
  const tiles = windows(moved ? roll(whole, { shift: shift.map((s) => -s), axes }) : whole, padded, window, false);
  const count = product(window);
  const all = linear(params.qkv, tiles);
  const [q, k, v] = [0, 1, 2].map((part) => {
    const own = select(reshape(all, { shape: [...all.shape.slice(0, -1), 3, x.shape.at(-1)!] }), {
      axis: -2,
      index: part,
    });
    return split(own, heads);
  });
  const index = tensor(biasIndex(full, count), { shape: [count, count] });
  const bias = transpose(take(table, index, { axis: 0 }), { axes: [2, 0, 1] });
  const ids = tensor(parts(padded, window, shift), { shape: [product(padded) / count, 1, count] });
  const mask = equal(
    reshape(ids, { shape: [ids.shape[0], 1, count, 1] }),
    reshape(ids, { shape: [ids.shape[0], 1, 1, count] }),
  );
  const y = linear(params.proj, merge(scaledDotProductAttention(q, k, v, moved ? { bias, mask } : { bias })));
  const back = windows(y, padded, window, true);
  return slice(moved ? roll(back, { shift, axes }) : back, { end: [x.shape[0], ...space] });
}
