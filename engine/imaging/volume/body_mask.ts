/** Segments the patient's body in a scan. */
import { check, checkOptions, show } from "../../core/errors.ts";
import { nonZeroMask } from "./crop.ts";
import { keepLargestComponent } from "./largest_component.ts";
import { voxelCount } from "./volume.ts";
import type { Volume } from "./volume.ts";

export interface BodyMaskOptions {
  /**
   * Voxels above it may be body, in the scan's unit: -200 for CT in HU; default `otsuThreshold` of the channel.
   */
  readonly threshold?: number;
  /** The channel to use; default 0. */
  readonly channel?: number;
}

/**
 * The patient in a scan: the largest connected component above a threshold (26 neighbors; of equal ones the first) with
 * its holes, such as lungs, filled: voxels that no path across faces connects to the scan's border.
 *
 * @returns 1 or 0 in the order of `image.data`, [Z, Y, X]; all 0 if nothing is above the threshold
 * @throws VoxgradError for a missing channel, or a threshold that is not a number
 * @example
 * ```ts
 * import { bodyMask, phantomCase } from "voxgrad/imaging";
 *
 * const body = bodyMask(phantomCase({ seed: 1 }).image, { threshold: 100 });
 * ```
 */
export function bodyMask(
  image: Pick<Volume, "data" | "shape" | "channels">,
  options: BodyMaskOptions = {},
): Uint8Array<ArrayBuffer> {
  checkOptions("bodyMask", options, ["threshold", "channel"]);
  const { channel = 0 } = options;
  const { channels, shape } = image;
  check(
    Number.isInteger(channel) && channel >= 0 && channel < channels,
    "bodyMask",
    () => `channel is 0 to ${channels - 1}, got ${show(channel)}`,
  );
  const count = voxelCount(shape);
  const values = image.data.subarray(channel * count, (channel + 1) * count);
  const threshold = options.threshold ?? otsuThreshold(values);
  check(
    typeof threshold === "number" && !Number.isNaN(threshold),
    "bodyMask",
    () => `threshold is a number, got ${show(threshold)}`,
  );
  const mask = new Uint8Array(count);
  for (let i = 0; i < count; i++) if (values[i] > threshold) mask[i] = 1;
  keepLargestComponent(mask, { shape, values: [1], single: true });
  return nonZeroMask(mask, { channels: 1, shape: [shape[2], shape[1], shape[0]] });
}

/**
 * Otsu's threshold (IEEE Trans. Syst. Man Cybern. 9, 1979): the first bin center of a histogram that maximizes the
 * between-class variance, as in scikit-image's threshold_otsu.
 *
 * @param options bins: of the histogram, from the minimum to the maximum; default 256
 * @returns the threshold; that value if all values are equal
 * @throws VoxgradError for no values, or values that are not finite
 * @example
 * ```ts
 * import { otsuThreshold } from "voxgrad/imaging";
 *
 * otsuThreshold([1, 2, 1, 9, 8]); // between 2 and 8
 * ```
 */
export function otsuThreshold(values: ArrayLike<number>, options: { bins?: number } = {}): number {
  checkOptions("otsuThreshold", options, ["bins"]);
  const { bins = 256 } = options;
  check(
    Number.isInteger(bins) && bins >= 2,
    "otsuThreshold",
    () => `bins is an integer from 2 on, got ${show(bins)}`,
  );
  let [low, high, finite] = [Infinity, -Infinity, values.length > 0];
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    finite &&= Number.isFinite(value);
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  check(finite, "otsuThreshold", () => `wanted values, all finite; got ${values.length}`);
  if (low === high) return low;
  const counts = new Float64Array(bins);
  const scale = bins / (high - low);
  for (let i = 0; i < values.length; i++) counts[Math.min(bins - 1, Math.floor((values[i] - low) * scale))]++;
  // Cumulative sums over the bins: of the counts, and of the counts times the bin's index.
  const all = counts.reduce((sum, n, k) => sum + n * k, 0);
  let [below, moment, best, largest] = [0, 0, 0, -1];
  for (let k = 0; k < bins - 1; k++) {
    below += counts[k];
    moment += counts[k] * k;
    const above = values.length - below;
    const between = below * above * (moment / below - (all - moment) / above) ** 2;
    if (between > largest) [best, largest] = [k, between];
  }
  return low + (best + 0.5) / scale;
}
