/** Config entries of a training of ALPNet, in groups; those of how slices are compared are in settings.ts. */
import { choice, config, type Entries, entry, trainingEntries, type TrainingOptions } from "../../engine/train/mod.ts";
import type { FewShotSettings } from "./settings.ts";

/** Those of patches: an episode is two slices. */
type OfPatches =
  | "preset"
  | "batch"
  | "patch"
  | "features"
  | "foreground"
  | "sets"
  | "augment"
  | "flips"
  | "validation";
const { preset, batch, patch, features, foreground, sets, augment, flips, validation, ...common } = trainingEntries;
const patches: Entries<Pick<TrainingOptions, OfPatches>> = {
  preset,
  batch,
  patch,
  features,
  foreground,
  sets,
  augment,
  flips,
  validation,
};

/** `trainingEntries` but those of patches. */
export const episodeEntries: Entries<Omit<TrainingOptions, OfPatches>> = common;

/** The options with the defaults of those of patches, for openTraining. */
export const withPatches = <T extends object>(options: T): Pick<TrainingOptions, OfPatches> & T => ({
  ...config(patches, []),
  ...options,
});

/** How superpixels are made. */
export interface SuperpixelSettings {
  readonly minSize: number;
  readonly superpixels: "slices" | "volume";
  readonly sigma: number;
  readonly threshold: number;
}

/** Their config entries. */
export const superpixelEntries: Entries<SuperpixelSettings> = {
  minSize: entry(
    0,
    "pixels of the smallest superpixel; 0: 400 for slices of 256 x 256, and as much smaller as slices are",
    { integer: true, min: 0 },
  ),
  superpixels: choice(["slices", "volume"], "made in each slice (paper), or in the volume, as supervoxels"),
  sigma: entry(1, "smoothing before superpixels are made, in pixels", { min: 0 }),
  threshold: entry(
    1e-4,
    "of a scan's values from 0 to 255, up to which a voxel is background; 1e-4 for CT, 50 for MR",
    { min: 0, max: 255 },
  ),
};

/** Further scans, and how scans are prepared. */
export interface ScanSettings {
  readonly unlabeled: string;
  readonly clip: readonly number[];
  readonly side: number;
}

/** Their config entries. */
export const scanEntries: Entries<ScanSettings> = {
  unlabeled: entry("", "folder of further scans to train on, without labels, such as DATA/imagesTs"),
  clip: entry(
    [],
    "intensities are cut off at, as -125,275 for soft tissue in CT; without it as planned, for CT by what is " +
      "labeled, or without labels by the body",
    { lengths: [0, 2] },
  ),
  side: entry(
    0,
    "pixels of a slice's longer edge, to which slices are resized, small ones also to more; 0: as planned, but at " +
      "most 256, and with --aligned at least 104",
    { integer: true, min: 0 },
  ),
};

/** The encoder, and what it begins with. */
export interface EncoderSettings {
  readonly backbone: "small" | "resnet18" | "resnet34" | "resnet50" | "resnet101";
  readonly stride: "8" | "4";
  readonly weights: string;
  readonly embedding: number;
}

/** Its config entries. */
export const encoderEntries: Entries<EncoderSettings> = {
  backbone: choice(["small", "resnet18", "resnet34", "resnet50", "resnet101"], "small: two stages, 16 channels"),
  stride: choice(["8", "4"], "how much coarser than the slice features are; 4 for small slices"),
  weights: entry("", "state dict of torchvision's ResNet or DeepLabV3, as safetensors, to begin with"),
  embedding: entry(0, "channels of the features; 0: 256, 64 of the small backbone", { integer: true, min: 0 }),
};

/** The prototypes of a class. */
export interface PrototypeSettings extends Pick<FewShotSettings, "window" | "temperature" | "rule"> {
  readonly testWindow: number;
  readonly local: "both" | "foreground" | "background";
}

/** Their config entries. */
export const prototypeEntries: Entries<PrototypeSettings> = {
  window: entry(4, "edge of a prototype's window in features, in training", { integer: true, min: 1 }),
  testWindow: entry(2, "and in testing", { integer: true, min: 1 }),
  local: choice(["both", "foreground", "background"], "what has local prototypes"),
  temperature: entry(20, "alpha of Eq. 4", { min: 1e-3 }),
  rule: choice(["code", "paper"], "which windows are background; see alpnet.classPrototypes"),
};

/** The support of the cases that are held out. */
export interface SupportSettings {
  readonly support: string;
  readonly shots: number;
  readonly chunks: number;
  readonly ranges: "known" | "unknown";
}

/** Its config entries. */
export const supportEntries: Entries<SupportSettings> = {
  support: entry("", "case that is the support of held-out cases; the first of the training without it"),
  shots: entry(1, "labeled cases that are the support together; the others are the next of the training", {
    integer: true,
    min: 1,
  }),
  chunks: entry(3, "parts of a class along the slices, each with a support slice", { integer: true, min: 1 }),
  ranges: choice(["known", "unknown"], "known: the slices of a class in a held-out case are given (papers)"),
};
