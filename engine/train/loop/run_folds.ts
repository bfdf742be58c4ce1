/** The outer loop of every method: trains each fold in its folder, then segments and evaluates the held-out cases. */
import type { Compiled } from "../../compile/mod.ts";
import type { Tensor } from "../../core/tensor.ts";
import { deviceInfo } from "../../gpu/mod.ts";
import type { Comparison } from "../../imaging/metrics/evaluate.ts";
import type { CaseSource } from "../../imaging/prepare/sampling.ts";
import type { Volume } from "../../imaging/volume/volume.ts";
import { duration, type EpochRecord, print, programLine, type StepRecord } from "../run/logging.ts";
import { type ModelDescription, writeModel } from "../run/model_file.ts";
import type { Patches } from "./batches.ts";
import { train } from "./train.ts";
import type { FoldSetup, TrainingRun } from "./training_run.ts";

/** Settings shared by all folds of a run. */
export interface MethodDescription {
  /** Description of the network in model.safetensors and model_best.safetensors. */
  readonly model: Omit<ModelDescription, "format" | "voxgrad" | "of">;
  /** Entries of config.json in addition to those of the training. */
  readonly config: { readonly options?: object; readonly [key: string]: unknown };
  /** Title of the curves; default: the name of the dataset. */
  readonly title?: string;
  /** Names of the classes of the training's pseudo-Dice; default: those of the run. */
  readonly classes?: readonly string[];
  /** Name of a step: "episodes"; default: "steps". */
  readonly unit?: string;
}

/** How a method trains one fold. S is its state: weights, optimizer state and whatever else a step replaces. */
export interface FoldMethod<S extends { readonly params: object }, B = Patches> {
  /** The initial state. Checkpoints contain it, so a resumed run must have the same structure. */
  readonly state: S;
  /** The training step; without it the network is evaluated untrained. */
  readonly training?: StepMethod<S, B>;
  /** Writes further files next to model.safetensors. */
  readonly save?: (state: S) => Promise<unknown>;
  /** Creates the segmenter of the trained network; it receives the image and the id of a case. */
  readonly segment: (state: S) => (image: Volume, id: string) => Promise<Volume>;
  /** The held-out cases to evaluate; default: those of the split. */
  readonly heldOut?: readonly string[];
  /** Draws figures for the report. */
  readonly figures?: (state: S) => Promise<unknown>;
}

/** The training step of a method. */
export interface StepMethod<S, B = Patches> {
  /** Learning rate of a step, from 1, given the epochs that ended before it. */
  readonly rate: (step: number, epochs: readonly EpochRecord[]) => number;
  /** Takes a step and returns the next state and its `stepMetrics`, unread. */
  readonly step: (state: S, batch: B, rate: number, step: number) => Promise<readonly [S, Tensor]>;
  /** The compiled function of a step; the first one is described in the log when it is ready. */
  readonly program: (step: number) => Pick<Compiled<never[], unknown>, "programs">;
  /** Returns `stepMetrics` of held-out patches; default: no validation. */
  readonly evaluate?: (state: S, patches: Patches) => Promise<Tensor>;
  /** The batch of a step; default: that of the run, from `source`. It depends only on the step's number. */
  readonly batch?: (step: number) => Promise<B>;
  /** Source of cases for training and validation; default: the prepared cases. */
  readonly source?: CaseSource;
  /** Names of further values behind the metrics, by the title of their curves; not every step has to give them. */
  readonly extras?: Readonly<Record<string, readonly string[]>>;
  /** Called when the training of the fold has ended, however it ended. */
  readonly end?: () => void;
  /** Called with the record of each step. */
  readonly record?: (record: StepRecord) => void | Promise<void>;
  /** Called after each epoch with the state, which the next step replaces. */
  readonly epochEnd?: (state: S, record: EpochRecord) => Promise<unknown>;
  /** Called before the first step that this process takes. */
  readonly start?: (state: S, batch: B, rate: number, step: number) => Promise<void>;
  /** A compiled step with mixed precision, whose loss scale is saved in checkpoints. */
  readonly lossScale?: Pick<Compiled<never[], unknown>, "lossScaleState" | "restoreLossScale">;
}

/**
 * Trains the folds of a run one after the other, resumably, and evaluates their held-out cases. Writes the run's
 * folder: config.json, plan.json, splits.json, and for each fold logs, curves, checkpoint, models, predictions and
 * metrics.
 *
 * @param method creates the method for a fold; called when the fold starts
 * @returns the metrics of all held-out cases
 * @throws VoxgradError, Interrupted and the reason of the signal, as `train`
 * @example
 * ```ts
 * import { compile, random, type Tensor, valueAndGrad } from "voxgrad";
 * import { architectureOf, networkFromPlan } from "voxgrad/models";
 * import { diceCrossEntropy, sgd } from "voxgrad/nn";
 * import { config, openTraining, type Patches, runFolds, segmenter } from "voxgrad/train";
 * import { stepMetrics, trainingEntries } from "voxgrad/train";
 *
 * const training = await openTraining(config(trainingEntries, ["data/Task04_Hippocampus"]));
 * const { plan } = training;
 * const [model, optimizer] = [networkFromPlan(plan), sgd({ momentum: 0.99 })];
 * const lossOf = (params: any, { image, label }: Patches): [Tensor, Tensor] => {
 *   const logits = model.apply(params, image) as Tensor;
 *   return [diceCrossEntropy(logits, label), logits];
 * };
 * type State = { params: any; optimizer: any };
 * const trainStep = compile((state: State, sampled: Patches, key: Tensor, rate: Tensor) => {
 *   const batch = training.augmented(key, sampled);
 *   const [[loss, logits], grads] = valueAndGrad(lossOf, { hasAux: true })(state.params, batch);
 *   const [params, next] = optimizer.update(grads, state.optimizer, state.params, rate);
 *   return [{ params, optimizer: next }, stepMetrics(loss, logits, batch.label)] as const;
 * }, { donate: [0] });
 * const network = { network: plan.network.name, architecture: architectureOf(plan), plan };
 * const about = { model: network, config: { rate: 1e-2 } };
 * await runFolds<State>(training, about, () => {
 *   const params = model.init(random.key(1));
 *   return {
 *     state: { params, optimizer: optimizer.init(params) },
 *     training: {
 *       rate: () => 1e-2,
 *       step: (state, batch, rate, k) => trainStep(state, batch, training.key(k), rate),
 *       program: () => trainStep,
 *     },
 *     segment: ({ params }) => segmenter(model, params, { plan }),
 *   };
 * });
 * ```
 */
export async function runFolds<S extends { readonly params: object }, B = Patches>(
  training: TrainingRun,
  about: MethodDescription,
  method: (fold: FoldSetup) => FoldMethod<S, B> | Promise<FoldMethod<S, B>>,
): Promise<Comparison> {
  try {
    await training.describe({ ...about.config, device: await deviceInfo() });
    for (const fold of training.folds) {
      if (training.folds.length > 1) print(`\n${fold.name}`);
      await runFold(training, about, fold, await method(fold));
    }
    return await training.finish();
  } finally {
    await training.run.unlock();
  }
}

async function runFold<S extends { readonly params: object }, B>(
  training: TrainingRun,
  about: MethodDescription,
  fold: FoldSetup,
  method: FoldMethod<S, B>,
): Promise<void> {
  const { split, run } = fold;
  const state = method.training ? await trainFold(training, about, fold, method.state, method.training) : method.state;
  await writeModel(run, "model.safetensors", state.params, about.model);
  await method.save?.(state);
  await training.test({ ...fold, split: { ...split, val: method.heldOut ?? split.val } }, method.segment(state));
  await method.figures?.(state);
}

/** The state at the end of the training of a fold. */
async function trainFold<S extends { readonly params: object }, B>(
  training: TrainingRun,
  about: MethodDescription,
  fold: FoldSetup,
  initial: S,
  method: StepMethod<S, B>,
): Promise<S> {
  const { options, steps } = training;
  const { split, run } = fold;
  const { evaluate, lossScale, source } = method;
  let state = initial;
  const started = performance.now();
  let isFirst = true;
  const { seconds } = await train<B>({
    run,
    title: about.title ?? training.dataset.name,
    classes: about.classes ?? training.classes,
    steps,
    epochSteps: options.epoch,
    checkpointMinutes: options.checkpoint,
    until: options.until || undefined,
    rate: method.rate,
    extras: method.extras,
    record: method.record,
    batch: method.batch ?? ((k) => training.batch(split, k, source) as Promise<B>),
    step: async (batch, rate, k) => {
      if (isFirst) await method.start?.(state, batch, rate, k);
      const [next, metrics] = await method.step(state, batch, rate, k);
      state = next;
      if (isFirst) print(programLine(method.program(k).programs()[0], performance.now() - started));
      isFirst = false;
      return metrics;
    },
    state: {
      read: () => ({ ...state, ...(lossScale && { lossScale: lossScale.lossScaleState() }) }),
      write({ lossScale: scale, ...copy }: S & { lossScale?: Tensor }) {
        state = copy as unknown as S;
        if (scale) lossScale?.restoreLossScale(scale);
      },
    },
    validate: evaluate && training.validation(split, (patches) => evaluate(state, patches), source),
    epochEnd: (record) => method.epochEnd?.(state, record) ?? Promise.resolve(),
    best: () => writeModel(run, "model_best.safetensors", state.params, about.model),
  }).finally(() => method.end?.());
  print(`Trained ${steps} ${about.unit ?? "steps"} in ${duration(seconds)}`);
  return state;
}
