// Trains an encoder for one-shot segmentation without any label, on superpixels (SSL-ALPNet, Ouyang et al. 2020), or
// on annotated classes, and segments held-out cases from one labeled case. A folder of scans is enough; where there are
// labels they say how good it is. scripts/segment_one_shot.ts uses what it trained. --help lists what can be set.
import { compile, slice, type Tensor, valueAndGrad } from "../engine/mod.ts";
import { casesOf, type Comparison, writeOrganPhantomDataset } from "../engine/imaging/mod.ts";
import * as nn from "../engine/nn/mod.ts";
import * as train from "../engine/train/mod.ts";
import type { EncoderParams, EpisodeBatch } from "../models/mod.ts";
import { alpnet, transformed, withStatistics } from "../models/mod.ts";
import { checkAlpnetData, checkAlpnetOptions, excludedClasses } from "../models/alpnet/options.ts";
import { planEncoder, sidedPlan } from "../models/alpnet/options.ts";
import { episodeOptions, measuredEntries } from "../models/alpnet/settings.ts";
import { encoderEntries, episodeEntries, prototypeEntries, scanEntries } from "../models/alpnet/training_entries.ts";
import { superpixelEntries, supportEntries, withPatches } from "../models/alpnet/training_entries.ts";
import { firstParams, heldOutSegmenter, supportsOf, tellPrototypes } from "../models/alpnet/training_episodes.ts";
import { trainingEpisodes } from "../models/alpnet/training_episodes.ts";
import { episodeFigures } from "../models/alpnet/episode_figures.ts";

/** The config block. */
export const alpnetEntries = {
  ...episodeEntries,
  arm: train.choice(
    ["ssl-alpnet", "ssl-panet", "alpnet", "panet", "init", "copied"],
    "ssl: trained on superpixels, else on annotated classes; panet: one prototype a class; init: not trained, but " +
      "for statistics of batch norms; copied: no network, the support's mask is moved to the other scans",
  ),
  transform: train.choice(["both", "geometry", "intensity", "none"], "what is done to the slices of an episode"),
  transformed: train.choice(["both", "query"], "each slice by itself (official code), or the query alone (paper)"),
  exclude: train.entry("", "classes, comma-separated, whose slices are left out of the training (setting 2)"),
  ...superpixelEntries,
  ...scanEntries,
  ...encoderEntries,
  ...prototypeEntries,
  ...measuredEntries,
  alignment: train.entry(1, "weight of the prototypical alignment, lambda of Eq. 9", { min: 0 }),
  ...supportEntries,
  rate: train.entry(1e-3, "learning rate at the start", { min: 0 }),
  decay: train.entry(0.95, "it is multiplied by this every --decaySteps; 0.98 in the paper", { min: 0, max: 1 }),
  decaySteps: train.entry(1000, "see --decay", { integer: true, min: 1 }),
  momentum: train.entry(0.9, "of the gradient", { min: 0, max: 1 }),
  weightDecay: train.entry(5e-4, "L2 penalty", { min: 0 }),
} as const;

export type AlpnetOptions = train.Config<typeof alpnetEntries>;

const PHANTOMS = {
  shape: [48, 48, 16],
  spacing: [6, 6, 18],
  patch: [16, 48, 48],
  features: [8, 16],
  write: writeOrganPhantomDataset,
} as const;

/** What the curves of a training are of: no class of the dataset. */
const CURVES = ["class of the episode"];

interface State {
  readonly params: EncoderParams;
  readonly optimizer: nn.OptimizerState;
}

/** The encoder and the compiled step of a training; nothing runs yet. */
function alpnetMethod(options: AlpnetOptions, { plan, store }: train.TrainingRun) {
  const planned = planEncoder(options, plan);
  const { model, settings } = planned;
  const fewShot = episodeOptions(settings);
  const { window, alignment, transform } = options;
  const optimizer = nn.sgd({ momentum: options.momentum, weightDecay: options.weightDecay });

  /** One episode: the query is segmented by prototypes of the support, and the support by those of the query. */
  const trainStep = compile((state: State, batch: EpisodeBatch, key: Tensor, rate: Tensor) => {
    const { image, label } = transformed(key, batch, { transform, of: options.transformed });
    const part = (x: Tensor, n: number): Tensor => slice(x, { start: [n], end: [n + 1] });
    const [supportLabels, queryLabels] = [part(label, 0), part(label, 1)];
    const lossOf = (params: EncoderParams) => {
      const { output, statistics } = model.applyTraining(params, image);
      const episode = { support: part(output, 0), supportLabels, query: part(output, 1), queryLabels };
      const { loss, logits } = alpnet.episodeLoss(episode, { ...fewShot, ways: 1, window, alignment });
      return [loss, { statistics, logits }] as const;
    };
    const [[value, { statistics, logits }], grads] = valueAndGrad(lossOf, { hasAux: true })(state.params);
    const [params, next] = optimizer.update(grads, state.optimizer, state.params, rate);
    const metrics = train.stepMetrics(value, logits, queryLabels);
    return [{ params: withStatistics(params, statistics), optimizer: next }, metrics] as const;
  }, { donate: [0] });

  return {
    ...planned,
    fewShot,
    trainStep,
    init: async (ids: readonly string[]): Promise<State> => {
      const params = await firstParams(options, planned, casesOf(store, ids));
      return { params, optimizer: optimizer.init(params) };
    },
  };
}

/**
 * Trains on each fold that is asked for, segments its held-out cases from one labeled case, writes the run's folder,
 * and gives the measures. Only the arms alpnet and panet, and the support, use what is annotated.
 */
export async function trainAlpnet(options: AlpnetOptions): Promise<Comparison> {
  checkAlpnetOptions(options);
  const training = await train.openTraining(withPatches(options), PHANTOMS, {
    unlabeled: true,
    further: options.unlabeled,
    ...(options.clip.length > 0 && { clip: options.clip as [number, number] }),
    adjust: (plan) => sidedPlan(plan, options),
  });
  checkAlpnetData(training, options);
  const { plan, dataset } = training;
  const exclude = excludedClasses(options, plan.labels);
  const { model, description, size, settings, fewShot, trainStep, init } = alpnetMethod(options, training);
  const { outputStride } = model.config;
  const features = size.map((n) => n / outputStride).join(" x ");
  train.print(`Model: ${options.backbone}, slices of ${size.join(" x ")}, features ${features}; ${options.arm}`);
  const supports = await supportsOf(options, training, { settings, outputStride });
  const told = Object.fromEntries([...supports].map(([fold, own]) => [fold, own.map(({ id }) => id).join(", ")]));
  const { network, architecture } = description;
  const about = {
    title: `${dataset.name}, ${options.arm}`,
    classes: CURVES,
    unit: "episodes",
    model: description,
    config: { options, network, architecture, fewShot: settings, curves: CURVES, supports: told },
  };
  return train.runFolds<State, EpisodeBatch>(training, about, async ({ name, split, run }) => {
    const state = await init(split.train);
    const support = supports.get(name);
    const untrained = options.arm === "init" || options.arm === "copied";
    const episodes = untrained ? undefined : await trainingEpisodes(options, training, { split, size, exclude });
    const matched = { ...fewShot, window: options.window };
    if (episodes) await tellPrototypes(episodes.draw, { ...matched, stride: outputStride });
    const shown = { run, model, fewShot: matched, seed: options.seed };
    const moves = { transform: options.transform, of: options.transformed };
    return {
      state,
      training: episodes && {
        rate: (k) => options.rate * options.decay ** Math.floor((k - 1) / options.decaySteps),
        batch: episodes.draw,
        step: (current, batch, rate, k) => trainStep(current, batch, training.key(k), rate),
        program: () => trainStep,
      },
      segment: ({ params }) => heldOutSegmenter(training, { model, params, settings }, support, options),
      figures: async ({ params }) => episodes && episodeFigures(params, { ...episodes, ...shown, ...moves }),
      heldOut: split.val.filter((id) => !support?.some((each) => each.id === id)),
    };
  });
}

await train.runTraining(import.meta.url, alpnetEntries, trainAlpnet);
