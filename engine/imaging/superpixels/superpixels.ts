/**
 * Pseudo-labels for self-supervised segmentation (Ouyang et al., "Self-supervision with superpixels", 2020, section
 * 3.3): superpixels within the patient.
 */
import { check, checkOptions, show } from "../../core/errors.ts";
import { nonZeroMask } from "../volume/crop.ts";
import { felzenszwalb, type FelzenszwalbOptions } from "./felzenszwalb.ts";
import { keepLargestComponent } from "../volume/largest_component.ts";

export interface SuperpixelOptions extends FelzenszwalbOptions {
  /** [H, W], or [D, H, W] for a stack of slices. */
  readonly shape: readonly number[];
  /** Pixels above it may be the patient; default 1e-4, as in the official code, for CT whose window starts at 0. */
  readonly threshold?: number;
  /** Supervoxels of the volume (26 neighbors) instead of superpixels of each slice; default false. */
  readonly volume?: boolean;
}

export interface Superpixels {
  /** In the order of the image: 0 outside the patient, else 1, 2, ... by first pixel; per slice, or for the volume. */
  readonly labels: Int32Array<ArrayBuffer>;
  /** Number of superpixels per slice, or of supervoxels in the volume. */
  readonly counts: readonly number[];
}

/**
 * The patient: the largest connected component above the threshold (8 neighbors, 26 in a volume) with its holes filled:
 * pixels that no path across pixel edges connects to the border. All 0 if nothing is above the threshold.
 *
 * @param image values of a slice [H, W] or a volume [D, H, W]
 * @returns 1 or 0, in the order of the image
 */
export function foregroundMask(
  image: ArrayLike<number>,
  options: { readonly shape: readonly number[]; readonly threshold: number },
): Uint8Array<ArrayBuffer> {
  checkOptions("foregroundMask", options, ["shape", "threshold"]);
  const { threshold } = options;
  const [depth, height, width] = extents("foregroundMask", image, options.shape);
  check(
    typeof threshold === "number" && !Number.isNaN(threshold),
    "foregroundMask",
    () => `threshold is a number, got ${show(threshold)}`,
  );
  const mask = Uint8Array.from(image, (value) => Number(value > threshold));
  if (!mask.includes(1)) return mask;
  keepLargestComponent(mask, { shape: [width, height, depth], values: [1] });
  return nonZeroMask(mask, { channels: 1, shape: [depth, height, width] });
}

/**
 * Superpixels of the patient in a slice, in every slice of a scan, or in a volume: `felzenszwalb` of the whole image,
 * masked by `foregroundMask` and renumbered. Segments cut by the mask may be smaller than `minSize`. The official code
 * uses images with values from 0 to 255, scale 1, sigma 1 and at least 400 pixels, the defaults here; it drops the
 * segment that felzenszwalb numbers 0, which is kept here.
 *
 * @param image finite values, row by row
 * @throws VoxgradError for values that do not fill the shape, or an option out of range
 * @example
 * ```ts
 * import { phantomCase, superpixels } from "voxgrad/imaging";
 *
 * const { image } = phantomCase({ seed: 1, shape: [32, 32, 32] });
 * const { labels, counts } = superpixels(Float32Array.from(image.data), { shape: [32, 32, 32], minSize: 20 });
 * ```
 */
export function superpixels(image: ArrayLike<number>, options: SuperpixelOptions): Superpixels {
  checkOptions("superpixels", options, ["shape", "threshold", "volume", "scale", "sigma", "minSize"]);
  const { threshold = 1e-4, volume = false, scale = 1, sigma = 1, minSize = 400, shape } = options;
  const [depth, height, width] = extents("superpixels", image, shape);
  const values = Float64Array.from(image);
  const labels = new Int32Array(values.length);
  const parts = volume ? 1 : depth;
  const size = values.length / parts;
  const own = volume ? shape : [height, width];
  const counts = Array.from({ length: parts }, (_, k) => {
    const part = values.subarray(k * size, (k + 1) * size);
    const patient = foregroundMask(part, { shape: own, threshold });
    const segments = felzenszwalb(part, { shape: own, scale, sigma, minSize });
    const numbers = new Map<number, number>();
    for (let i = 0; i < size; i++) {
      if (patient[i] === 0) continue;
      const segment = segments[i];
      if (!numbers.has(segment)) numbers.set(segment, numbers.size + 1);
      labels[k * size + i] = numbers.get(segment)!;
    }
    return numbers.size;
  });
  return { labels, counts };
}

function extents(name: string, image: ArrayLike<number>, shape: readonly number[]): [number, number, number] {
  const right = Array.isArray(shape) && (shape.length === 2 || shape.length === 3);
  check(right, name, () => `shape is [height, width] or [depth, height, width], got ${show(shape)}`);
  const count = shape.reduce((a, b) => a * b, 1);
  check(image.length === count && count > 0, name, () => `got ${image.length} values for ${show(shape)}`);
  return (shape.length === 3 ? [...shape] : [1, ...shape]) as [number, number, number];
}
