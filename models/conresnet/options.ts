/** Options of a training of ConResNet: the network that they ask for, and what is refused. */
import type { Plan } from "../../engine/imaging/mod.ts";
import {
  checkSetsOption,
  checkTrainingOptions,
  choice,
  ConfigError,
  type Entries,
  type Entry,
  entry,
  isSoftware,
  tellBackground,
  type TrainingOptions,
  type TrainingRun,
  unused,
} from "../../engine/train/mod.ts";
import { patchAxis, type ResidualAxis } from "./axis.ts";
import { conResNetArms } from "./config.ts";
import { type ConResNet, conResNet } from "./conresnet.ts";
import type { LossOptions } from "./losses.ts";

/** An entry of whole numbers from 1, one for each scale. */
export const scalesEntry = (about: string): Entry<readonly number[]> => entry([], about, { integer: true, min: 1 });

/** The loss of the second decoder. */
export interface ResidualSettings {
  readonly mode: "paper" | "code";
  readonly first: "zero" | "label";
  readonly lambda: number;
  readonly residualWeights: "batch" | "region";
  readonly backgroundWeight: string;
  readonly boundary: boolean;
}

/** Config entries of the loss of the second decoder. */
export const residualEntries: Entries<ResidualSettings> = {
  mode: choice(["paper", "code"], "residual loss: of probabilities (paper), or what the official code computes"),
  first: choice(["zero", "label"], "residual of the first slice: none (paper), or all of it (official code)"),
  lambda: entry(0.5, "weight of the residual losses at the coarser scales", { min: 0 }),
  residualWeights: choice(
    ["batch", "region"],
    "where the residual loss counts voxels for its weights: over all regions together, or each region by itself",
  ),
  backgroundWeight: entry(
    "share",
    "weight of voxels that do not differ: share, log(V / V_0) (paper; 1 with --mode code), or a number",
  ),
  boundary: entry(false, "mix in the boundary loss, its share from 0 to 0.99; doubles the memory of cases"),
};

/** The parts of the network. */
export interface NetworkSettings {
  readonly blocks: readonly number[];
  readonly groups: number;
  readonly gain: "fan" | "none";
  readonly learnedGate: boolean;
  readonly dropout: number;
}

/** Config entries of the parts of the network. */
export const networkEntries: Entries<NetworkSettings> = {
  blocks: scalesEntry("residual blocks at each scale, and in the dilated stage; default: 1,2,2,..."),
  groups: entry(8, "groups of the norms, a divisor of all features", { integer: true, min: 1 }),
  gain: choice(
    ["fan", "none"],
    "scale of standardized kernels: sqrt(2 / fan in), or none as published",
    { before: "none" },
  ),
  learnedGate: entry(false, "the gate's share of attention is learned, from 0, instead of 1"),
  dropout: entry(0.1, "probability with which a channel before the decoder is dropped", { min: 0, max: 0.99 }),
};

/** Those that are looked at here; scripts/train_conresnet.ts explains the others. */
export interface ConResNetTrainingOptions extends TrainingOptions, ResidualSettings, NetworkSettings {
  readonly arm: keyof typeof conResNetArms;
  readonly activation: "auto" | "sigmoid" | "softmax";
  readonly axis: ResidualAxis;
}

/** Refuses what would have no effect, before the data is opened. */
export function checkConResNetOptions(options: ConResNetTrainingOptions): void {
  checkTrainingOptions(options, {
    // Beside a plan it says how many features there are.
    preset: options.data === ""
      ? "phantoms have sizes of their own"
      : options.plan !== "" && options.features.length > 0 && "--plan and --features have the sizes",
    learnedGate: options.arm !== "full" && `--arm ${options.arm} has no attention`,
    ...unused(
      options.arm === "baseline" && "--arm baseline has no residuals",
      "axis",
      "mode",
      "first",
      "lambda",
      "backgroundWeight",
    ),
    residualWeights: options.arm === "baseline"
      ? "--arm baseline has no residuals"
      : options.mode === "code" && "--mode code counts each region by itself",
  });
  backgroundWeightOf(options);
}

/** The weight of voxels that do not differ, if it is given. */
function backgroundWeightOf({ backgroundWeight }: ResidualSettings): { readonly backgroundWeight?: number } {
  const weight = Number(backgroundWeight);
  if (backgroundWeight === "share") return {};
  if (backgroundWeight.trim() === "" || !Number.isFinite(weight) || weight < 0) {
    throw new ConfigError(`--backgroundWeight: got "${backgroundWeight}", wanted share or a number from 0`);
  }
  return { backgroundWeight: weight };
}

/** Refuses data that ConResNet's losses are not for. */
export function checkConResNetData(options: ConResNetTrainingOptions, { plan, dataset }: TrainingRun): void {
  if (plan.ignoreLabel !== undefined) {
    throw new ConfigError(
      `${dataset.folder}: ConResNet's losses have no ignore label; use train_unet, or remove it`,
    );
  }
  checkSetsOption(options, dataset);
  tellBackground(dataset);
}

/** The plan with the outputs that are asked for: with regions the network has a sigmoid for each, without softmax. */
function withOutputs(plan: Plan, activation: ConResNetTrainingOptions["activation"]): Plan {
  const { regions, ...others } = plan;
  if (activation === "softmax" || (activation === "auto" && !regions)) return others;
  return { ...others, regions: regions ?? foregroundOf(plan) };
}

const foregroundOf = ({ labels }: Plan) => labels.slice(1).map((name, k) => ({ name, values: [k + 1] }));

/** What has a residual and a boundary each, by the plan of a network: its regions, or its labels. */
export const planParts = (plan: Plan): PlannedConResNet["parts"] => plan.regions ?? foregroundOf(plan);

/** What a training of ConResNet trains. */
export interface PlannedConResNet {
  readonly model: ConResNet;
  /** The plan with the network's outputs: regions where each has a sigmoid. */
  readonly plan: Plan;
  /** Along which axis of the patch slices are compared. */
  readonly axis: ResidualAxis;
  /** What has a residual and a boundary each. */
  readonly parts: readonly { readonly name: string; readonly values: readonly number[] }[];
  /** Label values of the regions that have a sigmoid each, if the network has such outputs. */
  readonly regions: readonly (readonly number[])[] | undefined;
  /** Options of `conres.loss`. */
  readonly lossOptions: LossOptions;
}

/**
 * The network of a training. Its features, unless given, are the paper's; a quarter of them on a CPU, and on phantoms
 * three scales.
 */
export async function planConResNet(
  options: ConResNetTrainingOptions,
  training: TrainingRun,
): Promise<PlannedConResNet> {
  const small = options.preset === "small" || (options.preset === "auto" && await isSoftware());
  const features = options.data === "" ? [8, 16, 32] : small ? [8, 16, 32, 64] : [32, 64, 128, 256];
  const plan = withOutputs(training.plan, options.activation);
  const axis = patchAxis(options.axis, plan.transpose);
  const model = conResNet({
    inputChannels: plan.channels.length,
    classes: plan.regions?.length ?? plan.labels.length,
    multiClass: !plan.regions,
    features: options.features.length > 0 ? options.features : features,
    ...(options.blocks.length > 0 && { blocks: options.blocks }),
    groups: options.groups,
    dropout: options.dropout,
    gain: options.gain,
    ...(options.arm === "full" && { learnedGate: options.learnedGate }),
    axis,
    ...conResNetArms[options.arm],
  });
  const { first, lambda, mode, residualWeights } = options;
  const regions = plan.regions?.map(({ values }) => values);
  const counted = mode === "paper" ? { residualWeights } : {};
  const lossOptions = { ...(regions && { regions }), axis, first, lambda, mode, ...counted };
  return {
    model,
    plan,
    axis,
    parts: planParts(plan),
    regions,
    lossOptions: { ...lossOptions, ...backgroundWeightOf(options) },
  };
}
