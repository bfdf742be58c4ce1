/** Episode sources of an ALPNet training, and the supports for its held-out cases. */
import {
  type CaseSource,
  extractBox,
  openSuperpixels,
  type PreparedCase,
  Prng,
  storeFolder,
  type SuperpixelStore,
  type Volume,
} from "../../engine/imaging/mod.ts";
import { ConfigError, print, type TrainingRun } from "../../engine/train/mod.ts";
import { compile, random, readWeights, slice, sum, type Tensor, tensor, tree, zeros } from "../../engine/mod.ts";
import { type Statistics, withStatistics } from "../resnet/resnet.ts";
import * as alpnet from "./alpnet.ts";
import type { FewShotOptions } from "./alpnet.ts";
import type { Encoder, EncoderParams } from "./encoder.ts";
import { annotatedEpisodes, type DrawEpisode, type EpisodeBatch, superpixelEpisodes } from "./episodes.ts";
import { copiedSegmenter } from "./copied.ts";
import { oneShotSegmenter, paddedFeatures } from "./scans.ts";
import type { OneShotModel } from "./scans.ts";
import { fewShotOptions, type FewShotSettings } from "./settings.ts";
import { sliceRanges } from "./slices.ts";
import type { SuperpixelSettings } from "./training_entries.ts";

/** Slice edge in the paper, and its minimum superpixel size in pixels. */
const PAPER_SIDE = 256;
const PAPER_MIN_SIZE = 400;

/** Options of the episodes of a training. */
export interface EpisodeSourceOptions extends SuperpixelSettings {
  /** Arms that begin with "ssl" train on superpixels, the others on annotated classes. */
  readonly arm: string;
  /** Folder of prepared cases, also for the superpixels. */
  readonly cache: string;
  readonly workers: number;
  /** Of the episodes that are drawn. */
  readonly seed: number;
}

/** Episodes of a training, and what they are made of. */
export interface TrainingEpisodes {
  /** The k-th episode. */
  readonly draw: (k: number) => Promise<EpisodeBatch>;
  readonly source: CaseSource;
  /** Absent of annotated classes. */
  readonly superpixels?: SuperpixelStore;
  /** How superpixels were made, in words. */
  readonly about: string;
}

/** The episodes of a training: superpixels of all its cases, or classes that are not excluded. */
export async function trainingEpisodes(
  options: EpisodeSourceOptions,
  { store, dataset, plan }: TrainingRun,
  { split, size, exclude }: { split: { train: readonly string[] }; size: [number, number]; exclude: readonly number[] },
): Promise<TrainingEpisodes> {
  const source: CaseSource = { ids: split.train, get: (id) => store.get(id) };
  const draws = new Prng(options.seed).fork("episodes");
  const numbered = (draw: DrawEpisode) => (k: number): Promise<EpisodeBatch> => draw(draws.fork(k));
  if (!options.arm.startsWith("ssl")) {
    const classes = plan.labels.map((_, value) => value).filter((value) => value > 0 && !exclude.includes(value));
    const draw = numbered(await annotatedEpisodes(source, classes, { size, exclude }));
    return { draw, source, about: "" };
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
  const about = `at least ${minSize} pixels, sigma ${sigma}, threshold ${threshold}`;
  const draw = numbered(await superpixelEpisodes(source, superpixels, { size, exclude }));
  return { draw, source, superpixels, about };
}

/**
 * The support of each fold with held-out cases. Checks before training that it is valid and that windows fit into the
 * slices.
 */
export async function supportsOf(
  options: { support: string; shots: number; arm: string },
  training: TrainingRun,
  { settings, outputStride }: { settings: FewShotSettings; outputStride: number },
): Promise<Map<string, readonly PreparedCase[]>> {
  const supports = new Map<string, readonly PreparedCase[]>();
  const bare = new Set(training.dataset.cases.flatMap(({ id, label }) => (label === undefined ? [id] : [])));
  for (const { name, split } of training.folds) {
    if (split.val.length === 0) continue;
    const { cases, folder } = training.dataset;
    const labeled = split.train.filter((id) => !bare.has(id));
    const first = options.support || labeled[0];
    if (!cases.some(({ id }) => id === first)) {
      throw new ConfigError(`--support: there is no case ${first} in ${folder}`);
    }
    const ids = [first, ...labeled.filter((id) => id !== first)].slice(0, options.shots);
    if (ids.length < options.shots) {
      throw new ConfigError(`--shots: got ${options.shots}, and ${name} has ${ids.length} labeled cases to train on`);
    }
    const own = await Promise.all(ids.map((id) => training.store.get(id)));
    const empty = own.find(({ label }) => !label.some((value) => value > 0));
    if (empty) {
      throw new ConfigError(
        `${empty.id}: as it is prepared it shows no class, so it cannot be the support; name another by --support`,
      );
    }
    supports.set(name, own);
    if (settings.prototypes === "panet" || options.arm === "copied") continue;
    for (const id of [...ids, ...split.val]) {
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
 * Segments the held-out cases of a fold by its supports. Without any, as where nothing is held out, it does nothing.
 *
 * @param options ranges: whether a case tells in which slices a class begins and ends
 * @returns labels of an image, given the case's id
 */
export function heldOutSegmenter(
  { plan, store }: TrainingRun,
  { model, params, settings }: { model: OneShotModel; params: object; settings: FewShotSettings },
  supports: readonly PreparedCase[] | undefined,
  { ranges, arm }: { ranges: "known" | "unknown"; arm: string },
): (image: Volume, id: string) => Promise<Volume> {
  if (!supports) return async (image) => image;
  print(`Support: ${supports.map(({ id }) => id).join(", ")}`);
  const options = { plan, ...fewShotOptions(settings) };
  const { slices, chunks } = options;
  const segment = arm === "copied"
    ? copiedSegmenter({ plan, slices, chunks })
    : oneShotSegmenter(model, params, options);
  const values = plan.labels.map((_, value) => value).slice(1);
  return async (image, id) =>
    segment(image, supports, ranges === "known" ? { ranges: sliceRanges(await store.get(id), values) } : {});
}

/** Parameters that a training begins with: of the seed, or of a file, which brings its statistics along. */
export async function firstParams(
  { weights, arm, seed }: { readonly weights: string; readonly arm: string; readonly seed: number },
  { model, size }: { readonly model: Encoder; readonly size: readonly [number, number] },
  source: CaseSource,
): Promise<EncoderParams> {
  const key = random.key(seed);
  if (weights !== "") return model.load((await readWeights(weights)).tensors, key);
  const fresh = model.init(key);
  return arm === "init" ? withSliceStatistics(model, fresh, source, size) : fresh;
}

/** Slices of a pass over the cases that go through the encoder together. */
const PASS = 8;

/**
 * Parameters whose batch norms have the statistics of a source's slices, by one pass over all of them; no label is
 * looked at. For an encoder that is not trained: with statistics of 0 and 1 its batch norms would do nothing.
 *
 * @param size of the slices, as in training
 */
export async function withSliceStatistics(
  model: Encoder,
  params: EncoderParams,
  source: CaseSource,
  size: readonly [number, number],
): Promise<EncoderParams> {
  const add = compile((p: EncoderParams, images: Tensor, sums: Statistics): Statistics => {
    const { statistics } = model.applyTraining(p, images, { momentum: 1 });
    return Object.fromEntries(Object.entries(statistics).map(([key, t]) => [key, sums[key].add(t)]));
  });
  let sums: Statistics = tree.map(
    model.applyTraining(params, zeros([1, model.config.inputChannels, ...size])).statistics,
    (t) => zeros(t.shape),
  );
  let count = 0;
  for (const id of source.ids) {
    const { image, shape, channels } = await source.get(id);
    for (let from = 0; from < shape[0]; from += PASS) {
      const images = new Float32Array(PASS * channels * size[0] * size[1]);
      for (let n = 0; n < PASS; n++) {
        // The last slices stand in for those that a batch lacks.
        const start = [Math.min(from + n, shape[0] - 1), 0, 0];
        extractBox(image, shape, images, { channels, start, size: [1, ...size], at: (n * images.length) / PASS });
      }
      sums = await add(params, tensor(images, { shape: [PASS, channels, ...size] }), sums);
      count++;
    }
  }
  add.dispose();
  return withStatistics(params, tree.map(sums, (t) => t.div(count)));
}

/** Episodes that are drawn to tell how far local prototypes are in use. */
const TOLD = 32;

/**
 * Tells how far a training has local prototypes of its classes, by some of its episodes.
 *
 * @param draw the k-th episode
 * @param options as of the training's episodes
 */
export async function tellPrototypes(
  draw: (k: number) => Promise<EpisodeBatch>,
  { stride, temperature: _, ...options }: FewShotOptions & { readonly stride: number },
): Promise<void> {
  if (options.foreground === "mask") return;
  const used = compile((label: Tensor) => {
    const support = slice(label, { end: [1] });
    const features = zeros([1, 1, ...label.shape.slice(1).map((n) => n / stride)]);
    const [, own] = alpnet.classPrototypes(features, support, options);
    return sum(slice(own.used, { end: [own.windows] }).cast("f32"));
  });
  const counts: number[] = [];
  for (let k = 1; k <= TOLD; k++) counts.push(await (await used((await draw(k)).label)).item());
  used.dispose();
  const local = counts.filter((n) => n > 0).length;
  const mean = counts.reduce((a, b) => a + b, 0) / TOLD;
  print(
    `Local prototypes of the class: in ${local} of ${TOLD} episodes, ${mean.toPrecision(2)} on average` +
      (local === 0 ? "; some with smaller windows, larger superpixels or slices, or --stride 4" : ""),
  );
}
