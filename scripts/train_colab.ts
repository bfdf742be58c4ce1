// Trains a 3-D U-Net for regions of interest with context labels: CoLab (Li et al. 2022) and what it is compared with.
// --context none is the plain training of train_unet; dilated takes the soft dilated mask as the only context; kmeans
// classes of brightness within the body; labels context labels out of a folder, drawn by people or predicted by another
// network; colab learns them. --help lists what can be set.
import { compile, type Params, random, saveSealed, type Tensor, valueAndGrad } from "../engine/mod.ts";
import { type Comparison, writeContextPhantomDataset } from "../engine/imaging/mod.ts";
import * as nn from "../engine/nn/mod.ts";
import * as train from "../engine/train/mod.ts";
import { checkColabData, checkColabOptions, colab, colabFigures, colabNetworks } from "../models/mod.ts";
import { contextEntries, contextSource, contextSourceOptions, figureCases, roiChannels } from "../models/mod.ts";

/** The config block. */
export const colabEntries = {
  ...train.trainingEntries,
  foreground: train.entry(0.5, "fraction of a batch's patches that are centered on foreground", { min: 0, max: 1 }),
  context: train.choice(["colab", "none", "dilated", "kmeans", "labels"], "where context labels come from"),
  contexts: train.entry(2, "context classes, t of the paper; 1 is --context none", { integer: true, min: 1 }),
  ...contextEntries,
  period: train.entry(10, "steps from one update of the generator to the next", { integer: true, min: 1 }),
  generatorWidth: train.entry(1, "channels of the generator per channel of the segmenter", { min: 0.05, max: 1 }),
  meta: train.choice(["exact", "finite-difference", "implicit"], "how the generator's gradient is taken"),
  metaPer: train.choice(["batch", "sample"], "an inner step on the batch (paper), or on each sample, averaged"),
  generatorRate: train.entry(3e-4, "Adam's learning rate for the generator", { min: 0 }),
  roiLoss: train.choice(["bce", "dice"], "loss that the generator is to lower"),
  roiClass: train.entry(-1, "ROI class, from 0, that this loss looks at; -1: all", { integer: true, min: -1 }),
  ...train.optimizerEntries,
  dice: train.choice(["batch", "sample"], "Dice of the whole batch (train_unet), or the mean of its samples (paper)"),
} as const;

export type ColabOptions = train.Config<typeof colabEntries>;

/** Phantoms whose lesions only the organ around them tells from other blobs. */
export const COLAB_PHANTOMS = {
  shape: [32, 32, 32],
  spacing: [1, 1, 1],
  patch: [32, 32, 32],
  features: [6, 12, 24],
  write: writeContextPhantomDataset,
} as const;

/** What a training changes: segmenter and generator, each with its optimizer's state. */
interface State {
  readonly params: Params;
  readonly optimizer: nn.OptimizerState;
  readonly omega: Params;
  readonly generator: nn.OptimizerState;
}
type Segmenter = Pick<State, "params" | "optimizer">;

/** The networks and the compiled steps of a training; nothing runs yet. */
export function colabMethod(options: ColabOptions, training: train.TrainingRun) {
  const { plan } = training;
  const networks = colabNetworks(plan, options);
  const { context, rois, model, generator, contextsOf } = networks;
  const { optimizer, rate } = train.openOptimizer(options);
  const generatorOptimizer = nn.adam();
  const stages = plan.network.features.length;
  const weights = nn.deepSupervisionWeights(stages - 1, { coarsest: stages < 4 });
  const batch = options.dice === "batch";
  const segmentation = { without: rois, batch };

  const segment = (params: Params, image: Tensor) => model.apply(params, image, { train: true });

  /** Loss and logits of the segmenter. Without contexts it is that of train_unet, operator for operator. */
  const lossOf = (params: Params, { image, label, extra }: train.Patches, omega: Params): [Tensor, Tensor] => {
    const outputs = segment(params, image);
    if (context === "none") {
      const loss = (output: Tensor, target: Tensor): Tensor => nn.diceCrossEntropy(output, target, { batch });
      return [nn.deepSupervision(loss, outputs, label, { weights }), outputs[0]];
    }
    const labels = colab.pyramidLabels(outputs, { roi: roiChannels(label, rois), ...contextsOf(omega, image, extra!) });
    const loss = (output: Tensor, target: Tensor): Tensor => colab.segmentationLoss(output, target, segmentation);
    return [nn.deepSupervision(loss, outputs, labels, { weights }), colab.withoutContexts(outputs[0], rois)];
  };

  /** A step of the segmenter. */
  const segmenterStep = (state: Segmenter, omega: Params, patches: train.Patches, rate: Tensor) => {
    const loss = (params: Params, patch: train.Patches) => lossOf(params, patch, omega);
    const [[value, logits], grads] = valueAndGrad(loss, { hasAux: true })(state.params, patches);
    const [clipped] = nn.clipGradNorm(grads, options.clip);
    const [params, next] = optimizer.update(clipped, state.optimizer, state.params, rate);
    return [{ params, optimizer: next }, train.stepMetrics(value, logits, patches.label)] as const;
  };

  /**
   * A step of the generator, down the meta-gradient: how the ROI loss after one step of the segmenter, at the rate
   * alpha, depends on the context labels that the generator gave for it. It looks at the output at full resolution.
   */
  const generatorStep = (state: State, patches: train.Patches, alpha: Tensor, rate: Tensor) => {
    const { params: theta, omega } = state;
    const imageOf = (n?: number) => n === undefined ? patches.image : patches.image.slice({ start: [n], end: [n + 1] });
    const gradient = colab.metaGradient({
      segment: (p, n) => segment(p, imageOf(n))[0],
      generate: (o, n) => generator.apply(o, imageOf(n)),
      theta,
      omega,
      roi: roiChannels(patches.label, rois),
      mask: contextsOf(omega, patches.image, patches.extra!).mask,
      alpha,
      method: options.meta,
      per: options.metaPer,
      segmentation,
      roiOptions: { loss: options.roiLoss, ...(options.roiClass >= 0 && { only: options.roiClass }) },
    });
    return generatorOptimizer.update(gradient, state.generator, omega, rate);
  };

  return {
    ...networks,
    rate,
    /** The cases, and beside the image what the arm knows of the background. */
    source: (ids: readonly string[]) => contextSource(training, ids, contextSourceOptions(options)),
    init: (): State => {
      const params = model.init(random.key(options.seed));
      // The generator has weights in every arm's checkpoint, so that all resume alike.
      const omega = generator.init(random.key(options.seed + 1));
      return { params, optimizer: optimizer.init(params), omega, generator: generatorOptimizer.init(omega) };
    },
    trainStep: compile(
      (state: Segmenter, omega: Params, sampled: train.Patches, key: Tensor, rate: Tensor) =>
        segmenterStep(state, omega, training.augmented(key, sampled), rate),
      { donate: [0] },
    ),
    /** A step of the generator, then one of the segmenter on the same batch; they share the forward pass. */
    metaStep: compile((state: State, sampled: train.Patches, key: Tensor, rate: Tensor, generatorRate: Tensor) => {
      const patches = training.augmented(key, sampled);
      const [omega, generator] = generatorStep(state, patches, rate, generatorRate);
      const [next, metrics] = segmenterStep(state, omega, patches, rate);
      return [{ ...next, omega, generator }, metrics] as const;
    }, { donate: [0] }),
    evalStep: compile(({ params, omega }: Pick<State, "params" | "omega">, patches: train.Patches) => {
      const [value, logits] = lossOf(params, patches, omega);
      return train.stepMetrics(value, logits, patches.label);
    }),
  };
}

/** Trains on each fold that is asked for, writes the run's folder, and gives the measures of the held-out cases. */
export async function trainColab(options: ColabOptions): Promise<Comparison> {
  await checkColabOptions(options);
  const training = await train.openTraining(options, COLAB_PHANTOMS);
  checkColabData(options, training);
  const { plan, steps } = training;
  const method = colabMethod(options, training);
  const { context, contexts, rois, rate, model, description, trainStep, metaStep } = method;
  train.print(
    `Model: ${plan.network.features.join("-")}, ${rois} ROI class(es) and ${contexts} context(s), ` +
      `${context}; batch ${plan.batch} x ${plan.patch.join(" x ")}`,
  );

  const poly = nn.polySchedule(1, { steps });
  const generatorRate = (k: number): number => options.generatorRate * poly(k - 1);
  const isMeta = (k: number): boolean => context === "colab" && k % options.period === 0;
  const { network, architecture } = description;
  const title = `${training.dataset.name}, ${context}`;
  const about = { title, model: description, config: { rate, network, architecture } };
  return train.runFolds<State>(training, about, ({ split, run }) => {
    const source = method.source(split.train);
    const started = performance.now();
    return {
      state: method.init(),
      training: {
        source,
        rate: (k) => rate * poly(k - 1),
        step: async (state, patches, learningRate, k) => {
          const key = training.key(k);
          if (isMeta(k)) return metaStep(state, patches, key, learningRate, generatorRate(k));
          const { params, optimizer, omega, generator } = state;
          const [next, metrics] = await trainStep({ params, optimizer }, omega, patches, key, learningRate);
          return [{ ...next, omega, generator }, metrics];
        },
        program: (k) => isMeta(k) ? metaStep : trainStep,
        // The larger program is described, and made, at the start too, not in the middle of the training.
        start: async (state, patches, learningRate, k) => {
          const later = Math.floor(steps / options.period) * options.period;
          if (context !== "colab" || isMeta(k) || later <= k) return;
          const info = await metaStep.plan(state, patches, training.key(k), learningRate, generatorRate(k));
          const name = `Every ${options.period} steps, with the generator's`;
          train.print(train.programLine(info, performance.now() - started, name));
        },
        evaluate: ({ params, omega }, patches) => method.evalStep({ params, omega }, patches),
      },
      save: async ({ omega }) => {
        if (context === "colab") await run.write("generator.safetensors", await saveSealed(omega));
      },
      segment: ({ params }) => train.segmenter(method.applied, params, { plan }),
      // The paper's figures of a few cases.
      figures: async ({ params, omega }) => {
        const arm = context === "none" ? { backgroundFirst: true } : { contextsOf: method.contextsOf };
        const shown = { ...await figureCases(source, split), seed: options.seed };
        const figures = await colabFigures({ plan, contexts, network: model, params, omega, ...shown, ...arm });
        for (const figure of figures) await train.writeFigure(run, figure);
      },
    };
  });
}

await train.runTraining(import.meta.url, colabEntries, trainColab);
