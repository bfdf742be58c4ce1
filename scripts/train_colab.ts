// Trains a 3-D U-Net for regions of interest with context labels: CoLab (Li et al. 2022) and what it is compared with.
// --context none is the plain training of train_unet; dilated takes the soft dilated mask as the only context; kmeans
// classes of brightness within the body; labels context labels out of a folder, drawn by people or predicted by another
// network; colab learns them. --help lists what can be set.
import { compile, concat, type Params, saveSealed, type Tensor, valueAndGrad } from "../engine/mod.ts";
import { type Comparison, writeContextPhantomDataset } from "../engine/imaging/mod.ts";
import * as nn from "../engine/nn/mod.ts";
import * as train from "../engine/train/mod.ts";
import { colabFigures, colabNetworks, figureCases } from "../models/mod.ts";
import { collapseWarning, generatorCurves, generatorGradients } from "../models/colab/generator.ts";
import { checkColabData, checkColabOptions, contextEntries, contextSourceOptions } from "../models/colab/options.ts";
import { generatorEntries, segmentationEntries } from "../models/colab/options.ts";
import { firstParams } from "../models/colab/networks.ts";
import { colabSchedule } from "../models/colab/schedule.ts";
import { contextSource } from "../models/colab/sources.ts";
import { colabLosses, type SegmenterLoss } from "../models/colab/training_losses.ts";

/** The config block. */
export const colabEntries = {
  ...train.trainingEntries,
  foreground: train.entry(0.5, "fraction of a batch's patches that are centered on foreground", { min: 0, max: 1 }),
  context: train.choice(["colab", "none", "dilated", "kmeans", "labels"], "where context labels come from"),
  contexts: train.entry(2, "context classes, t of the paper; 1 is --context none", { integer: true, min: 1 }),
  ...contextEntries,
  ...generatorEntries,
  ...train.optimizerEntries,
  ...segmentationEntries,
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
  const networks = colabNetworks(training.plan, options);
  const losses = colabLosses(training.plan, options, networks);
  const gradients = generatorGradients(options, networks, losses);
  const { optimizer, rate } = train.openOptimizer(options);
  const generatorOptimizer = nn.adam();

  /** A step of the segmenter. */
  const segmenterStep = (state: Segmenter, patches: train.Patches, rate: Tensor, loss: SegmenterLoss) => {
    const [[value, logits], grads] = valueAndGrad(loss, { hasAux: true })(state.params, patches);
    const [clipped] = nn.clipGradNorm(grads, options.clip);
    const [params, next] = optimizer.update(clipped, state.optimizer, state.params, rate);
    return [{ params, optimizer: next }, train.stepMetrics(value, logits, patches.label)] as const;
  };

  /** A step of the generator. */
  const generatorStep = (state: State, gradient: Params, rate: Tensor): State => {
    const [omega, generator] = generatorOptimizer.update(gradient, state.generator, state.omega, rate);
    return { ...state, omega, generator };
  };

  return {
    ...networks,
    rate,
    /** The cases, and beside the image what the arm knows of the background. */
    source: (ids: readonly string[]) => contextSource(training, ids, contextSourceOptions(options)),
    init: (): State => {
      // The generator has weights in every arm's checkpoint, so that all resume alike.
      const { params, omega } = firstParams(networks, options);
      return { params, optimizer: optimizer.init(params), omega, generator: generatorOptimizer.init(omega) };
    },
    trainStep: compile(
      (state: Segmenter, omega: Params, sampled: train.Patches, key: Tensor, rate: Tensor) =>
        segmenterStep(state, training.augmented(key, sampled), rate, losses.given(omega)),
      { donate: [0] },
    ),
    /** A step of the generator down the meta-gradient, then one of the segmenter; they share the forward pass. */
    metaStep: compile((state: State, sampled: train.Patches, key: Tensor, rate: Tensor, generatorRate: Tensor) => {
      const patches = training.augmented(key, sampled);
      const { gradient, told } = gradients.meta(state, patches, rate);
      const taught = generatorStep(state, gradient, generatorRate);
      const [next, metrics] = segmenterStep(state, patches, rate, losses.given(taught.omega));
      return [{ ...taught, ...next }, concat([metrics, told])] as const;
    }, { donate: [0] }),
    /** A step of the start, in which the contexts are one background. */
    warmStep: compile((state: State, sampled: train.Patches, key: Tensor, rate: Tensor, generatorRate: Tensor) => {
      const patches = training.augmented(key, sampled);
      const taught = options.generatorStart === "kmeans"
        ? generatorStep(state, gradients.clusters(state.omega, patches), generatorRate)
        : state;
      const [next, metrics] = segmenterStep(state, patches, rate, losses.start);
      return [{ ...taught, ...next }, metrics] as const;
    }, { donate: [0] }),
    evalStep: compile(({ params, omega }: Pick<State, "params" | "omega">, patches: train.Patches) => {
      const [value, logits] = losses.given(omega)(params, patches);
      return train.stepMetrics(value, logits, patches.label);
    }),
    curves: generatorCurves(networks.contexts),
  };
}

/** Trains on each fold that is asked for, writes the run's folder, and gives the measures of the held-out cases. */
export async function trainColab(options: ColabOptions): Promise<Comparison> {
  await checkColabOptions(options);
  const training = await train.openTraining(options, COLAB_PHANTOMS);
  checkColabData(options, training);
  const { plan, steps } = training;
  const method = colabMethod(options, training);
  const { context, contexts, rois, rate, model, description, trainStep, metaStep, warmStep } = method;
  train.print(
    `Model: ${plan.network.features.join("-")}, ${rois} ROI class(es) and ${contexts} context(s), ` +
      `${context}; batch ${plan.batch} x ${plan.patch.join(" x ")}`,
  );

  const { kind, generatorRate, metaAfter, ...schedule } = colabSchedule(options, { rate, steps });
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
        rate: schedule.rate,
        step: async (state, patches, learningRate, k) => {
          const given = [patches, training.key(k), learningRate] as const;
          if (kind(k) === "warm") return warmStep(state, ...given, generatorRate(k));
          if (kind(k) === "meta") return metaStep(state, ...given, generatorRate(k));
          const { params, optimizer, omega, generator } = state;
          const [next, metrics] = await trainStep({ params, optimizer }, omega, ...given);
          return [{ ...next, omega, generator }, metrics];
        },
        program: (k) => ({ warm: warmStep, meta: metaStep, plain: trainStep })[kind(k)],
        extras: method.curves,
        record: collapseWarning(),
        // The largest program is described, and made, at the start too, not in the middle of the training.
        start: async (state, patches, learningRate, k) => {
          if (!metaAfter(k)) return;
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
