/** Options of a training of ALPNet: the encoder that they ask for, and what is refused. */
import type { Plan } from "../../engine/imaging/mod.ts";
import {
  checkTrainingOptions,
  ConfigError,
  type ModelDescription,
  refuseUnused,
  splitList,
  type TrainingOptions,
  type TrainingRun,
  unused,
} from "../../engine/train/mod.ts";
import { type Encoder, encoder } from "./encoder.ts";
import { FEW_SHOT, type FewShotSettings, type MatchingSettings, settingsWith, unusedSettings } from "./settings.ts";
import type { EncoderSettings, PrototypeSettings, ScanSettings, SupportSettings } from "./training_entries.ts";

/** Edge of the paper's slices, and the longest that slices have without --side. */
const PAPER_SIDE = 256;

/** Options that say how the training goes. */
const TRAINED = [
  "exclude",
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

/** Options of what is compared with a look at images. */
const PLACES = ["nearest", "place", "placeSigma", "prior", "frame", "aligned"] as const;

/** Those that are looked at here; scripts/train_alpnet.ts explains the others. */
export interface AlpnetTrainingOptions
  extends
    Partial<TrainingOptions>,
    MatchingSettings,
    ScanSettings,
    EncoderSettings,
    PrototypeSettings,
    SupportSettings {
  readonly arm: "ssl-alpnet" | "ssl-panet" | "alpnet" | "panet" | "init" | "copied";
  readonly transform: "both" | "geometry" | "intensity" | "none";
  readonly exclude: string;
}

/** Refuses what would have no effect, before the data is opened. */
export function checkAlpnetOptions(options: AlpnetTrainingOptions): void {
  const { arm, transform, fold } = options;
  const copied = arm === "copied" && "--arm copied looks at no image";
  const untrained = copied || (arm === "init" && "--arm init is not trained");
  const annotated = untrained ||
    (!arm.startsWith("ssl") && `--arm ${arm} is trained on annotated classes, without superpixels`);
  const whole = copied || arm.endsWith("panet") && `--arm ${arm} has one prototype a class, and no windows`;
  // `window` is that of the training, and `testWindow` that of the settings.
  const { window: _, ...ofSettings } = unusedSettings(measuredSettings(options));
  const unheld = fold === "all" && "--fold all holds nothing out";
  checkTrainingOptions(options, {
    ...unused(annotated, "superpixels", "minSize", "sigma", "threshold"),
    transform: untrained,
    clip: options.plan !== "" && "--plan has the intensities",
    transformed: untrained || (transform === "none" && "--transform none changes no slice"),
    ...unused(untrained, ...TRAINED),
    window: untrained || whole,
    ...unused(whole, "testWindow", "rule", "local"),
    ...unused(unheld, "support", "shots", "ranges"),
    ...ofSettings,
    ...(copied && unused(copied, "unlabeled", "backbone", "embedding", "weights", "temperature", "probe", ...PLACES)),
  });
}

/** Refuses data that few-shot classes are not for, and what asks for labels that are not there. */
export function checkAlpnetData({ plan, dataset }: TrainingRun, options: AlpnetTrainingOptions): void {
  const bare = dataset.cases.filter(({ label }) => label === undefined).length;
  const none = bare === dataset.cases.length && `${dataset.folder} has no labels`;
  refuseUnused(options, unused(none, "folds", "splits", "support", "shots", "ranges", "chunks"));
  const { arm, exclude } = options;
  if (none && !arm.startsWith("ssl") && arm !== "init") {
    throw new ConfigError(`--arm ${arm}: ${none}; take ssl-alpnet`);
  }
  if (bare > 0 && exclude !== "") {
    throw new ConfigError(`--exclude: ${bare} scans have no labels that tell which of their slices to leave out`);
  }
  if (plan.regions || plan.ignoreLabel !== undefined) {
    throw new ConfigError(
      `${dataset.folder}: few-shot classes are plain labels, without regions and an ignore label`,
    );
  }
}

/** The least edge of slices of --aligned: features of a small structure are too few otherwise. */
const ALIGNED_SIDE = 104;

/**
 * A plan whose slices have a longer edge of `side` pixels; of 0 as it is, but at most 256, as the paper's slices, and
 * if scans are aligned crops at least 104. The whole slice is resized, for most cases to that, and prepared so for
 * good.
 */
export function sidedPlan(plan: Plan, { side, aligned }: { side: number; aligned: boolean }): Plan {
  const [depth, h, w] = plan.fingerprint.medianPreparedShape;
  const longest = Math.max(h, w);
  const usual = Math.max(Math.min(PAPER_SIDE, longest), aligned ? ALIGNED_SIDE : 0);
  const scale = (side || usual) / longest;
  if (scale === 1) return plan;
  const [across, down, along] = plan.spacing;
  const median = [depth, Math.round(h * scale), Math.round(w * scale)] as const;
  return {
    ...plan,
    spacing: [across, down / scale, along / scale],
    fingerprint: { ...plan.fingerprint, medianPreparedShape: median },
  };
}

/** Values of the classes that training may not see. */
export function excludedClasses({ exclude }: AlpnetTrainingOptions, labels: readonly string[]): number[] {
  const names = splitList(exclude);
  const unknown = names.find((name) => !labels.slice(1).includes(name));
  if (unknown !== undefined) {
    throw new ConfigError(`--exclude: there is no class "${unknown}"; there are ${labels.slice(1).join(", ")}`);
  }
  return names.map((name) => labels.indexOf(name));
}

/** How the encoder of a training is measured, and to be used. */
export function measuredSettings(options: AlpnetTrainingOptions): FewShotSettings {
  const {
    arm,
    local,
    testWindow,
    chunks,
    temperature,
    rule,
    probe,
    slices,
    nearest,
    place,
    placeSigma,
    prior,
    frame,
    aligned,
  } = options;
  const own: FewShotSettings = {
    ...FEW_SHOT,
    window: testWindow,
    chunks,
    temperature,
    rule,
    prototypes: arm.endsWith("panet") ? "panet" : local === "both" ? "alpnet" : local,
  };
  return settingsWith(own, { probe, slices, nearest, place, placeSigma, prior, frame, aligned });
}

/** What a training of ALPNet trains. */
export interface PlannedEncoder {
  readonly model: Encoder;
  /** What its model file says of it. */
  readonly description: Pick<ModelDescription, "network" | "architecture" | "plan" | "fewShot">;
  /** Pixels of a slice in training. */
  readonly size: [number, number];
  /** As the encoder is measured, and as it is to be used. */
  readonly settings: FewShotSettings;
}

/**
 * The encoder of a training, and the slices that it is trained on.
 *
 * @throws ConfigError for a window that is larger than a slice's features
 */
export function planEncoder(options: AlpnetTrainingOptions, plan: Plan): PlannedEncoder {
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
  const [, h, w] = plan.fingerprint.medianPreparedShape;
  const size = [h, w].map((n) => Math.ceil(n / stride) * stride) as [number, number];
  const { arm, window } = options;
  const settings = measuredSettings(options);
  const features = Math.min(...size) / stride;
  if (settings.prototypes !== "panet" && arm !== "init" && arm !== "copied" && window > features) {
    throw new ConfigError(
      `--window: got ${window}, and slices of ${
        size.join(" x ")
      } have ${features} features along an edge; take less, or --stride 4`,
    );
  }
  const description = { network: "alpnetEncoder", architecture, plan, fewShot: { ...settings } };
  return { model: encoder(architecture), description, size, settings };
}
