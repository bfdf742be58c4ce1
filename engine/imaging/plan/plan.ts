/**
 * The plan of a dataset: preprocessing from stored scan to network input, and the network itself. It is plain JSON,
 * made by nnU-Net's rules (Isensee et al. 2021, Nature Methods 18, 203-211), can be edited by hand, and is stored with
 * a model so that prediction prepares scans as training did.
 *
 * Axis order. All triples of a plan are in prepared order: that of the tensor [C, D, H, W] that the network sees. A
 * scan is oriented first (RAS, or left as stored), which gives axes [z, y, x], and then transposed: prepared axis k is
 * axis transpose[k] of those. nnU-Net puts the axis of the coarsest spacing first.
 */
import type { SplineOrder } from "../../ops/sampling/resample.ts";
import type { Triple } from "../volume/volume.ts";

/** Intensity normalization of a channel. */
export type ChannelPlan =
  | {
    readonly name: string;
    /**
     * "z-score": minus the mean, divided by the standard deviation of the whole cropped case; "z-score in mask": both
     * computed over the non-zero region, voxels outside become 0; "rgb": divided by 255; "none": as stored.
     */
    readonly normalization: "z-score" | "z-score in mask" | "rgb" | "none";
  }
  | {
    readonly name: string;
    /** To 0..1 by the case's minimum and maximum, or by two of its quantiles; nothing is clipped. */
    readonly normalization: "rescale";
    /** Such as [0.05, 0.95]; default [0, 1]. */
    readonly quantiles?: readonly [number, number];
  }
  | {
    readonly name: string;
    /** Clipped to low..high, minus mean, divided by deviation: statistics of the whole dataset's foreground. */
    readonly normalization: "ct";
    readonly mean: number;
    readonly deviation: number;
    /** 0.5 and 99.5 percentile of the foreground. */
    readonly low: number;
    readonly high: number;
  };

/** A registered network and its entries: the options of its constructor, except those that follow from the data. */
export interface NetworkPlan {
  readonly name: string;
  /** Channels of every stage, finest first. */
  readonly features: readonly number[];
  /** Kernel of every stage, [d, h, w]. */
  readonly kernels: readonly Triple[];
  /** Stride on entering every stage, [d, h, w]; that of the first is [1, 1, 1]. */
  readonly strides: readonly Triple[];
  /** The network's own entries, such as convsPerStage; see NetworkRules. */
  readonly [entry: string]: unknown;
}

/** Resampling of scans to the target spacing, and of predictions back. */
export interface ResamplingPlan {
  /** Spline order for images. */
  readonly image: SplineOrder;
  /** Spline order for one-hot labels. */
  readonly label: SplineOrder;
  /** Order along the coarse axis if it is resampled separately. */
  readonly separateAxis: SplineOrder;
  /** Largest over smallest spacing, of the case or of the plan, above which the coarse axis is resampled separately. */
  readonly anisotropy: number;
}

export interface Plan {
  readonly format: "voxgrad plan 1";
  /** The dataset's name. */
  readonly dataset: string;
  /** "2d": slices along the first axis, which keep their distance; patches and kernels are one voxel deep. */
  readonly configuration: "2d" | "3d_lowres" | "3d_fullres" | "3d_cascade_fullres";
  /**
   * Of a cascade: the configuration whose labels of the same scan are inputs too, after the image's channels, one for
   * each label but the background.
   */
  readonly previousStage?: string;
  /** "RAS": scans are turned to right, anterior, superior axes first; "stored": axes as in the file. */
  readonly orientation: "RAS" | "stored";
  /** Prepared axis k is axis transpose[k] of the oriented scan's [z, y, x]. */
  readonly transpose: Triple;
  /** Spacing of prepared voxels in mm; of "2d" the first is that of the median case, and scans keep theirs. */
  readonly spacing: Triple;
  /** Size of a training patch in voxels. */
  readonly patch: Triple;
  /** Patches per step. */
  readonly batch: number;
  readonly channels: readonly ChannelPlan[];
  /** Names of the labels by value, background first. */
  readonly labels: readonly string[];
  /** Where present, the network has one sigmoid output per region: the union of those label values. */
  readonly regions?: readonly {
    readonly name: string;
    readonly values: readonly number[];
    /**
     * The value it paints in a predicted label map, over earlier regions; default the value that no later region has.
     */
    readonly value?: number;
  }[];
  /** Value of label voxels excluded from loss and metrics. */
  readonly ignoreLabel?: number;
  readonly resampling: ResamplingPlan;
  readonly network: NetworkPlan;
  /** What the plan was made from. */
  readonly fingerprint: PlanFingerprint;
  /** Device memory of a training step, if it was estimated. */
  readonly estimatedBytes?: number;
}

/** The summary of a fingerprint that a plan carries; triples in prepared order. */
export interface PlanFingerprint {
  readonly cases: number;
  /** Median of the cases after the crop, before resampling. */
  readonly medianShape: Triple;
  readonly medianSpacing: Triple;
  /** Median of the cases at the plan's spacing. */
  readonly medianPreparedShape: Triple;
  /** Median, over the cases, of the fraction of voxels left by the crop to non-zero; absent if it is not known. */
  readonly relativeSizeAfterCrop?: number;
}

/**
 * Outputs of a plan's network: one per region if it has regions, else one per label.
 *
 * @example
 * ```ts
 * import { outputChannels } from "voxgrad/imaging";
 *
 * outputChannels({ labels: ["background", "liver", "tumor"] }); // 3
 * ```
 */
export const outputChannels = (plan: Pick<Plan, "labels" | "regions">): number =>
  plan.regions?.length ?? plan.labels.length;

/**
 * Channels that a plan's network takes: those of the image, and of a cascade the labels of its previous stage.
 *
 * @example
 * ```ts
 * import { inputChannels } from "voxgrad/imaging";
 *
 * const channels = [{ name: "CT", normalization: "none" }] as const;
 * inputChannels({ channels, labels: ["background", "liver", "tumor"], previousStage: "3d_lowres" }); // 3
 * ```
 */
export const inputChannels = (plan: Pick<Plan, "channels" | "labels" | "previousStage">): number =>
  plan.channels.length + (plan.previousStage === undefined ? 0 : plan.labels.length - 1);

/** Spacing at which a plan prepares a scan of `spacing`, both in prepared order. */
export const preparedSpacing = (plan: Pick<Plan, "configuration" | "spacing">, spacing: Triple): Triple =>
  plan.configuration === "2d" ? [spacing[0], plan.spacing[1], plan.spacing[2]] : plan.spacing;
