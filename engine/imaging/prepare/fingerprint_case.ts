/** The contribution of one case to a fingerprint. */
import { bodyMask } from "../volume/body_mask.ts";
import { nonZeroBox } from "../volume/crop.ts";
import type { LoadedCase } from "../dataset/load_case.ts";
import type { Plan } from "../plan/plan.ts";
import { oriented } from "./preprocess.ts";
import { Prng } from "../../core/prng.ts";
import { voxelCount } from "../volume/volume.ts";
import type { Triple } from "../volume/volume.ts";

/** One case, axes [z, y, x] after orientation. */
export interface CaseFingerprint {
  readonly id: string;
  /** Size after the crop to non-zero. */
  readonly shape: Triple;
  /** mm. */
  readonly spacing: Triple;
  /** Fraction of voxels left by the crop. */
  readonly relativeSize: number;
}

/**
 * The contribution of one case: its sizes, and `samples` values of each channel at foreground voxels, or without a
 * label at those of the body, sampled with replacement.
 */
export interface CaseSamples extends CaseFingerprint {
  /** One list per channel; empty if the case has no foreground. */
  readonly values: readonly Float32Array<ArrayBuffer>[];
}

/** The fingerprint of a loaded case; values are cut off at `clip`. */
export function fingerprintCase(
  loaded: LoadedCase,
  options: {
    orientation: Plan["orientation"];
    samples: number;
    ignoreLabel?: number;
    clip?: readonly [number, number];
  },
): CaseSamples {
  const { orientation, samples, ignoreLabel, clip: [low, high] = [-Infinity, Infinity] } = options;
  const image = oriented(loaded.image, orientation);
  const box = nonZeroBox(image);
  const label = loaded.label?.data ?? bodyMask(loaded.image);
  let count = 0;
  for (let i = 0; i < label.length; i++) if (label[i] !== 0 && label[i] !== ignoreLabel) count++;
  const places = new Uint32Array(count);
  for (let i = 0, k = 0; i < label.length; i++) if (label[i] !== 0 && label[i] !== ignoreLabel) places[k++] = i;
  // Values do not depend on the order of the axes, so image and label are read as they are stored.
  const prng = new Prng(1234).fork(loaded.id);
  const picks = Uint32Array.from({ length: count > 0 ? samples : 0 }, () => places[prng.integer(count)]);
  const { data, channels } = loaded.image;
  return {
    id: loaded.id,
    shape: [box.size[2], box.size[1], box.size[0]],
    spacing: [image.spacing[2], image.spacing[1], image.spacing[0]],
    relativeSize: voxelCount(box.size) / voxelCount(image.shape),
    values: Array.from(
      { length: channels },
      (_, c) => Float32Array.from(picks, (i) => Math.min(high, Math.max(low, data[c * label.length + i]))),
    ),
  };
}
