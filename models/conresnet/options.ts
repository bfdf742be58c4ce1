/** Options of a training of ConResNet: the network that they ask for, and what is refused. */
import type { Plan } from "../../engine/imaging/mod.ts";
import {
  checkSetsOption,
  checkTrainingOptions,
  ConfigError,
  isSoftware,
  tellBackground,
  type TrainingOptions,
  type TrainingRun,
  unused,
} from "../../engine/train/mod.ts";
import { patchAxis, type ResidualAxis } from "./axis.ts";
import { conResNetArms } from "./config.ts";
import { type ConResNet, conResNet } from "./conresnet.ts";
import type { ResidualLossOptions } from "./losses.ts";

/** Those that are looked at here; scripts/train_conresnet.ts explains them. */
export interface ConResNetTrainingOptions extends TrainingOptions {
  readonly arm: keyof typeof conResNetArms;
  readonly activation: "auto" | "sigmoid" | "softmax";
  readonly axis: ResidualAxis;
  readonly blocks: readonly number[];
  readonly groups: number;
  readonly dropout: number;
  readonly gain: "fan" | "none";
  readonly learnedGate: boolean;
  readonly mode: "paper" | "code";
  readonly residualWeights: "batch" | "region";
  readonly backgroundWeight: string;
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
  residualLossOptions(options);
}

/** What the options say of the residual loss. */
export function residualLossOptions(
  { mode, residualWeights, backgroundWeight }: ConResNetTrainingOptions,
): ResidualLossOptions {
  const weight = Number(backgroundWeight);
  const isShare = backgroundWeight === "share";
  if (!isShare && (backgroundWeight.trim() === "" || !Number.isFinite(weight) || weight < 0)) {
    throw new ConfigError(`--backgroundWeight: got "${backgroundWeight}", wanted share or a number from 0`);
  }
  return { mode, ...(mode === "paper" && { residualWeights }), ...(!isShare && { backgroundWeight: weight }) };
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
  return { model, plan, axis, parts: planParts(plan) };
}
