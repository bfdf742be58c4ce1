/**
 * Training of ALPNet on superpixels (Ouyang et al. 2020) and what it is compared with. What scripts/train_alpnet.ts runs,
 * for experiments that train several arms.
 */
import { compile, deviceInfo, random, readWeights, slice, type Tensor, valueAndGrad } from "../../engine/mod.ts";
import { sgd } from "../../engine/nn/mod.ts";
import {
  type CaseSource,
  type Comparison,
  openSuperpixels,
  type PreparedCase,
  Prng,
  storeFolder,
  writeOrganPhantomDataset,
} from "../../engine/imaging/mod.ts";
import {
  checkTrainingOptions,
  choice,
  type Config,
  ConfigError,
  duration,
  entry,
  type FoldSetup,
  openTraining,
  print,
  programLine,
  stepFigures,
  train,
  type Training,
  trainingEntries,
  writeModel,
} from "../../engine/train/mod.ts";

import * as alpnet from "./alpnet.ts";
import { annotatedEpisodes, type DrawEpisode, type EpisodeBatch, superpixelEpisodes, transformed } from "./episodes.ts";
import { oneShotSegmenter, paddedFeatures, sliceRanges } from "./scans.ts";
import { fewShotOptions, type FewShotSettings } from "./support.ts";
import { withStatistics } from "../resnet/resnet.ts";

/** An episode is two slices and no patches: what says how these are drawn is no option here, and stays as it is. */
const { preset, batch, patch, features, foreground, sets, augment, flips, validation, ...common } = trainingEntries;
const PATCHES = { preset, batch, patch, features, foreground, sets, augment, flips, validation };

/** Entries of the config block, those of every training included that it uses. */
export const alpnetEntries = {
  ...common,
  arm: choice(
    ["ssl-alpnet", "ssl-panet", "alpnet", "panet", "init"],
    "ssl: trained on superpixels, else on annotated classes; panet: one prototype a class; init: not trained at all",
  ),
  transform: choice(["both", "geometry", "intensity", "none"], "what is done to the slices of an episode"),
  transformed: choice(["both", "query"], "each slice by itself (official code), or the query alone (paper)"),
  exclude: entry("", "classes, with commas between, that training may not see: their slices are left out (setting 2)"),
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
  side: entry(0, "pixels of a slice along its longer edge; 0: as most cases need, at most 256", {
    integer: true,
    min: 0,
  }),
  backbone: choice(
    ["small", "resnet18", "resnet34", "resnet50", "resnet101"],
    "small has two stages of two blocks and 16 channels",
  ),
  stride: choice(["8", "4"], "how much coarser than the slice features are; 4 for small slices"),
  weights: entry("", "state dict of torchvision's ResNet or DeepLabV3, as safetensors, to begin with"),
  embedding: entry(0, "channels of the features; 0: 256, 64 of the small backbone", { integer: true, min: 0 }),
  window: entry(4, "edge of a prototype's window in features, in training", { integer: true, min: 1 }),
  testWindow: entry(2, "and in testing", { integer: true, min: 1 }),
  temperature: entry(20, "alpha of Eq. 4", { min: 1e-3 }),
  rule: choice(["code", "paper"], "which windows are background; see alpnet.classPrototypes"),
  alignment: entry(1, "weight of the prototypical alignment, lambda of Eq. 9", { min: 0 }),
  support: entry("", "case that is the support of held-out cases; the first of the training without it"),
  chunks: entry(3, "parts of a class along the slices, each with a support slice", { integer: true, min: 1 }),
  ranges: choice(
    ["known", "unknown"],
    "whether a held-out case tells in which slices a class begins and ends, as the papers measure",
  ),
  rate: entry(1e-3, "learning rate at the start", { min: 0 }),
  decay: entry(0.95, "it is multiplied by this every --decaySteps; 0.98 in the paper", { min: 0, max: 1 }),
  decaySteps: entry(1000, "see --decay", { integer: true, min: 1 }),
  momentum: entry(0.9, "of the gradient", { min: 0, max: 1 }),
  weightDecay: entry(5e-4, "L2 penalty", { min: 0 }),
} as const;

export type AlpnetOptions = Config<typeof alpnetEntries>;

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
const PAPER_MIN_SIZE = 400;

/**
 * Trains on each fold that is asked for, segments its held-out cases from one labeled case, and writes the run's folder.
 * What is annotated is used by the arms alpnet and panet alone, and by the support.
 *
 * @param options by `resumableConfig(alpnetEntries, { change: trainingChanges })`, or `config(alpnetEntries, words)`
 * @returns measures of the held-out cases
 * @throws ConfigError for options that do not fit the data, and as openTraining
 * @example await trainAlpnet(config(alpnetEntries, ["Task04_Hippocampus", "--steps", "2000", "--threshold", "50"]));
 */
export async function trainAlpnet(options: AlpnetOptions): Promise<Comparison> {
  checkOptions(options);
  const unused = Object.fromEntries(
    Object.entries(PATCHES).map(([key, { value }]) => [key, value]),
  ) as unknown as Config<typeof PATCHES>;
  const training = await openTraining({ ...unused, ...options }, PHANTOMS);
  const setup = await setUp(options, training);
  const { architecture, size } = setup;
  print(
    `Model: ${options.backbone}, slices of ${size.join(" x ")}, features ${
      size.map((n) => n / setup.model.config.outputStride).join(" x ")
    }; ${options.arm}`,
  );
  const supports = await supportsOf(setup);
  await training.describe({
    options,
    network: "alpnetEncoder",
    architecture,
    fewShot: setup.settings,
    device: await deviceInfo(),
    // What the curves are of: no class of the dataset.
    curves: CURVES,
    supports: Object.fromEntries([...supports].map(([fold, { id }]) => [fold, id])),
  });
  const step = compileStep(setup);
  for (const fold of training.folds) {
    if (training.folds.length > 1) print(`\n${fold.name}`);
    await trainFold(setup, step, { fold, support: supports.get(fold.name) });
  }
  return training.finish();
}

/** Refuses what would have no effect, before the data is opened. */
function checkOptions(options: AlpnetOptions): void {
  const { arm, transform, fold } = options;
  const untrained = arm === "init" && "--arm init is not trained";
  const annotated = untrained ||
    (!arm.startsWith("ssl") && `--arm ${arm} is trained on annotated classes, without superpixels`);
  const whole = arm.endsWith("panet") && `--arm ${arm} has one prototype a class, and no windows`;
  const unheld = fold === "all" && "--fold all holds nothing out";
  checkTrainingOptions(options, {
    superpixels: annotated,
    minSize: annotated,
    sigma: annotated,
    threshold: annotated,
    transform: untrained,
    transformed: untrained || (transform === "none" && "--transform none changes no slice"),
    ...Object.fromEntries(TRAINED.map((key) => [key, untrained])),
    window: untrained || whole,
    testWindow: whole,
    rule: whole,
    support: unheld,
    ranges: unheld,
  });
}

type Setup = Awaited<ReturnType<typeof setUp>>;

async function setUp(options: AlpnetOptions, training: Training) {
  const { plan, dataset } = training;
  if (plan.regions || plan.ignoreLabel !== undefined) {
    throw new ConfigError(`${dataset.folder}: few-shot classes are plain labels, without regions and an ignore label`);
  }
  const names = options.exclude === "" ? [] : options.exclude.split(",").map((name) => name.trim());
  const strange = names.find((name) => !plan.labels.slice(1).includes(name));
  if (strange !== undefined) {
    throw new ConfigError(`--exclude: there is no class "${strange}"; there are ${plan.labels.slice(1).join(", ")}`);
  }
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
  const { window, testWindow, chunks, temperature, rule } = options;
  /** As the encoder is measured, and as it is to be used. */
  const settings: FewShotSettings = {
    window: testWindow,
    chunks,
    temperature,
    rule,
    prototypes: options.arm.endsWith("panet") ? "panet" : "alpnet",
  };
  const { chunks: _, window: __, ...fewShot } = fewShotOptions(settings);
  const features = Math.min(...size) / stride;
  if (settings.prototypes === "alpnet" && options.arm !== "init" && window > features) {
    throw new ConfigError(
      `--window: got ${window}, and slices of ${
        size.join(" x ")
      } have ${features} features along an edge; take less, or --stride 4`,
    );
  }
  return {
    options,
    training,
    architecture,
    model,
    size,
    settings,
    fewShot: { ...fewShot, ways: 1 },
    exclude: names.map((name) => plan.labels.indexOf(name)),
    ssl: options.arm.startsWith("ssl"),
    minSize: options.minSize || Math.max(4, Math.round((PAPER_MIN_SIZE * size[0] * size[1]) / PAPER_SIDE ** 2)),
    optimizer: sgd({ momentum: options.momentum, weightDecay: options.weightDecay }),
  };
}

function compileStep({ options, model, fewShot, optimizer }: Setup) {
  const { window, alignment, transform } = options;
  return compile((p: any, state: any, batch: EpisodeBatch, key: Tensor, rate: Tensor) => {
    const { image, label } = transformed(key, batch, { transform, of: options.transformed });
    const part = (x: Tensor, n: number): Tensor => slice(x, { start: [n], end: [n + 1] });
    const lossOf = (q: any) => {
      const { output, statistics } = model.applyTraining(q, image);
      const { loss, logits } = alpnet.episodeLoss(
        {
          support: part(output, 0),
          supportLabels: part(label, 0),
          query: part(output, 1),
          queryLabels: part(label, 1),
        },
        { ...fewShot, window, alignment },
      );
      return [loss, { statistics, logits }] as const;
    };
    const [[value, { statistics, logits }], grads] = valueAndGrad(lossOf as any, { hasAux: true })(p) as any;
    const [next, nextState] = optimizer.update(grads, state, p, rate);
    return [withStatistics(next, statistics), nextState, stepFigures(value, logits, part(label, 1))] as const;
  }, { donate: [0, 1] });
}

/** What is drawn in training: superpixels of all its cases, or classes that are not excluded. */
async function episodesOf(setup: Setup, source: CaseSource): Promise<DrawEpisode> {
  const { options, training, size, exclude, ssl, minSize } = setup;
  if (!ssl) {
    const classes = training.plan.labels.map((_, value) => value).filter((value) =>
      value > 0 && !exclude.includes(value)
    );
    return annotatedEpisodes(source, classes, { size, exclude });
  }
  const folder = `${
    storeFolder(options.cache, training.dataset, training.plan)
  }/superpixels_${options.superpixels}_${minSize}_${options.sigma}_${options.threshold}`;
  const superpixels = await openSuperpixels(source, {
    folder,
    workers: options.workers,
    minSize,
    sigma: options.sigma,
    threshold: options.threshold,
    volume: options.superpixels === "volume",
  });
  return superpixelEpisodes(source, superpixels, { size, exclude });
}

/**
 * The support of each fold that holds cases out. Whether it can be one, and whether windows fit into the slices that are
 * compared with it, is told before anything is trained.
 */
async function supportsOf({ options, training, model, settings }: Setup): Promise<Map<string, PreparedCase>> {
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
      const least = Math.min(...paddedFeatures(shape, model.config.outputStride));
      if (settings.window <= least) continue;
      throw new ConfigError(
        `--testWindow: got ${settings.window}, and slices of ${id} have ${least} features along an edge; take less, or --stride 4`,
      );
    }
  }
  return supports;
}

async function trainFold(
  setup: Setup,
  compiled: ReturnType<typeof compileStep>,
  { fold, support }: { fold: FoldSetup; support: PreparedCase | undefined },
): Promise<void> {
  const { options, training, model, optimizer, architecture, settings } = setup;
  const { plan } = training;
  const { split, run } = fold;
  const key = random.key(options.seed);
  let params = options.weights === "" ? model.init(key) : model.load((await readWeights(options.weights)).tensors, key);
  const described = { network: "alpnetEncoder", architecture, plan, fewShot: { ...settings } };
  if (options.arm !== "init") {
    const draw = await episodesOf(setup, { ids: split.train, get: (id) => training.store.get(id) });
    let state = optimizer.init(params);
    const draws = new Prng(options.seed).fork("episodes");
    const started = performance.now();
    let first = true;
    const { seconds } = await train<EpisodeBatch>({
      run,
      title: `${training.dataset.name}, ${options.arm}`,
      classes: CURVES,
      steps: training.steps,
      epochSteps: options.epoch,
      checkpointMinutes: options.checkpoint,
      rate: (k) => options.rate * options.decay ** Math.floor((k - 1) / options.decaySteps),
      batch: (k) => draw(draws.fork(k)),
      step: async (batch, rate, k) => {
        let figures: Tensor;
        [params, state, figures] = await compiled(params, state, batch, training.key(k), rate);
        if (first) print(programLine(compiled.programs()[0], performance.now() - started));
        first = false;
        return figures;
      },
      state: {
        read: () => ({ params, optimizer: state }),
        write: (copy) => ({ params, optimizer: state } = copy),
      },
    });
    print(`Trained ${training.steps} episodes in ${duration(seconds)}`);
  }
  await writeModel(run, "model.safetensors", params, described);
  if (!support) return training.test(fold, async (image) => image);
  print(`Support: ${support.id}`);
  const segment = oneShotSegmenter(model, params, { plan, ...fewShotOptions(settings) });
  const heldOut = { ...fold, split: { ...split, val: split.val.filter((id) => id !== support.id) } };
  await training.test(
    heldOut,
    async (image, id) =>
      segment(
        image,
        [support],
        options.ranges === "known"
          ? { ranges: sliceRanges(await training.store.get(id), plan.labels.map((_, value) => value).slice(1)) }
          : {},
      ),
  );
}
