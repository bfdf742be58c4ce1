// Trains an encoder for one-shot segmentation without any label, on superpixels (SSL-ALPNet, Ouyang et al. 2020), or
// on annotated classes, and segments held-out cases from one labeled case. A folder of scans is enough; where there are
// labels they say how good it is. scripts/segment_one_shot.ts uses what it trained. --help lists what can be set.
import { compile, random, readWeights, slice, type Tensor, valueAndGrad } from "../engine/mod.ts";
import { casesOf, type Comparison, Prng, writeOrganPhantomDataset } from "../engine/imaging/mod.ts";
import * as nn from "../engine/nn/mod.ts";
import * as train from "../engine/train/mod.ts";
import type { EncoderParams, EpisodeBatch } from "../models/mod.ts";
import { alpnet, transformed, withStatistics } from "../models/mod.ts";
import { checkAlpnetData, checkAlpnetOptions, episodeEntries, excludedClasses } from "../models/alpnet/options.ts";
import { planEncoder, sidedPlan, withPatches } from "../models/alpnet/options.ts";
import { episodeOptions, measuredEntries } from "../models/alpnet/settings.ts";
import { heldOutSegmenter, superpixelEntries, supportsOf, tellPrototypes } from "../models/alpnet/training_episodes.ts";
import { trainingEpisodes, withSliceStatistics } from "../models/alpnet/training_episodes.ts";
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
  unlabeled: train.entry("", "folder of further scans to train on, without labels, such as DATA/imagesTs"),
  clip: train.entry(
    [],
    "intensities are cut off at, as -125,275 for soft tissue in CT; without it as planned, for CT by what is " +
      "labeled, or without labels by the body",
    { lengths: [0, 2] },
  ),
  side: train.entry(
    0,
    "pixels of a slice's longer edge, to which slices are resized, small ones also to more; 0: as planned, but at " +
      "most 256, and with --aligned at least 104",
    { integer: true, min: 0 },
  ),
  backbone: train.choice(["small", "resnet18", "resnet34", "resnet50", "resnet101"], "small: two stages, 16 channels"),
  stride: train.choice(["8", "4"], "how much coarser than the slice features are; 4 for small slices"),
  weights: train.entry("", "state dict of torchvision's ResNet or DeepLabV3, as safetensors, to begin with"),
  embedding: train.entry(0, "channels of the features; 0: 256, 64 of the small backbone", { integer: true, min: 0 }),
  window: train.entry(4, "edge of a prototype's window in features, in training", { integer: true, min: 1 }),
  testWindow: train.entry(2, "and in testing", { integer: true, min: 1 }),
  local: train.choice(["both", "foreground", "background"], "what has local prototypes"),
  temperature: train.entry(20, "alpha of Eq. 4", { min: 1e-3 }),
  rule: train.choice(["code", "paper"], "which windows are background; see alpnet.classPrototypes"),
  ...measuredEntries,
  alignment: train.entry(1, "weight of the prototypical alignment, lambda of Eq. 9", { min: 0 }),
  support: train.entry("", "case that is the support of held-out cases; the first of the training without it"),
  shots: train.entry(1, "labeled cases that are the support together; the others are the next of the training", {
    integer: true,
    min: 1,
  }),
  chunks: train.entry(3, "parts of a class along the slices, each with a support slice", { integer: true, min: 1 }),
  ranges: train.choice(["known", "unknown"], "known: the slices of a class in a held-out case are given (papers)"),
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

/** Names of the training's curves. */
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

  const key = random.key(options.seed);
  return {
    ...planned,
    trainStep,
    init: async (ids: readonly string[]): Promise<State> => {
      const { weights, arm } = options;
      const fresh = weights === "" ? model.init(key) : model.load((await readWeights(weights)).tensors, key);
      // Weights of a file bring their statistics along.
      const params = arm === "init" && weights === ""
        ? await withSliceStatistics(model, fresh, casesOf(store, ids), planned.size)
        : fresh;
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
  const { architecture, model, size, settings, trainStep, init } = alpnetMethod(options, training);
  const { outputStride } = model.config;
  const features = size.map((n) => n / outputStride).join(" x ");
  train.print(`Model: ${options.backbone}, slices of ${size.join(" x ")}, features ${features}; ${options.arm}`);
  const told = { window: options.window, stride: outputStride };
  const supports = await supportsOf(options, training, { settings, outputStride });
  const about = {
    title: `${dataset.name}, ${options.arm}`,
    classes: CURVES,
    unit: "episodes",
    model: { network: "alpnetEncoder", architecture, plan, fewShot: { ...settings } },
    config: {
      options,
      network: "alpnetEncoder",
      architecture,
      fewShot: settings,
      // What the curves are of: no class of the dataset.
      curves: CURVES,
      supports: Object.fromEntries([...supports].map(([fold, own]) => [fold, own.map(({ id }) => id).join(", ")])),
    },
  };
  return train.runFolds<State, EpisodeBatch>(training, about, async ({ name, split, run }) => {
    const state = await init(split.train);
    const support = supports.get(name);
    const untrained = options.arm === "init" || options.arm === "copied";
    const episodes = untrained ? undefined : await trainingEpisodes(options, training, { split, size, exclude });
    const draw = episodes?.draw;
    const draws = new Prng(options.seed).fork("episodes");
    if (draw) await tellPrototypes((k) => draw(draws.fork(k)), { ...episodeOptions(settings), ...told });
    return {
      state,
      training: draw && {
        rate: (k) => options.rate * options.decay ** Math.floor((k - 1) / options.decaySteps),
        batch: (k) => draw(draws.fork(k)),
        step: (current, batch, rate, k) => trainStep(current, batch, training.key(k), rate),
        program: () => trainStep,
      },
      segment: ({ params }) => heldOutSegmenter(training, { model, params, settings }, support, options),
      ...(episodes && {
        figures: ({ params }: State) =>
          episodeFigures(params, {
            ...episodes,
            ...{ run, model, seed: options.seed, transform: options.transform, of: options.transformed },
            fewShot: { ...episodeOptions(settings), window: options.window },
            draw: (k) => episodes.draw(draws.fork(k)),
          }),
      }),
      heldOut: split.val.filter((id) => !support?.some((each) => each.id === id)),
    };
  });
}

await train.runTraining(import.meta.url, alpnetEntries, trainAlpnet);
