/** The config block that all training scripts share. */
import { choice, type Entries, entry } from "../run/config.ts";

/** Options of every training script. */
export interface TrainingOptions {
  readonly data: string;
  readonly plan: string;
  readonly configuration: string;
  readonly folds: number;
  readonly fold: string;
  readonly splits: string;
  readonly run: string;
  readonly resume: string;
  readonly overwrite: boolean;
  readonly seed: number;
  readonly steps: number;
  readonly epochs: number;
  readonly epoch: number;
  readonly validation: number;
  readonly preset: "auto" | "nnunet" | "small";
  readonly batch: number;
  readonly patch: readonly number[];
  readonly features: readonly number[];
  readonly foreground: number;
  readonly sets: "proportional" | "equal" | "turn";
  readonly augment: "auto" | "nnunet" | "scale" | "mirror" | "none";
  readonly flips: "xyz" | "xy" | "xz" | "yz" | "x" | "y" | "z" | "none";
  readonly checkpoint: number;
  readonly until: number;
  readonly cache: string;
  readonly memory: number;
  readonly workers: number;
  readonly phantoms: number;
}

/** Their config entries. */
export const trainingEntries: Entries<TrainingOptions> = {
  data: entry("", "dataset folder, or file of a dataset group; phantoms without it", { positional: true }),
  plan: entry("", "plan file of `voxgrad plan`, or plans.json of nnU-Net; made by its rules without it"),
  configuration: entry("", "of nnU-Net's plans.json: 2d, 3d_lowres or 3d_fullres, which is meant without it"),
  folds: entry(5, "parts of the cross-validation", { integer: true, min: 2 }),
  fold: entry("0", "part that is held out, from 0; each: one training a part; all: nothing is held out"),
  splits: entry("", "JSON file of splits as nnU-Net's splits_final.json, instead of --folds"),
  run: entry("", "folder of the run; the next free one in runs/ without it"),
  resume: entry("", "folder of a run to resume, after a stop or with more --steps"),
  overwrite: entry(false, "whether that folder may hold an earlier run"),
  seed: entry(1, "of the weights, the patches and the augmentation", { integer: true, min: 0 }),
  steps: entry(0, "optimizer steps; 0: 120 on phantoms, 800 on --data", { integer: true, min: 0 }),
  epochs: entry(0, "epochs of --epoch steps; of this and --steps the larger counts", { integer: true, min: 0 }),
  epoch: entry(50, "steps an epoch, after which held-out patches are evaluated", { integer: true, min: 1 }),
  validation: entry(5, "batches of held-out patches to evaluate then", { integer: true, min: 0 }),
  preset: choice(["auto", "nnunet", "small"], "size of a new plan; auto: nnunet on a GPU, small elsewhere"),
  batch: entry(0, "patches a step; 0: as planned", { integer: true, min: 0 }),
  patch: entry([], "voxels of a patch; as planned without it", { integer: true, min: 1, lengths: [0, 3] }),
  features: entry([], "channels at each resolution, the finest first; as planned without it", {
    integer: true,
    min: 1,
  }),
  foreground: entry(0.33, "fraction of a batch's patches that are centered on foreground", { min: 0, max: 1 }),
  sets: choice(
    ["proportional", "equal", "turn"],
    "how patches are drawn from the sets of a dataset group: each case as likely, each set as likely, or a set a " +
      "step in turn",
  ),
  augment: choice(
    ["auto", "nnunet", "scale", "mirror", "none"],
    "auto: mirror on phantoms, nnU-Net's whole chain on --data; scale: sizes by up to a tenth, and mirror",
  ),
  flips: choice(["xyz", "xy", "xz", "yz", "x", "y", "z", "none"], "axes along which patches are mirrored at random"),
  checkpoint: entry(5, "minutes from one checkpoint to the next", { min: 0 }),
  until: entry(0, "epoch after which the training stops with a checkpoint; 0: it does not", { integer: true, min: 0 }),
  cache: entry("runs/prepared", "folder of prepared cases, which all runs share"),
  memory: entry(2, "GB of prepared cases that are kept in memory; as much again where a method adds channels to them", {
    min: 0,
  }),
  workers: entry(2, "threads that read scans", { integer: true, min: 0 }),
  phantoms: entry(16, "patients to make without --data", { integer: true, min: 2 }),
};

/** Entries that a resumed run may change. */
export const trainingChanges = [
  "steps",
  "epochs",
  "data",
  "checkpoint",
  "until",
  "cache",
  "memory",
  "workers",
] as const;
