/** Augmentation options: nnU-Net's defaults, and the size of the patch to sample for them. */
import { check, checkOptions, isPlain, show } from "../../core/errors.ts";
import { Tensor } from "../../core/tensor.ts";
import { slice } from "../../ops/shape/slice.ts";
import { reshape } from "../../ops/shape/reshape.ts";
import { uniform } from "../../ops/random/mod.ts";

/** Lowest and highest value. */
export type Range = readonly [number, number];

/**
 * What is augmented: an image f32 [N, C, D, H, W], a label i32 [N, D, H, W], and further tensors on the same grid, f32
 * or i32 [N, D, H, W] or [N, K, D, H, W], which get the same spatial transforms. 2-D images lack D.
 */
export interface Batch {
  readonly image: Tensor;
  readonly label?: Tensor;
  readonly [name: string]: Tensor | undefined;
}

/** How an entry of a batch is resampled. */
export interface EntryOptions {
  /** "nearest" for values that must not be mixed, "linear" (f32 only), or "cubic" (f32, 2-D or in plane). */
  readonly mode: "nearest" | "linear" | "cubic";
  /** Fill value outside the sampled voxels; "max" is the maximum of the sample. Default 0. */
  readonly border?: number | "max";
}

export interface SpatialOptions {
  /** Size of the result in voxels, [d, h, w] or [h, w]. */
  readonly patch: readonly number[];
  /** Rotate, scale and deform only within the planes of the first axis, for anisotropic voxels. */
  readonly inPlane?: boolean;
  /** One angle per axis, in degrees. */
  readonly rotation?: { readonly p: number; readonly degrees: Range };
  /** Coordinates are multiplied: above 1 objects shrink. One factor for all axes unless synchronized is false. */
  readonly scaling?: { readonly p: number; readonly factor: Range; readonly synchronized?: boolean };
  /** In voxels along each axis. */
  readonly translation?: { readonly p: number; readonly voxels: Range };
  /** Shears the first axis of each plane along the second by an angle in degrees, between -90 and 90. */
  readonly shear?: { readonly p: number; readonly degrees: Range };
  /**
   * A smooth displacement: cubic interpolation of `points` random vectors per axis, the longest of which is `magnitude`
   * times half the patch along each axis.
   */
  readonly elastic?: { readonly p: number; readonly magnitude: Range; readonly points: number };
  /** Resampling of each entry; default "linear" for f32 entries and "nearest" for i32 entries. */
  readonly entries?: Readonly<Record<string, EntryOptions>>;
}

export interface NoiseOptions {
  readonly p: number;
  /** Standard deviation of the noise, shared by all channels, like the noise itself. */
  readonly deviation: Range;
}
export interface BlurOptions {
  readonly p: number;
  /** Probability of each channel, given that its sample is selected. */
  readonly perChannel: number;
  /** Standard deviation of the Gaussian in voxels, drawn for every axis. */
  readonly sigma: Range;
}
/** For brightness and contrast: half of the draws are below 1 and half above, if the range contains both. */
export interface FactorOptions {
  readonly p: number;
  readonly factor: Range;
}
export interface LowResolutionOptions {
  readonly p: number;
  readonly perChannel: number;
  /** Size of the coarse grid relative to the patch, the same along all axes. */
  readonly scale: Range;
  /** Interpolation from the coarse grid, sampled by nearest voxel, back to the patch. */
  readonly mode: "linear" | "cubic";
  /** Leave the first axis unchanged. */
  readonly inPlane?: boolean;
}
export interface GammaOptions {
  readonly p: number;
  readonly gamma: Range;
  /** Apply to the negative image. */
  readonly invert?: boolean;
  /** What a channel keeps: its mean and standard deviation (default), or its minimum and maximum. */
  readonly keep?: "moments" | "range";
}
export interface MirrorOptions {
  /** Probability of each axis. */
  readonly p: number;
  /** Axes that may be mirrored: 0 is the first spatial axis. */
  readonly axes: readonly number[];
}

/** Options of the whole chain; false disables a transform. */
export interface AugmentOptions {
  readonly patch: readonly number[];
  readonly inPlane: boolean;
  readonly rotation: NonNullable<SpatialOptions["rotation"]> | false;
  readonly scaling: NonNullable<SpatialOptions["scaling"]> | false;
  readonly elastic: NonNullable<SpatialOptions["elastic"]> | false;
  readonly noise: NoiseOptions | false;
  readonly blur: BlurOptions | false;
  readonly brightness: FactorOptions | false;
  readonly contrast: FactorOptions | false;
  readonly lowResolution: Omit<LowResolutionOptions, "inPlane"> | false;
  readonly invertedGamma: Omit<GammaOptions, "invert"> | false;
  readonly gamma: Omit<GammaOptions, "invert"> | false;
  readonly mirror: MirrorOptions | false;
  readonly entries: Readonly<Record<string, EntryOptions>>;
}

/** Overrides of `defaults`, entry by entry. */
export type AugmentChanges =
  & { readonly patch: readonly number[] }
  & {
    readonly [K in Exclude<keyof AugmentOptions, "patch">]?:
      | (Exclude<AugmentOptions[K], false> extends object ? Partial<Exclude<AugmentOptions[K], false>>
        : AugmentOptions[K])
      | (false extends AugmentOptions[K] ? false : never);
  };

/** Ratio of the longest edge of a patch to the first above which nnU-Net treats its voxels as anisotropic. */
const ANISOTROPY = 3;

/**
 * nnU-Net's augmentation (v2, nnUNetTrainer with batchgeneratorsv2) for a patch, with the given overrides. A patch
 * whose first edge is less than a third of the longest is transformed in plane, by any angle.
 *
 * @param changes patch [d, h, w] or [h, w]; others as in `AugmentOptions`, each a part of its entry or false
 * @throws VoxgradError for unknown entries and invalid values
 * @example
 * ```ts
 * import { augment } from "voxgrad/imaging";
 *
 * augment.defaults({ patch: [64, 64, 64], gamma: { p: 0.5 }, mirror: { axes: [2] }, blur: false });
 * ```
 */
export function defaults(changes: AugmentChanges): AugmentOptions {
  const name = "augment";
  const { patch } = changes;
  check(
    Array.isArray(patch) && [2, 3].includes(patch.length) && patch.every((n) => Number.isInteger(n) && n > 0),
    name,
    () => `patch is [d, h, w] or [h, w] in voxels, got ${show(patch)}`,
  );
  const dims = patch.length;
  const longest = Math.max(...patch);
  const inPlane = changes.inPlane ?? (dims === 3 && longest / patch[0] > ANISOTROPY);
  const flat = dims === 2 && longest / Math.min(...patch) > 1.5 ? 15 : 180;
  const degrees = dims === 2 ? flat : inPlane ? 180 : 30;
  const base: AugmentOptions = {
    patch,
    inPlane,
    rotation: { p: 0.2, degrees: [-degrees, degrees] },
    scaling: { p: 0.2, factor: [0.7, 1.4], synchronized: true },
    elastic: false,
    noise: { p: 0.1, deviation: [0, 0.1] },
    blur: { p: 0.2, perChannel: 0.5, sigma: [0.5, 1] },
    brightness: { p: 0.15, factor: [0.75, 1.25] },
    contrast: { p: 0.15, factor: [0.75, 1.25] },
    lowResolution: { p: 0.25, perChannel: 0.5, scale: [0.5, 1], mode: "linear" },
    invertedGamma: { p: 0.1, gamma: [0.7, 1.5] },
    gamma: { p: 0.3, gamma: [0.7, 1.5] },
    mirror: { p: 0.5, axes: patch.map((_, axis) => axis) },
    entries: {},
  };
  const off = { elastic: { p: 0.2, magnitude: [0, 0.2], points: 5 } };
  checkOptions(name, changes, Object.keys(base));
  const merged: Record<string, unknown> = { ...base };
  for (const [key, change] of Object.entries(changes)) {
    const before = merged[key] || (off as Record<string, unknown>)[key];
    if (change !== undefined) merged[key] = isPlain(before) && isPlain(change) ? { ...before, ...change } : change;
  }
  const options = merged as unknown as AugmentOptions;
  check(
    !options.inPlane || dims === 3,
    name,
    () => `inPlane is for patches [d, h, w], got one of ${dims} axes; leave it out`,
  );
  return options;
}

/**
 * The patch to sample so that rotation and scaling find voxels even in the corners of `patch`: nnU-Net's
 * `get_patch_size`, which considers one axis at a time at its largest angle, and takes 0.85 as the smallest factor. The
 * spatial transform crops it to `patch`.
 *
 * @returns sizes, one per axis; those of patch itself without rotation and scaling
 * @example
 * ```ts
 * import { augment } from "voxgrad/imaging";
 *
 * augment.initialPatch([128, 128, 128]); // [205, 205, 205]
 * ```
 */
export function initialPatch(patch: readonly number[], changes: Omit<AugmentChanges, "patch"> = {}): number[] {
  const { rotation, scaling, inPlane } = defaults({ ...changes, patch });
  if (!rotation && !scaling) return [...patch];
  const degrees = rotation ? Math.min(90, Math.max(...rotation.degrees.map(Math.abs))) : 0;
  const [cos, sin] = [Math.cos((degrees / 180) * Math.PI), Math.sin((degrees / 180) * Math.PI)];
  // Edge a, turned towards edge b, covers a cos + b sin along its axis, b then |b cos - a sin|.
  const pairs = patch.length === 2 ? [[0, 1]] : [
    [1, 2],
    [2, 0],
    [0, 1],
  ];
  const size = [...patch];
  for (const [a, b] of pairs) {
    size[a] = Math.max(size[a], Math.abs(patch[a] * cos + patch[b] * sin));
    size[b] = Math.max(size[b], Math.abs(patch[b] * cos - patch[a] * sin));
  }
  const initial = size.map((n) => Math.floor(n / (scaling ? 0.85 : 1)));
  if (inPlane) initial[0] = patch[0];
  return initial;
}

/** Throws for an invalid probability or range. */
export function checkChance(name: string, options: object, ranges: Readonly<Record<string, Range>>): void {
  for (const [key, p] of Object.entries(options)) {
    if (key !== "p" && key !== "perChannel") continue;
    check(typeof p === "number" && p >= 0 && p <= 1, name, () => `${key} is in [0, 1], got ${show(p)}`);
  }
  for (const [key, range] of Object.entries(ranges)) {
    check(
      Array.isArray(range) && range.length === 2 && range.every(Number.isFinite) && range[0] <= range[1],
      name,
      () => `${key} is [lowest, highest], got ${show(range)}`,
    );
  }
}

export function checkBatch(name: string, batch: Batch): void {
  check(isPlain(batch), name, () => `the batch is { image, label, ... }, got ${show(batch)}`);
  const { image } = batch;
  check(
    image instanceof Tensor && image.dtype === "f32" && (image.rank === 5 || image.rank === 4) && image.size > 0,
    name,
    () => `the image is a non-empty f32 tensor [N, C, D, H, W] or [N, C, H, W], got ${show(image)}`,
  );
  const [samples, , ...space] = image.shape;
  for (const [key, entry] of Object.entries(batch)) {
    if (key === "image" || entry === undefined) continue;
    const same = entry instanceof Tensor && entry.shape[0] === samples && [0, 1].includes(entry.rank + 1 - image.rank);
    check(
      same && show(entry.shape.slice(-space.length)) === show(space),
      name,
      () => `${key} covers the voxels of the image ${image}: [N, ...space] or [N, K, ...space]; got ${show(entry)}`,
    );
  }
}

/** `count` tensors of uniform random numbers, each of `shape`. */
export function draws(key: Tensor, shape: readonly number[], count: number): Tensor[] {
  const all = uniform(key, { shape: [count, ...shape] });
  return Array.from({ length: count }, (_, k) => {
    const start = [k, ...shape.map(() => 0)];
    return reshape(slice(all, { start, end: [k + 1, ...shape] }), { shape });
  });
}

/** Reshapes a tensor [N] or [N, C] to broadcast over x. */
export const over = (t: Tensor, x: Tensor): Tensor =>
  reshape(t, { shape: [...t.shape, ...Array<number>(x.rank - t.rank).fill(1)] });
