/** The configuration of a ConResNet: what may be left out filled in, what cannot be refused. */
import { check, checkOptions, show, Tensor } from "../../engine/mod.ts";
import { type ResidualAxis, spaceAxis } from "./axis.ts";

export interface ConResNetConfig {
  readonly inputChannels: number;
  /** Outputs of the segmentation: regions (a sigmoid each), or with `multiClass` classes with the background. */
  readonly classes: number;
  /** Channels at every scale, finest first. Default [32, 64, 128, 256]. */
  readonly features?: readonly number[];
  /**
   * Residual blocks at every scale, finest first, and last those of the dilated stage, which has the coarsest scale; so
   * one number more than `features`. Default 1, 2, 2, ...
   */
  readonly blocks?: readonly number[];
  /** Groups of the group norms, a divisor of all features. Default 8. */
  readonly groups?: number;
  /** Dilation of the last stage. Default 2. */
  readonly dilation?: number;
  /** Probability with which a channel before the decoder is dropped in training. Default 0.1. */
  readonly dropout?: number;
  /** Whether kernels but those of the heads are standardized as they are used. Default true. */
  readonly weightStandardization?: boolean;
  /**
   * Scale of standardized kernels. "none", the default: none, the published function, which published weights need;
   * features of one layer then have a deviation of sqrt(fan in). "fan": times sqrt(2 / fan in), as He's initialization
   * scales kernels, for training from scratch.
   */
  readonly gain?: "none" | "fan";
  /** Context residual mapping: the second decoder. Default true; false is the paper's baseline. */
  readonly mapping?: boolean;
  /** Context attention mapping: the second decoder's gate on the first. Default as `mapping`, which it needs. */
  readonly attention?: boolean;
  /**
   * The gate is F (1 + g attention), with a learned number g of each module that starts at 0, so that training begins
   * without attention (as ReZero; Bachlechner et al. 2021). Default false: g is 1, the paper's Eq. 6.
   */
  readonly learnedGate?: boolean;
  /** Along which axis slices are compared. Default "axial". */
  readonly axis?: ResidualAxis;
  /**
   * Classes exclude each other and the first is the background: residuals are of the others alone, so their heads have
   * classes - 1 outputs. Default false.
   */
  readonly multiClass?: boolean;
  /** Also have the parameters that the published code makes and never uses. Default false. */
  readonly unusedLayers?: boolean;
}

/** Every entry written out. */
export type ResolvedConResNet = Required<ConResNetConfig>;

/** What the paper's ablation compares (Table III): all, no attention, neither attention nor residual mapping. */
export const conResNetArms = {
  full: {},
  mapping: { attention: false },
  baseline: { mapping: false },
} as const satisfies Record<string, Partial<ConResNetConfig>>;

const KEYS = [
  "inputChannels",
  "classes",
  "features",
  "blocks",
  "groups",
  "dilation",
  "dropout",
  "weightStandardization",
  "gain",
  "mapping",
  "attention",
  "learnedGate",
  "axis",
  "multiClass",
  "unusedLayers",
];

const FLAGS = [
  "weightStandardization",
  "mapping",
  "attention",
  "learnedGate",
  "multiClass",
  "unusedLayers",
] as const satisfies readonly (keyof ConResNetConfig)[];

const isWhole = (n: unknown, least = 1): boolean => Number.isInteger(n) && (n as number) >= least;

/** Checks a configuration and fills in its defaults. */
export function resolveConResNet(config: ConResNetConfig): ResolvedConResNet {
  checkOptions("conResNet", config, KEYS);
  const { features = [32, 64, 128, 256], mapping = true } = config;
  check(
    Array.isArray(features) && features.length >= 2 && features.every((n) => isWhole(n)),
    "conResNet",
    () => `features lists the channels of two scales or more, got ${show(features)}`,
  );
  const resolved: ResolvedConResNet = {
    inputChannels: config.inputChannels,
    classes: config.classes,
    features: [...features],
    blocks: config.blocks ?? [1, ...features.map(() => 2)],
    groups: config.groups ?? 8,
    dilation: config.dilation ?? 2,
    dropout: config.dropout ?? 0.1,
    weightStandardization: config.weightStandardization ?? true,
    gain: config.gain ?? "none",
    mapping,
    attention: config.attention ?? mapping,
    learnedGate: config.learnedGate ?? false,
    axis: config.axis ?? "axial",
    multiClass: config.multiClass ?? false,
    unusedLayers: config.unusedLayers ?? false,
  };
  for (const key of ["inputChannels", "groups", "dilation"] as const) {
    check(isWhole(resolved[key]), "conResNet", () => `${key} is an integer >= 1, got ${show(resolved[key])}`);
  }
  for (const key of FLAGS) {
    check(typeof resolved[key] === "boolean", "conResNet", () => `${key} is true or false, got ${show(resolved[key])}`);
  }
  const { classes, multiClass, blocks, groups, dropout, gain, weightStandardization, learnedGate } = resolved;
  check(gain === "none" || gain === "fan", "conResNet", () => `gain is "none" or "fan", got ${show(gain)}`);
  check(
    gain === "none" || weightStandardization,
    "conResNet",
    () => 'gain "fan" scales standardized kernels: it needs weightStandardization, or gain: "none"',
  );
  check(
    !learnedGate || resolved.attention,
    "conResNet",
    () => "learnedGate is a part of the attention: it needs attention, or learnedGate: false",
  );
  check(
    isWhole(classes, multiClass ? 2 : 1),
    "conResNet",
    () =>
      `classes is an integer >= ${multiClass ? "2 with multiClass, the background counts" : 1}, got ${show(classes)}`,
  );
  check(
    Array.isArray(blocks) && blocks.length === features.length + 1 && blocks.every((n) => isWhole(n)),
    "conResNet",
    () =>
      `blocks lists integers >= 1, one per scale and one for the dilated stage, ${features.length + 1}, ` +
      `got ${show(blocks)}`,
  );
  check(
    features.every((n) => n % groups === 0),
    "conResNet",
    () => `groups divides all features ${show(features)}, got ${groups}; give another number of groups`,
  );
  check(dropout >= 0 && dropout < 1, "conResNet", () => `dropout is a number in [0, 1), got ${show(dropout)}`);
  check(
    mapping || !resolved.attention,
    "conResNet",
    () => "attention is made from the context residuals: it needs mapping, or attention: false",
  );
  spaceAxis("conResNet", resolved.axis);
  return resolved;
}

/** Refuses an input of another rank or number of channels, and one of which too little is left to normalize. */
export function checkConResNetInput(c: ResolvedConResNet, input: unknown): asserts input is Tensor {
  check(
    input instanceof Tensor && input.rank === 5 && input.shape[1] === c.inputChannels && input.size > 0,
    "conResNet",
    () =>
      `the input is [N, ${c.inputChannels}, depth, height, width], got ${
        input instanceof Tensor ? `[${input.shape.join(", ")}]` : show(input)
      }`,
  );
  const scales = c.features.length - 1;
  const coarsest = (input as Tensor).shape.slice(2).map((n) => Math.ceil(n / 2 ** scales));
  const [channels, voxels] = [c.features.at(-1)! / c.groups, coarsest.reduce((a, b) => a * b, 1)];
  check(
    channels * voxels > 1,
    "conResNet",
    () =>
      `of the input [${
        (input as Tensor).shape.join(", ")
      }] one voxel is left at the coarsest scale, and a group of one ` +
      `channel there is one value, which has no variance; use an axis larger than ${
        2 ** scales
      }, fewer groups or scales`,
  );
}
