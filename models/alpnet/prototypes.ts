/**
 * Adaptive local prototypes (Ouyang et al., "Self-supervision with superpixels: training few-shot medical image
 * segmentation without annotation", 2020, section 3.2): vectors that represent a class, pooled from the features of
 * labeled images, and the similarity of another image's features to them.
 *
 * The number of windows in a class depends on the data. All windows are kept, each with a flag, so that shapes are
 * static and nothing is read back.
 */
import {
  check,
  checkOptions,
  concat,
  cosineMatching,
  equal,
  greater,
  greaterEqual,
  logicalAnd,
  logicalNot,
  max,
  maximum,
  ones,
  reshape,
  show,
  slice,
  sum,
  Tensor,
  transpose,
} from "../../engine/mod.ts";
/**
 * Which vectors represent a class: "mask", the mean of its features (PANet, Wang et al. 2019); "gridconv", the means of
 * the windows that lie in it; "gridconv+", both.
 */
export type PrototypeMode = "mask" | "gridconv" | "gridconv+";

export interface PrototypeOptions {
  /** Default "gridconv+". */
  readonly mode?: PrototypeMode;
  /**
   * Pooling window (L_H, L_W) in pixels of the feature map; default 4, as in the paper's training; it tests with 2.
   * Remainders at the ends of the axes are ignored.
   */
  readonly window?: number | readonly [number, number];
  /** T of Eq. 2: a window belongs to the class if more than this fraction of it does; default 0.95. */
  readonly threshold?: number;
  /** Whether a fraction equal to the threshold is enough, as in Eq. 2; default false, as in the official code. */
  readonly inclusive?: boolean;
  /**
   * "gridconv+" has local prototypes only if the class contains a square with this edge in pixels. The official code
   * requires 4, whatever the window; default: not required.
   */
  readonly probe?: number;
}

/** Candidate vectors of a class, and which of them are used. */
export interface Prototypes {
  /** f32 [K, C]. */
  readonly vectors: Tensor;
  /** bool [K], true at least once. */
  readonly used: Tensor;
}

/** Minimum length of a vector, and added mass of a mask, both as in the official code. */
const LEAST_LENGTH = 1e-4;
const LEAST_MASS = 1e-5;

const KEYS = ["mode", "window", "threshold", "inclusive", "probe"];
const isWhole = (n: unknown): boolean => Number.isInteger(n) && (n as number) >= 1;

/** The window's two sides, which must fit into [height, width]. */
function sidesOf(name: string, window: PrototypeOptions["window"], space: readonly number[]): [number, number] {
  const sides = typeof window === "number" ? [window, window] : window;
  check(
    Array.isArray(sides) && sides.length === 2 && sides.every((n, k) => isWhole(n) && n <= space[k]),
    name,
    () => `window is an integer or two, at least 1 and at most the feature map's ${show(space)}, got ${show(window)}`,
  );
  return sides as [number, number];
}

/** Sums over non-overlapping windows, x [N, C, H, W] to [N, C, rows, columns]; exact for masks of 0 and 1. */
function windowSums(x: Tensor, [height, width]: readonly [number, number]): Tensor {
  const [n, c, h, w] = x.shape as [number, number, number, number];
  const [rows, columns] = [Math.floor(h / height), Math.floor(w / width)];
  const whole = slice(x, { end: [n, c, rows * height, columns * width] });
  return sum(reshape(whole, { shape: [n, c, rows, height, columns, width] }), { axes: [3, 5] });
}

/**
 * The prototypes of one class from S labeled images (Eqs. 1 to 3). A local prototype is the mean of the features in a
 * window; it counts if more than the threshold of the window lies in the class. The class-level prototype of an image
 * is the mean of its features weighted by the mask. "mask" has one vector, the mean over the images; "gridconv+" has
 * the local ones of all images and the class-level one of each. Images without the class are ignored.
 *
 * If no window lies in the class, "gridconv" falls back to the vector of "mask"; the official code fails there, and
 * skips the episode in training. Without any pixel of the class the vector is 0, with similarity 0 to everything.
 *
 * @param support features [S, C, H, W]
 * @param mask fraction of each pixel in the class, [S, H, W] in [0, 1]
 * @throws VoxgradError for inconsistent shapes, a window that does not fit, or an option out of range
 * @example
 * ```ts
 * import { ones, random } from "voxgrad";
 * import { alpnet } from "voxgrad/models";
 *
 * const features = random.normal(random.key(0), { shape: [1, 16, 8, 8] });
 * const { vectors, used } = alpnet.prototypes(features, ones([1, 8, 8]), { mode: "gridconv", window: 2 });
 * ```
 */
export function prototypes(support: Tensor, mask: Tensor, options: PrototypeOptions = {}): Prototypes {
  return prototypesFor("alpnet.prototypes", support, mask, options);
}

function prototypesFor(name: string, support: Tensor, mask: Tensor, options: PrototypeOptions): Prototypes {
  check(
    support instanceof Tensor && support.rank === 4 && support.size > 0,
    name,
    () => `support features are [S, C, H, W], got ${show(support)}`,
  );
  const [shots, channels, h, w] = support.shape as [number, number, number, number];
  check(
    mask instanceof Tensor && String(mask.shape) === String([shots, h, w]),
    name,
    () => `the mask is [${shots}, ${h}, ${w}] as the support features, got ${show(mask)}`,
  );
  checkOptions(name, options, KEYS);
  const { mode = "gridconv+", window = 4, threshold = 0.95, inclusive = false, probe } = options;
  check(
    ["mask", "gridconv", "gridconv+"].includes(mode),
    name,
    () => `mode is "mask", "gridconv" or "gridconv+", got ${show(mode)}`,
  );
  check(threshold >= 0 && threshold <= 1, name, () => `threshold is a number from 0 to 1, got ${show(threshold)}`);
  check(probe === undefined || isWhole(probe), name, () => `probe is an integer >= 1, got ${show(probe)}`);

  const x = support.cast("f32");
  const weight = reshape(mask.cast("f32"), { shape: [shots, 1, h, w] });
  const mass = sum(weight, { axes: [2, 3] });
  const global = sum(x.mul(weight), { axes: [2, 3] }).div(mass.add(LEAST_MASS));
  const present = greater(mass, 0);
  const count = sum(present.cast("f32"));
  const central = shots === 1 ? global : sum(global, { axes: [0], keepDims: true }).div(maximum(count, 1));
  if (mode === "mask") return { vectors: central, used: ones([1], { dtype: "bool" }) };

  const sides = sidesOf(name, window, [h, w]);
  const local = windowSums(x, sides).div(sides[0] * sides[1]);
  const windows = local.size / channels;
  const vectors = reshape(transpose(local, { axes: [0, 2, 3, 1] }), { shape: [windows, channels] });
  const reaches = inclusive ? greaterEqual : greater;
  const inside = reshape(reaches(windowSums(weight, sides), threshold * sides[0] * sides[1]), { shape: [windows] });
  if (mode === "gridconv") {
    const none = equal(max(inside.cast("f32"), { keepDims: true }), 0);
    return { vectors: concat([vectors, central], { axis: 0 }), used: concat([inside, none], { axis: 0 }) };
  }
  const rich = probe === undefined ? null : holdsSquare(weight, Math.min(probe, h, w), threshold);
  const allowed = (flags: Tensor): Tensor => (rich ? logicalAnd(flags, rich) : flags);
  // The only image's class-level prototype is also the central one.
  if (shots === 1) {
    return {
      vectors: concat([vectors, global], { axis: 0 }),
      used: concat([allowed(inside), ones([1], { dtype: "bool" })], { axis: 0 }),
    };
  }
  const any = reshape(allowed(greater(count, 0)), { shape: [1] });
  return {
    vectors: concat([vectors, global, central], { axis: 0 }),
    used: concat([allowed(inside), allowed(reshape(present, { shape: [shots] })), logicalNot(any)], { axis: 0 }),
  };
}

/** Whether some square of a mask reaches the threshold [S, 1, H, W], as a bool scalar. */
const holdsSquare = (mask: Tensor, side: number, threshold: number): Tensor =>
  greaterEqual(max(windowSums(mask, [side, side])), threshold * side * side);

/**
 * Similarity of each pixel to a class (Eqs. 4 and 5): S_k = temperature * cosine with prototype k, and the sum over the
 * class's prototypes of S_k softmax_k(S_k).
 *
 * @param query features [N, C, H, W]
 * @param options.temperature alpha of Eq. 4; default 20
 * @returns f32 [N, H, W], from -temperature to temperature
 * @throws VoxgradError for other shapes, or a temperature that is not a number
 * @example
 * ```ts
 * import { ones, random } from "voxgrad";
 * import { alpnet } from "voxgrad/models";
 *
 * const features = random.normal(random.key(0), { shape: [1, 16, 8, 8] });
 * const score = alpnet.similarity(features, alpnet.prototypes(features, ones([1, 8, 8]))); // [1, 8, 8]
 * ```
 */
export function similarity(
  query: Tensor,
  { vectors, used }: Prototypes,
  options: { readonly temperature?: number } = {},
): Tensor {
  const name = "alpnet.similarity";
  check(
    query instanceof Tensor && query.rank === 4 && query.size > 0,
    name,
    () => `query features are [N, C, H, W], got ${show(query)}`,
  );
  const channels = query.shape[1];
  check(
    vectors.shape[1] === channels,
    name,
    () => `query features and prototypes have as many channels, got ${channels} and ${vectors.shape[1]}`,
  );
  const { temperature = 20 } = options;
  check(Number.isFinite(temperature), name, () => `temperature is a number, got ${show(temperature)}`);
  return cosineMatching(query.cast("f32"), vectors, used, { temperature, eps: LEAST_LENGTH });
}

export interface PrototypeSimilarityOptions extends PrototypeOptions {
  /** alpha of Eq. 4; default 20. */
  readonly temperature?: number;
}

/**
 * Similarity of each pixel of a query to one class of one labeled image: `prototypes` and `similarity` in one call, the
 * "ALP module" of the official code.
 *
 * @param query features [C, H, W]
 * @param support features [C, h, w]
 * @param mask fraction of each support pixel in the class, [h, w] in [0, 1]
 * @returns f32 [H, W]
 * @throws VoxgradError for inconsistent shapes, a window that does not fit, or an option out of range
 * @example
 * ```ts
 * import { ones, random } from "voxgrad";
 * import { alpnet } from "voxgrad/models";
 *
 * const [query, support] = random.split(random.key(0)).map((key) => random.normal(key, { shape: [16, 8, 8] }));
 * // [8, 8]
 * const score = alpnet.prototypeSimilarity(query, support, ones([8, 8]), { mode: "gridconv+", window: [2, 2] });
 * ```
 */
export function prototypeSimilarity(
  query: Tensor,
  support: Tensor,
  mask: Tensor,
  options: PrototypeSimilarityOptions = {},
): Tensor {
  const name = "alpnet.prototypeSimilarity";
  const { temperature, ...own } = options;
  const checkFeatures = (what: string, x: unknown, axes: readonly string[]): void =>
    check(
      x instanceof Tensor && x.rank === axes.length,
      name,
      () => `the ${what} is [${axes.join(", ")}], got ${show(x)}`,
    );
  checkFeatures("query", query, ["C", "H", "W"]);
  checkFeatures("support", support, ["C", "H", "W"]);
  checkFeatures("mask", mask, ["H", "W"]);
  const one = (x: Tensor): Tensor => reshape(x, { shape: [1, ...x.shape] });
  const found = prototypesFor(name, one(support), one(mask), own);
  const like = similarity(one(query), found, temperature === undefined ? {} : { temperature });
  return reshape(like, { shape: query.shape.slice(1) });
}
