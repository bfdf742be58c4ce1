// deno-lint-ignore-file no-explicit-any
// Trains an encoder for one-shot segmentation without any label, on superpixels (SSL-ALPNet, Ouyang et al. 2020), or on
// annotated classes, and segments held-out cases from one labeled case. scripts/segment_one_shot.ts uses what is trained.
// --help lists what can be set.
import { compile, random, readWeights, slice, type Tensor, valueAndGrad } from "../engine/mod.ts";
import { type Comparison, Prng, writeOrganPhantomDataset } from "../engine/imaging/mod.ts";
import * as nn from "../engine/nn/mod.ts";
import * as train from "../engine/train/mod.ts";
import {
  alpnet,
  type EpisodeBatch,
  fewShotOptions,
  type FewShotSettings,
  oneShotSegmenter,
  sliceRanges,
  supportsOf,
  trainingEpisodes,
  transformed,
  withStatistics,
} from "../models/mod.ts";

/** An episode is two slices and no patches: what says how these are drawn is no option here, and stays as it is. */
const { preset, batch, patch, features, foreground, sets, augment, flips, validation, ...common } =
  train.trainingEntries;
const PATCHES = { preset, batch, patch, features, foreground, sets, augment, flips, validation };

/** The config block. */
export const alpnetEntries = {
  ...common,
  arm: train.choice(
    ["ssl-alpnet", "ssl-panet", "alpnet", "panet", "init"],
    "ssl: trained on superpixels, else on annotated classes; panet: one prototype a class; init: not trained at all",
  ),
  transform: train.choice(["both", "geometry", "intensity", "none"], "what is done to the slices of an episode"),
  transformed: train.choice(["both", "query"], "each slice by itself (official code), or the query alone (paper)"),
  exclude: train.entry(
    "",
    "classes, with commas between, that training may not see: their slices are left out (setting 2)",
  ),
  minSize: train.entry(
    0,
    "pixels of the smallest superpixel; 0: 400 for slices of 256 x 256, and as much smaller as slices are",
    { integer: true, min: 0 },
  ),
  superpixels: train.choice(["slices", "volume"], "made in each slice (paper), or in the volume, as supervoxels"),
  sigma: train.entry(1, "smoothing before superpixels are made, in pixels", { min: 0 }),
  threshold: train.entry(
    1e-4,
    "of a scan's values from 0 to 255, up to which a voxel is background; 1e-4 for CT, 50 for MR",
    { min: 0, max: 255 },
  ),
  side: train.entry(0, "pixels of a slice along its longer edge; 0: as most cases need, at most 256", {
    integer: true,
    min: 0,
  }),
  backbone: train.choice(
    ["small", "resnet18", "resnet34", "resnet50", "resnet101"],
    "small has two stages of two blocks and 16 channels",
  ),
  stride: train.choice(["8", "4"], "how much coarser than the slice features are; 4 for small slices"),
  weights: train.entry("", "state dict of torchvision's ResNet or DeepLabV3, as safetensors, to begin with"),
  embedding: train.entry(0, "channels of the features; 0: 256, 64 of the small backbone", { integer: true, min: 0 }),
  window: train.entry(4, "edge of a prototype's window in features, in training", { integer: true, min: 1 }),
  testWindow: train.entry(2, "and in testing", { integer: true, min: 1 }),
  temperature: train.entry(20, "alpha of Eq. 4", { min: 1e-3 }),
  rule: train.choice(["code", "paper"], "which windows are background; see alpnet.classPrototypes"),
  alignment: train.entry(1, "weight of the prototypical alignment, lambda of Eq. 9", { min: 0 }),
  support: train.entry("", "case that is the support of held-out cases; the first of the training without it"),
  chunks: train.entry(3, "parts of a class along the slices, each with a support slice", { integer: true, min: 1 }),
  ranges: train.choice(
    ["known", "unknown"],
    "whether a held-out case tells in which slices a class begins and ends, as the papers measure",
  ),
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

/** Options that say how the training goes. */
const TRAINED = [
  "exclude",
  "side",
  "alignment",
  "rate",
  "decay",
  "decaySteps",
  "momentum",
  "weightDecay",
  "steps",
  "epochs",
  "epoch",
  "checkpoint",
] as const;

/** Names of the training's curves. */
const CURVES = ["class of the episode"];

/** Slices of the paper, and the longest that are trained on. */
const PAPER_SIDE = 256;

interface State {
  readonly params: any;
  readonly optimizer: any;
}

/** The encoder and the compiled step of a training; nothing runs yet. */
function alpnetMethod(options: AlpnetOptions, { plan }: train.TrainingRun) {
  const small = options.backbone === "small";
  const stride = Number(options.stride);
  const architecture = {
    ...(small
      ? { block: "basic" as const, layers: [2, 2], width: 16 }
      : { depth: Number(options.backbone.slice(6)) as 18 }),
    inputChannels: plan.channels.length,
    replaceStrideWithDilation: small ? [stride === 4] : [stride === 4, true, true],
    features: options.embedding || (small ? 64 : 256),
  };
  const model = alpnet.encoder(architecture);
  const [, h, w] = plan.fingerprint.medianPreparedShape;
  const longest = options.side || Math.min(PAPER_SIDE, Math.max(h, w));
  const size = [h, w].map((n) => Math.ceil(Math.min(n, longest) / stride) * stride) as [number, number];
  const { arm, window, testWindow, chunks, temperature, rule, alignment, transform } = options;
  /** As the encoder is measured, and as it is to be used. */
  const settings: FewShotSettings = {
    window: testWindow,
    chunks,
    temperature,
    rule,
    prototypes: arm.endsWith("panet") ? "panet" : "alpnet",
  };
  const { chunks: _, window: __, ...fewShot } = fewShotOptions(settings);
  const features = Math.min(...size) / stride;
  if (settings.prototypes === "alpnet" && arm !== "init" && window > features) {
    throw new train.ConfigError(
      `--window: got ${window}, and slices of ${
        size.join(" x ")
      } have ${features} features along an edge; take less, or --stride 4`,
    );
  }
  const optimizer = nn.sgd({ momentum: options.momentum, weightDecay: options.weightDecay });

  /** One episode: the query is segmented by prototypes of the support, and the support by those of the query. */
  const trainStep = compile((state: State, batch: EpisodeBatch, key: Tensor, rate: Tensor) => {
    const { image, label } = transformed(key, batch, { transform, of: options.transformed });
    const part = (x: Tensor, n: number): Tensor => slice(x, { start: [n], end: [n + 1] });
    const lossOf = (params: any) => {
      const { output, statistics } = model.applyTraining(params, image);
      const { loss, logits } = alpnet.episodeLoss(
        {
          support: part(output, 0),
          supportLabels: part(label, 0),
          query: part(output, 1),
          queryLabels: part(label, 1),
        },
        { ...fewShot, ways: 1, window, alignment },
      );
      return [loss, { statistics, logits }] as const;
    };
    const [[value, { statistics, logits }], grads] = valueAndGrad(lossOf as any, { hasAux: true })(state.params) as any;
    const [params, next] = optimizer.update(grads, state.optimizer, state.params, rate);
    const metrics = train.stepMetrics(value, logits, part(label, 1));
    return [{ params: withStatistics(params, statistics), optimizer: next }, metrics] as const;
  }, { donate: [0] });

  const key = random.key(options.seed);
  return {
    architecture,
    model,
    size,
    settings,
    trainStep,
    init: async (): Promise<State> => {
      const { weights } = options;
      const params = weights === "" ? model.init(key) : model.load((await readWeights(weights)).tensors, key);
      return { params, optimizer: optimizer.init(params) };
    },
  };
}

/**
 * Trains on each fold that is asked for, segments its held-out cases from one labeled case, and writes the run's folder.
 * Only the arms alpnet and panet, and the support, use what is annotated.
 *
 * @returns measures of the held-out cases
 * @throws ConfigError for options that do not fit the data, and as openTraining
 */
export async function trainAlpnet(options: AlpnetOptions): Promise<Comparison> {
  checkOptions(options);
  const unusedOptions = Object.fromEntries(Object.entries(PATCHES).map(([key, { value }]) => [key, value]));
  const training = await train.openTraining({ ...unusedOptions as train.Config<typeof PATCHES>, ...options }, PHANTOMS);
  const { plan, store, dataset } = training;
  if (plan.regions || plan.ignoreLabel !== undefined) {
    throw new train.ConfigError(
      `${dataset.folder}: few-shot classes are plain labels, without regions and an ignore label`,
    );
  }
  const exclude = excludedClasses(options, plan.labels);
  const { architecture, model, size, settings, trainStep, init } = alpnetMethod(options, training);
  const { outputStride } = model.config;
  train.print(
    `Model: ${options.backbone}, slices of ${size.join(" x ")}, features ${
      size.map((n) => n / outputStride).join(" x ")
    }; ${options.arm}`,
  );
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
      supports: Object.fromEntries([...supports].map(([fold, { id }]) => [fold, id])),
    },
  };
  return train.runFolds<State, EpisodeBatch>(training, about, async ({ name, split }) => {
    const state = await init();
    const support = supports.get(name);
    const draw = options.arm === "init"
      ? undefined
      : await trainingEpisodes(options, training, { split, size, exclude });
    const draws = new Prng(options.seed).fork("episodes");
    return {
      state,
      training: draw && {
        rate: (k) => options.rate * options.decay ** Math.floor((k - 1) / options.decaySteps),
        batch: (k) => draw(draws.fork(k)),
        step: (current, batch, rate, k) => trainStep(current, batch, training.key(k), rate),
        program: () => trainStep,
      },
      segment: ({ params }) => {
        if (!support) return async (image) => image;
        train.print(`Support: ${support.id}`);
        const segment = oneShotSegmenter(model, params, { plan, ...fewShotOptions(settings) });
        const values = plan.labels.map((_, value) => value).slice(1);
        return async (image, id) =>
          segment(
            image,
            [support],
            options.ranges === "known" ? { ranges: sliceRanges(await store.get(id), values) } : {},
          );
      },
      heldOut: split.val.filter((id) => id !== support?.id),
    };
  });
}

/** Values of the classes that training may not see. */
function excludedClasses({ exclude }: AlpnetOptions, labels: readonly string[]): number[] {
  const names = train.splitList(exclude);
  const unknown = names.find((name) => !labels.slice(1).includes(name));
  if (unknown !== undefined) {
    throw new train.ConfigError(`--exclude: there is no class "${unknown}"; there are ${labels.slice(1).join(", ")}`);
  }
  return names.map((name) => labels.indexOf(name));
}

/** Refuses what would have no effect, before the data is opened. */
function checkOptions(options: AlpnetOptions): void {
  const { arm, transform, fold } = options;
  const untrained = arm === "init" && "--arm init is not trained";
  const annotated = untrained ||
    (!arm.startsWith("ssl") && `--arm ${arm} is trained on annotated classes, without superpixels`);
  const whole = arm.endsWith("panet") && `--arm ${arm} has one prototype a class, and no windows`;
  const unheld = fold === "all" && "--fold all holds nothing out";
  train.checkTrainingOptions(options, {
    ...train.unused(annotated, "superpixels", "minSize", "sigma", "threshold"),
    transform: untrained,
    transformed: untrained || (transform === "none" && "--transform none changes no slice"),
    ...train.unused(untrained, ...TRAINED),
    window: untrained || whole,
    ...train.unused(whole, "testWindow", "rule"),
    ...train.unused(unheld, "support", "ranges"),
  });
}

await train.runScript(
  import.meta.url,
  () => train.resumableConfig(alpnetEntries, { change: train.trainingChanges }),
  trainAlpnet,
);
