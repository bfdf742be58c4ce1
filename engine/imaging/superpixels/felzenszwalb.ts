/**
 * Superpixels by Felzenszwalb and Huttenlocher (Efficient Graph-Based Image Segmentation, IJCV 2004), with the same
 * partition as scikit-image 0.19.3, and supervoxels, which scikit-image lacks: float64 on the CPU.
 */
import { check, checkOptions, show } from "../../core/errors.ts";
import { Tensor } from "../../core/tensor.ts";
import { tensor } from "../../ops/mod.ts";
import { sortTogether } from "./sort_together.ts";

export interface FelzenszwalbOptions {
  /** Larger values give larger segments; divided by 255 inside, as scikit-image does. Default 1. */
  readonly scale?: number;
  /**
   * Standard deviation, in pixels, of the Gaussian that smooths the image first; default 0.8, 0 for none. One number,
   * or one per axis for anisotropic scans.
   */
  readonly sigma?: number | readonly number[];
  /** Segments of fewer pixels are merged into a neighbor; default 20. */
  readonly minSize?: number;
}

/**
 * Segments of a gray image or volume: pixels are joined along the edges of least difference, to their 8 neighbors, or
 * 26 in a volume, while the difference is below the internal difference of both segments plus scale / (255 * size).
 * Values are not rescaled, as in scikit-image for float images. Segments are numbered from 0 by their first pixel, row
 * by row. Segmenting a volume takes about 160 bytes of memory per voxel.
 *
 * @param image tensor [H, W] or [D, H, W], or its values row by row together with `shape`
 * @returns labels: a promise of an i32 tensor for a tensor, an Int32Array for an array
 * @throws VoxgradError for another rank, an option out of range, or values that are not finite
 * @example
 * ```ts
 * import { felzenszwalb, random } from "voxgrad";
 *
 * const slice = random.uniform(random.key(0), { shape: [32, 32] });
 * const labels = await felzenszwalb(slice, { scale: 100, minSize: 20 }); // i32 [32, 32]
 * ```
 */
export function felzenszwalb(image: Tensor, options?: FelzenszwalbOptions): Promise<Tensor>;
export function felzenszwalb(
  image: ArrayLike<number>,
  options: FelzenszwalbOptions & { shape: readonly number[] },
): Int32Array<ArrayBuffer>;
export function felzenszwalb(
  image: Tensor | ArrayLike<number>,
  options: FelzenszwalbOptions & { shape?: readonly number[] } = {},
): Promise<Tensor> | Int32Array<ArrayBuffer> {
  checkOptions("felzenszwalb", options, ["scale", "sigma", "minSize", "shape"]);
  if (!(image instanceof Tensor)) return segment(image, options.shape ?? [], options);
  const { shape } = image;
  checkShape(shape);
  return image.data().then((data) => tensor(segment(data, shape, options), { shape: [...shape] }));
}

// An edge is encoded by its pixel and its direction, in 31 bits.
const MOST_PIXELS = 2 ** 27;

function checkShape(shape: readonly number[]): void {
  check(
    (shape.length === 2 || shape.length === 3) && shape.every((n) => Number.isInteger(n) && n > 0),
    "felzenszwalb",
    () => `an image has the shape [height, width], a volume [depth, height, width], got ${show(shape)}`,
  );
  const count = shape.reduce((a, b) => a * b, 1);
  check(
    count <= MOST_PIXELS,
    "felzenszwalb",
    () => `${show(shape)} has more than ${MOST_PIXELS} pixels; cut it in parts`,
  );
}

function segment(
  image: ArrayLike<number>,
  shape: readonly number[],
  options: FelzenszwalbOptions,
): Int32Array<ArrayBuffer> {
  const { scale = 1, minSize = 20 } = options;
  checkShape(shape);
  const [depth, height, width] = (shape.length === 3 ? shape : [1, ...shape]) as [number, number, number];
  const count = depth * height * width;
  check(image.length === count, "felzenszwalb", () => `got ${image.length} values for ${show(shape)}`);
  for (const [name, value] of Object.entries({ scale, minSize })) {
    check(value >= 0 && value < Infinity, "felzenszwalb", () => `${name} is a number from 0 on, got ${show(value)}`);
  }
  const { sigma: given = 0.8 } = options;
  const sigma = typeof given === "number" ? shape.map(() => given) : given;
  check(
    Array.isArray(sigma) && sigma.length === shape.length && sigma.every((s) => s >= 0 && s < Infinity),
    "felzenszwalb",
    () => `sigma is a number from 0 on, or ${shape.length} of them, got ${show(given)}`,
  );
  const smooth = Float64Array.from(image);
  check(smooth.every(Number.isFinite), "felzenszwalb", () => "the image holds NaN or infinity; replace them");
  shape.forEach((_, axis) => {
    if (sigma[axis] > 1e-15) blur(smooth, { shape, axis, sigma: sigma[axis] });
  });
  const { costs, ends } = edges(smooth, [depth, height, width]);
  sortTogether(costs, ends);

  // A segment is identified by its first pixel. Its internal difference is float32, as in scikit-image.
  const parent = Int32Array.from(smooth, (_, pixel) => pixel);
  const size = new Int32Array(smooth.length).fill(1);
  const inside = new Float64Array(smooth.length);
  const root = (pixel: number): number => {
    while (parent[pixel] !== pixel) pixel = parent[pixel] = parent[parent[pixel]];
    return pixel;
  };
  const join = (a: number, b: number): number => {
    const [first, second] = a < b ? [a, b] : [b, a];
    parent[second] = first;
    size[first] += size[second];
    return first;
  };
  const offsets = STEPS.map(({ z, y, x }) => (z * height + y) * width + x);
  const perPixel = scale / 255;
  let left = 0; // edges between segments that were not merged
  for (let k = 0; k < ends.length; k++) {
    const edge = ends[k];
    const a = root(edge >> 4);
    const b = root((edge >> 4) + offsets[edge & 15]);
    if (a === b) continue;
    const cost = costs[k];
    const most = Math.min(Math.fround(inside[a] + perPixel / size[a]), Math.fround(inside[b] + perPixel / size[b]));
    if (cost < most) inside[join(a, b)] = cost;
    else ends[left++] = edge;
  }
  for (let k = 0; k < left; k++) {
    const edge = ends[k];
    const a = root(edge >> 4);
    const b = root((edge >> 4) + offsets[edge & 15]);
    if (a !== b && (size[a] < minSize || size[b] < minSize)) join(a, b);
  }
  const labels = new Int32Array(smooth.length);
  let segments = 0;
  for (let pixel = 0; pixel < labels.length; pixel++) {
    const first = root(pixel);
    labels[pixel] = first === pixel ? segments++ : labels[first];
  }
  return labels;
}

interface Step {
  readonly z: number;
  readonly y: number;
  readonly x: number;
}

/**
 * From a pixel to the other end of its edges: to the right, down, down and right, up and right, in the order of
 * scikit-image; then to the nine of the next slice.
 */
const STEPS: readonly Step[] = [
  { z: 0, y: 0, x: 1 },
  { z: 0, y: 1, x: 0 },
  { z: 0, y: 1, x: 1 },
  { z: 0, y: -1, x: 1 },
  ...Array.from({ length: 9 }, (_, k) => ({ z: 1, y: Math.floor(k / 3) - 1, x: (k % 3) - 1 })),
];

/** Differences along all edges, one direction after the other, and each edge as 16 * pixel + direction. */
function edges(image: Float64Array, [depth, height, width]: readonly [number, number, number]) {
  const along = (n: number, step: number): number => n - Math.abs(step);
  const count = STEPS.reduce((sum, { z, y, x }) => sum + along(depth, z) * along(height, y) * along(width, x), 0);
  const [costs, ends] = [new Float64Array(count), new Int32Array(count)];
  let edge = 0;
  for (const [direction, step] of STEPS.entries()) {
    const offset = (step.z * height + step.y) * width + step.x;
    const [top, bottom] = [Math.max(0, -step.y), height - Math.max(0, step.y)];
    const [left, right] = [Math.max(0, -step.x), width - Math.max(0, step.x)];
    for (let z = 0; z < depth - step.z; z++) {
      for (let y = top; y < bottom; y++) {
        for (let x = left; x < right; x++) {
          const pixel = (z * height + y) * width + x;
          costs[edge] = Math.abs(image[pixel + offset] - image[pixel]);
          ends[edge++] = 16 * pixel + direction;
        }
      }
    }
  }
  return { costs, ends };
}

/** In-place Gaussian smoothing along one axis, truncated at 4 sigma, mirrored at the borders (d c b a | a b c d). */
function blur(image: Float64Array, options: { shape: readonly number[]; axis: number; sigma: number }): void {
  const { shape, axis, sigma } = options;
  const radius = Math.floor(4 * sigma + 0.5);
  const weights = Float64Array.from(
    { length: 2 * radius + 1 },
    (_, k) => Math.exp((-0.5 / (sigma * sigma)) * (k - radius) ** 2),
  );
  const total = pairwiseSum(weights);
  weights.forEach((weight, k) => (weights[k] = weight / total));
  const length = shape[axis];
  const step = shape.slice(axis + 1).reduce((a, b) => a * b, 1);
  const line = new Float64Array(length + 2 * radius);
  for (let outer = 0; outer < image.length; outer += length * step) {
    for (let start = outer; start < outer + step; start++) {
      for (let k = 0; k < length + 2 * radius; k++) {
        // The pattern repeats every 2 * length.
        let at = (((k - radius) % (2 * length)) + 2 * length) % (2 * length);
        if (at >= length) at = 2 * length - 1 - at;
        line[k] = image[start + at * step];
      }
      for (let k = 0; k < length; k++) {
        let sum = line[k + radius] * weights[radius];
        for (let j = 0; j < radius; j++) sum += (line[k + j] + line[k + 2 * radius - j]) * weights[j];
        image[start + k * step] = sum;
      }
    }
  }
}

/** Eight partial sums, as NumPy sums up to 128 numbers, so that the weights match to the last bit. */
function pairwiseSum(values: Float64Array): number {
  const whole = values.length - (values.length % 8);
  if (whole === 0 || values.length > 128) return values.reduce((a, b) => a + b, 0);
  const r = values.slice(0, 8);
  for (let k = 8; k < whole; k++) r[k % 8] += values[k];
  let sum = r[0] + r[1] + (r[2] + r[3]) + (r[4] + r[5] + (r[6] + r[7]));
  for (let k = whole; k < values.length; k++) sum += values[k];
  return sum;
}
