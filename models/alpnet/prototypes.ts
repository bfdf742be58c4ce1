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
  where,
} from "../../engine/mod.ts";
import { checkFrames, pixelCenters, placedMatching, wholeFrames, windowCenters, within } from "./place.ts";
import type { PlaceOptions } from "./place.ts";

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
   * "gridconv+" has local prototypes only if the class contains some square with this edge in pixels, or some rectangle
   * with these two. The official code requires 4, whatever the window; default: not required.
   */
  readonly probe?: number | readonly [number, number];
  /**
   * What places are relative to: f32 [S, 4], the top, left, height and width of a box in each image, in pixels of the
   * feature map; default: the whole map.
   */
  readonly frames?: Tensor;
}

/** Candidate vectors of a class, and which of them are used. */
export interface Prototypes {
  /** f32 [K, C]: those of the windows first. */
  readonly vectors: Tensor;
  /** bool [K], true at least once. */
  readonly used: Tensor;
  /** How many of them are windows. */
  readonly windows: number;
  /**
   * f32 [K, 2]: where they are, down and across: 0 to 1 within the frame. The middle of a window; of a class-level
   * vector the centroid of the mask.
   */
  readonly places: Tensor;
}

/** Minimum length of a vector, and added mass of a mask, both as in the official code. */
const LEAST_LENGTH = 1e-4;
const LEAST_MASS = 1e-5;

const KEYS = ["mode", "window", "threshold", "inclusive", "probe", "frames"];
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
  const probed = typeof probe === "number" ? [probe, probe] : probe;
  check(
    probed === undefined || (Array.isArray(probed) && probed.length === 2 && probed.every(isWhole)),
    name,
    () => `probe is an integer >= 1 or two, got ${show(probe)}`,
  );

  const x = support.cast("f32");
  const weight = reshape(mask.cast("f32"), { shape: [shots, 1, h, w] });
  const mass = sum(weight, { axes: [2, 3] });
  const global = sum(x.mul(weight), { axes: [2, 3] }).div(mass.add(LEAST_MASS));
  const present = greater(mass, 0);
  const count = sum(present.cast("f32"));
  const central = shots === 1 ? global : sum(global, { axes: [0], keepDims: true }).div(maximum(count, 1));
  const { frames = wholeFrames(shots, [h, w]) } = options;
  checkFrames(name, frames, shots);
  const centroids = within(
    frames,
    concat(
      pixelCenters([h, w]).map((at) =>
        sum(weight.mul(at), { axes: [1, 2, 3] }).div(mass.add(LEAST_MASS).reshape({ shape: [shots] })).reshape({
          shape: [shots, 1, 1],
        })
      ),
      { axis: 2 },
    ),
  ).reshape({ shape: [shots, 2] });
  const middle = shots === 1
    ? centroids
    : sum(where(present, centroids, 0), { axes: [0], keepDims: true }).div(maximum(count, 1));
  if (mode === "mask") return { vectors: central, used: ones([1], { dtype: "bool" }), windows: 0, places: middle };

  const sides = sidesOf(name, window, [h, w]);
  const local = windowSums(x, sides).div(sides[0] * sides[1]);
  const windows = local.size / channels;
  const vectors = reshape(transpose(local, { axes: [0, 2, 3, 1] }), { shape: [windows, channels] });
  const reaches = inclusive ? greaterEqual : greater;
  const inside = reshape(reaches(windowSums(weight, sides), threshold * sides[0] * sides[1]), { shape: [windows] });
  const places = within(frames, windowCenters(sides, [h, w])).reshape({ shape: [windows, 2] });
  if (mode === "gridconv") {
    const none = equal(max(inside.cast("f32"), { keepDims: true }), 0);
    return {
      vectors: concat([vectors, central], { axis: 0 }),
      used: concat([inside, none], { axis: 0 }),
      windows,
      places: concat([places, middle], { axis: 0 }),
    };
  }
  const rich = probed && holds(weight, [Math.min(probed[0], h), Math.min(probed[1], w)], threshold);
  const allowed = (flags: Tensor): Tensor => (rich ? logicalAnd(flags, rich) : flags);
  // The only image's class-level prototype is also the central one.
  if (shots === 1) {
    return {
      vectors: concat([vectors, global], { axis: 0 }),
      used: concat([allowed(inside), ones([1], { dtype: "bool" })], { axis: 0 }),
      windows,
      places: concat([places, centroids], { axis: 0 }),
    };
  }
  const any = reshape(allowed(greater(count, 0)), { shape: [1] });
  return {
    vectors: concat([vectors, global, central], { axis: 0 }),
    used: concat([allowed(inside), allowed(reshape(present, { shape: [shots] })), logicalNot(any)], { axis: 0 }),
    windows,
    places: concat([places, centroids, middle], { axis: 0 }),
  };
}

/** Whether some rectangle of a mask [S, 1, H, W] reaches the threshold, as a bool scalar. */
const holds = (mask: Tensor, sides: readonly [number, number], threshold: number): Tensor =>
  greaterEqual(max(windowSums(mask, sides)), threshold * sides[0] * sides[1]);

export interface SimilarityOptions {
  /** alpha of Eq. 4; default 20. */
  readonly temperature?: number;
  /** Makes prototypes count by where they are; default: not. See `placedMatching`. */
  readonly place?: PlaceOptions;
}

/**
 * Similarity of each pixel to a class (Eqs. 4 and 5): S_k = temperature * cosine with prototype k, and the sum over the
 * class's prototypes of S_k softmax_k(S_k). With `place` the cosine of a prototype that lies elsewhere is lowered.
 *
 * @param query features [N, C, H, W]
 * @returns f32 [N, H, W], from -temperature to temperature; with `place` down to -temperature (1 + weight)
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
export function similarity(query: Tensor, found: Prototypes, options: SimilarityOptions = {}): Tensor {
  const name = "alpnet.similarity";
  const { vectors, used } = found;
  checkOptions(name, options, ["temperature", "place"]);
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
  const { temperature = 20, place } = options;
  check(Number.isFinite(temperature), name, () => `temperature is a number, got ${show(temperature)}`);
  if (place) return placedMatching(query.cast("f32"), found, { ...place, temperature, least: LEAST_LENGTH });
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
