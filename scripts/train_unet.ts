// Trains a 3-D U-Net on a folder of labeled scans (Medical Segmentation Decathlon or nnU-Net layout), or without
// --data on phantoms that it makes first, and segments the held-out cases. --help lists what can be set. The axes
// x, y, z are those of the oriented scans (x from left to right); sizes in voxels are in the order of the plan.
import { compile, concat, loadPretrained, type Params, random, readWeights, slice } from "../engine/mod.ts";
import { type Tensor, tree, valueAndGrad } from "../engine/mod.ts";
import { Comparison, type Plan, type Volume } from "../engine/imaging/mod.ts";
import * as nn from "../engine/nn/mod.ts";
import * as train from "../engine/train/mod.ts";
import { architectureOf, type Model, networkFromFile, networkFromPlan, type TrainableModel } from "../models/mod.ts";
import { ownWeights } from "../models/nnunet/weights.ts";

/** The config block. */
export const unetEntries = {
  ...train.trainingEntries,
  weights: train.entry(
    "",
    "weights to start from: safetensors, a checkpoint of PyTorch (.pth), or a network: NAME.onnx, model.json",
  ),
  ...train.optimizerEntries,
  ...train.rankEntries,
  schedule: train.choice(["poly", "cosine", "constant"], "how the learning rate falls"),
  precision: train.choice(["f32", "mixed"], "mixed: f16 products and activations; needs shader-f16"),
} as const;

interface State {
  readonly params: Params;
  readonly optimizer: nn.OptimizerState;
}

/** What a call from code adds to the options. */
export interface UnetCall {
  /** The network to train further, with its plan and weights, instead of one that the plan names. */
  readonly start?: TrainableModel;
  /** Ids of the cases that are held out, instead of those of the options. */
  readonly heldOut?: readonly string[];
  /** Whether the held-out cases choose of which classes only the largest component is kept; default true. */
  readonly rule?: boolean;
  /** The options that config.json keeps, to resume with, if they are not those of this script. */
  readonly kept?: object;
  /** Stops the training after the step under way, with a checkpoint. */
  readonly signal?: AbortSignal;
  /** Told when the run is open, before its first step. */
  readonly opened?: (training: train.TrainingRun) => void;
  /**
   * Called with what the network has learned by now, before the first step and after each epoch.
   *
   * @param step steps taken by now
   */
  readonly watch?: (step: number, segment: (image: Volume) => Promise<Volume>) => Promise<void>;
}

/** Trains on each fold that is asked for, and gives the measures of the held-out cases. */
export async function trainUnet(
  given: train.Config<typeof unetEntries>,
  { start, heldOut, rule, kept, signal, opened, watch }: UnetCall = {},
): Promise<Comparison> {
  // A rank from 1 learns from rank 0 what it is to train.
  const member = await train.joinRanks(given);
  const options = member ? { ...given, ...(member.welcome.options as typeof given) } : given;
  train.checkTrainingOptions(options);

  // Data: which cases train and which are held out, how they are prepared, and the network that follows from it.
  const from = start?.description;
  const training = await train.openTraining({ ...options, ...(signal && { signal }) }, undefined, {
    ...(from && { plan: from.plan }),
    ...(heldOut && { heldOut }),
    ...(rule !== undefined && { rule }),
    ...(member && { member: true }),
  });
  opened?.(training);
  train.checkSetsOption(options, training.dataset);
  train.tellBackground(training.dataset);
  const { plan, regions, steps } = training;
  const { optimizer, rate } = train.openOptimizer(options);
  // A file that holds a network is trained itself, whatever network the plan names.
  const foreign = /\.(?:onnx|json)$/i.test(options.weights) ? await networkFromFile(options.weights, plan) : undefined;
  const model: Model = start?.network ?? foreign?.model ?? networkFromPlan(plan, { deepSupervision: true });
  const network = from?.network ?? (foreign ? "onnx" : plan.network.name);
  const architecture = from?.architecture ?? foreign?.architecture ?? architectureOf(plan, { deepSupervision: true });
  const parameters = tree.leaves(model.init(random.key(0))).reduce((sum: number, p: Tensor) => sum + p.size, 0);
  const size = `batch ${plan.batch} x ${plan.patch.join(" x ")}`;
  const of = start?.file ?? (foreign ? options.weights : `${network} ${plan.network.features.join("-")}`);
  train.print(`Model: ${of}, ${parameters} parameters; ${size}`);

  // One step: augmentation, loss, gradients, update, as one program that overwrites weights and optimizer state.
  const stages = plan.network.features.length;
  const loss = (output: Tensor, target: Tensor): Tensor =>
    regions
      ? nn.diceBinaryCrossEntropy(output, target, { regions, batch: true, ignoreIndex: plan.ignoreLabel })
      : nn.diceCrossEntropy(output, target, { batch: true, ignoreIndex: plan.ignoreLabel });
  const lossOf = (params: Params, { image, label }: train.Patches) => {
    // A network without deep supervision gives one output.
    const outputs: Tensor[] = [model.apply(params, image, { train: true })].flat();
    const weights = nn.deepSupervisionWeights(outputs.length, { coarsest: stages < 4 });
    return [nn.deepSupervision(loss, outputs, label, { weights }), outputs[0]] as [Tensor, Tensor];
  };
  const metricsOf = (value: Tensor, logits: Tensor, { label }: train.Patches): Tensor =>
    train.stepMetrics(value, logits, label, { regions, ignore: plan.ignoreLabel });
  const trainStep = compile(
    (state: State, sampled: train.Patches, key: Tensor, rate: Tensor) => {
      const patches = training.augmented(key, sampled);
      const [[value, logits], grads] = valueAndGrad(lossOf, { hasAux: true })(state.params, patches);
      const [clipped] = nn.clipGradNorm(grads, options.clip);
      const [params, next] = optimizer.update(clipped, state.optimizer, state.params, rate);
      return [{ params, optimizer: next }, metricsOf(value, logits, patches)] as const;
    },
    { donate: [0], precision: options.precision },
  );
  // The same step by micro-batches, which ranks share: Dice over the batch couples them by sums.
  const parts = options.micro > 0 || options.ranks > 1 ? microStep() : undefined;
  function microStep() {
    const coupling = { regions, ignoreIndex: plan.ignoreLabel };
    const scales = (params: Params, { image }: train.Patches) => {
      const outputs: Tensor[] = [model.apply(params, image, { train: true })].flat();
      return { outputs, weights: nn.deepSupervisionWeights(outputs.length, { coarsest: stages < 4 }) };
    };
    return new train.MicroStep<State>(training, options, {
      sums: (params, patches) => {
        const { outputs, weights } = scales(params, patches);
        const counted = outputs.filter((_, k) => weights[k] !== 0);
        return concat(
          counted.map((output) =>
            train.coupledSums(output, nn.resizeLabels(patches.label, output.shape.slice(2)), coupling)
          ),
        );
      },
      loss: (params, patches, totals, count) => {
        const { outputs, weights } = scales(params, patches);
        const width = totals.size / weights.filter((weight) => weight !== 0).length;
        let at = 0;
        const share = (output: Tensor, target: Tensor): Tensor =>
          train.coupledLoss(output, target, slice(totals, { start: [at], end: [at += width] }), count, coupling);
        const value = nn.deepSupervision(share, outputs, patches.label, { weights });
        return [value, metricsOf(value, outputs[0], patches)];
      },
      update: (state, gradients, rate) => {
        const [clipped] = nn.clipGradNorm(gradients, options.clip);
        const [params, next] = optimizer.update(clipped, state.optimizer, state.params, rate);
        return { params, optimizer: next };
      },
    });
  }
  const evalStep = compile((params: Params, patches: train.Patches) => metricsOf(...lossOf(params, patches), patches));

  const schedule = options.schedule === "poly"
    ? nn.polySchedule(rate, { steps })
    : options.schedule === "cosine"
    ? nn.cosineSchedule(rate, { steps })
    : nn.constantSchedule(rate);

  /** Weights of the seed, or of a file, of voxgrad or nnU-Net. */
  async function firstWeights(): Promise<Params> {
    if (start) return start.params;
    const made = model.init(random.key(options.seed));
    if (options.weights === "" || foreign) return made;
    const { tensors, metadata } = await readWeights(options.weights);
    // The same number of outputs may mean other classes.
    const own = train.planOf(metadata, options.weights);
    const classes = (of: Plan): string => JSON.stringify([of.labels, of.regions?.map(({ name }) => name)]);
    const { params, kept } = loadPretrained(made, await ownWeights(tensors, plan.configuration === "2d"), {
      head: /(^|\.)seg_layers\./,
      reinitialize: own && classes(own) !== classes(plan),
    });
    if (kept.length > 0) {
      train.print(`${options.weights} is of a network for other classes: ${kept.join(", ")} start from the seed`);
    }
    return params;
  }

  // The loop: every fold from its first weights to its model, and the held-out cases segmented with it.
  const about = {
    model: { network, architecture, plan },
    config: { rate, ...(network !== "onnx" && { architecture }), parameters, ...(kept && { options: kept }) },
  };
  const segment = (params: Params) => train.segmenter(model, params, { plan });
  if (member) {
    const params = model.init(random.key(options.seed));
    await parts!.serve(member, { params, optimizer: optimizer.init(params) }, (k) => schedule(k - 1), steps);
    return new Comparison([]);
  }
  return train.runFolds<State>(training, about, async ({ name }) => {
    const params = await firstWeights();
    const ranks = await parts?.open(options, name);
    return {
      state: { params, optimizer: optimizer.init(params) },
      training: {
        rate: (k) => schedule(k - 1),
        step: (state, patches, rate, k) =>
          parts && ranks
            ? parts.step(ranks, state, patches, rate, k)
            : trainStep(state, patches, training.key(k), rate),
        ...(parts && ranks && { end: () => parts.close(ranks) }),
        program: () => parts?.program ?? trainStep,
        evaluate: ({ params }, patches) => evalStep(params, patches),
        ...(!parts && { lossScale: trainStep }),
        ...(watch && {
          start: ({ params }, _, __, k) => watch(k - 1, segment(params)),
          epochEnd: ({ params }, { step }) => watch(step, segment(params)),
        }),
      },
      segment: ({ params }) => segment(params),
    };
  });
}

await train.runTraining(import.meta.url, unetEntries, trainUnet, train.rankChanges);
