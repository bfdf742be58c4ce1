/** The options of a one-shot evaluation. */
import { choice, type Entries, entry } from "../../../engine/train/mod.ts";
import { askedEntries, type AskedSettings } from "../settings.ts";

export interface OneShotEvaluationOptions extends AskedSettings {
  readonly run: string;
  readonly data: string;
  readonly labels: string;
  readonly output: string;
  readonly overwrite: boolean;
  readonly cases: string;
  readonly classes: string;
  readonly supports: number;
  readonly seed: number;
  readonly ranges: "known" | "unknown";
  readonly within: boolean;
  readonly slice: number;
  readonly preparation: "plan" | "own";
  readonly side: number;
  readonly clip: readonly number[];
  readonly batch: number;
  readonly cache: string;
  readonly memory: number;
  readonly workers: number;
}

/** Their config entries. */
export const oneShotEntries: Entries<OneShotEvaluationOptions> = {
  run: entry("", "run folder of train_alpnet (of a cross-validation RUN/fold_0 and so on), or its model.safetensors", {
    positional: true,
  }),
  data: entry(
    "",
    "labeled dataset, a folder or the file of a group; that of the run without it; with --within also one image file",
    { positional: true },
  ),
  labels: entry("", "label map of --data where that is an image file"),
  output: entry(
    "",
    "folder of the results; one_shot (or within) in the run's folder without it. The same command resumes after a stop",
  ),
  overwrite: entry(false, "start over where that folder holds results"),
  cases: entry(
    "",
    "cases to take, with commas between, or all; without it those that the run held out, or all of another dataset",
  ),
  classes: entry(
    "",
    "classes, with commas between, as NAME, or TITLE=NAME to call it otherwise; of a label file names are values; " +
      "all without it",
  ),
  supports: entry(10, "how many of the cases are the support in turn; all others are segmented by each", {
    integer: true,
    min: 1,
  }),
  seed: entry(1, "of the choice of supports", { integer: true, min: 0 }),
  ranges: choice(
    ["known", "unknown"],
    "whether a held-out case tells in which slices a class begins and ends, as the papers measure",
  ),
  ...askedEntries,
  within: entry(false, "segment each scan by one labeled slice of its own, and measure the other slices"),
  slice: entry(
    0,
    "--within: number of that slice as overlays show it, from 1; 0: for each class the one that shows most of it",
    { integer: true, min: 0 },
  ),
  preparation: choice(
    ["plan", "own"],
    "--within: pixels and intensities by the encoder's plan; own, for an encoder of another kind of scan: as many " +
      "pixels a slice as the encoder's slices have, intensities by the scan itself. Slices stay as they are in both",
  ),
  side: entry(0, "--preparation own: pixels of a slice along its longer edge instead", { integer: true, min: 0 }),
  clip: entry(
    [],
    "--preparation own: intensities are cut off at, as -125,275 for soft tissue in CT; without it where 0.5 % of " +
      "the voxels lie beyond",
    { lengths: [0, 2] },
  ),
  batch: entry(8, "slices that go through the encoder together", { integer: true, min: 1 }),
  cache: entry("runs/prepared", "folder of prepared cases, which all runs share"),
  memory: entry(2, "GB of prepared cases that are kept in memory", { min: 0 }),
  workers: entry(2, "threads that read scans", { integer: true, min: 0 }),
};
