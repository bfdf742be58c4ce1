/** Episode sources of an ALPNet training, and the supports for its held-out cases. */
import {
  type CaseSource,
  openSuperpixels,
  type PreparedCase,
  storeFolder,
  type Volume,
} from "../../engine/imaging/mod.ts";
import { choice, ConfigError, type Entries, entry, print, type TrainingRun } from "../../engine/train/mod.ts";
import { annotatedEpisodes, type DrawEpisode, superpixelEpisodes } from "./episodes.ts";
import { oneShotSegmenter, paddedFeatures, sliceRanges } from "./scans.ts";
import type { OneShotModel } from "./scans.ts";
import { fewShotOptions, type FewShotSettings } from "./support.ts";

/** Slice edge in the paper, and its minimum superpixel size in pixels. */
const PAPER_SIDE = 256;
const PAPER_MIN_SIZE = 400;

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

/** Options of the episodes of a training. */
export interface EpisodeSourceOptions extends SuperpixelSettings {
  /** Arms that begin with "ssl" train on superpixels, the others on annotated classes. */
  readonly arm: string;
  /** Folder of prepared cases, also for the superpixels. */
  readonly cache: string;
  readonly workers: number;
}

/** The episodes of a training: superpixels of all its cases, or classes that are not excluded. */
export async function trainingEpisodes(
  options: EpisodeSourceOptions,
  { store, dataset, plan }: TrainingRun,
  { split, size, exclude }: { split: { train: readonly string[] }; size: [number, number]; exclude: readonly number[] },
): Promise<DrawEpisode> {
  const source: CaseSource = { ids: split.train, get: (id) => store.get(id) };
  if (!options.arm.startsWith("ssl")) {
    const classes = plan.labels.map((_, value) => value).filter((value) => value > 0 && !exclude.includes(value));
    return annotatedEpisodes(source, classes, { size, exclude });
  }
  const { superpixels: kind, sigma, threshold, workers } = options;
  const minSize = options.minSize ||
    Math.max(4, Math.round((PAPER_MIN_SIZE * size[0] * size[1]) / PAPER_SIDE ** 2));
  const folder = `${storeFolder(options.cache, dataset, plan)}/superpixels_${kind}_${minSize}_${sigma}_${threshold}`;
  const superpixels = await openSuperpixels(source, {
    folder,
    workers,
    minSize,
    sigma,
    threshold,
    volume: kind === "volume",
  });
  return superpixelEpisodes(source, superpixels, { size, exclude });
}

/**
 * The support of each fold with held-out cases. Checks before training that it is valid and that windows fit into the
 * slices.
 */
export async function supportsOf(
  options: { support: string },
  training: TrainingRun,
  { settings, outputStride }: { settings: FewShotSettings; outputStride: number },
): Promise<Map<string, PreparedCase>> {
  const supports = new Map<string, PreparedCase>();
  for (const { name, split } of training.folds) {
    if (split.val.length === 0) continue;
    const item = training.dataset.cases.find(({ id }) => id === (options.support || split.train[0]));
    if (!item) throw new ConfigError(`--support: there is no case ${options.support} in ${training.dataset.folder}`);
    const support = await training.store.get(item.id);
    if (!support.label.some((value) => value > 0)) {
      throw new ConfigError(
        `${item.id}: as it is prepared it shows no class, so it cannot be the support; name another by --support`,
      );
    }
    supports.set(name, support);
    if (settings.prototypes === "panet") continue;
    for (const id of [item.id, ...split.val]) {
      const { shape } = await training.store.get(id);
      const least = Math.min(...paddedFeatures(shape, outputStride));
      if (settings.window <= least) continue;
      throw new ConfigError(
        `--testWindow: got ${settings.window}, and slices of ${id} have ${least} features along an edge; take ` +
          "less, or --stride 4",
      );
    }
  }
  return supports;
}

/**
 * Segments the held-out cases of a fold by its support. Without one, as where nothing is held out, it segments nothing.
 *
 * @param options ranges: whether a case tells in which slices a class begins and ends
 * @returns labels of an image, given the case's id
 */
export function heldOutSegmenter(
  { plan, store }: TrainingRun,
  { model, params, settings }: { model: OneShotModel; params: object; settings: FewShotSettings },
  support: PreparedCase | undefined,
  { ranges }: { ranges: "known" | "unknown" },
): (image: Volume, id: string) => Promise<Volume> {
  if (!support) return async (image) => image;
  print(`Support: ${support.id}`);
  const segment = oneShotSegmenter(model, params, { plan, ...fewShotOptions(settings) });
  const values = plan.labels.map((_, value) => value).slice(1);
  return async (image, id) =>
    segment(image, [support], ranges === "known" ? { ranges: sliceRanges(await store.get(id), values) } : {});
}
