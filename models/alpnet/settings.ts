/** How an encoder compares slices: settings that its model file holds, and what a user asks for instead. */
import { choice, ConfigError, type Entries, entry, refuseUnused } from "../../engine/train/mod.ts";
import type { FewShotOptions } from "./alpnet.ts";
import type { OneShotOptions } from "./scans.ts";

/** How an encoder compares slices: stored in its model file, as trained and evaluated. */
export interface FewShotSettings {
  /** Edge of a prototype window in feature pixels. */
  readonly window: number;
  /** Edge of the square that a class must contain to have local prototypes; 0: the window. See classPrototypes. */
  readonly probe: number;
  /** Parts of a class along the slices. */
  readonly chunks: number;
  /** Local prototypes, of the foreground's classes or the background alone, or one per class. */
  readonly prototypes: "alpnet" | "foreground" | "background" | "panet";
  /** alpha of Eq. 4. */
  readonly temperature: number;
  /** See alpnet.classPrototypes. */
  readonly rule: "code" | "paper";
  /** Which slices of a support are compared with a slice; see OneShotOptions. */
  readonly slices: "chunks" | "nearest";
  readonly nearest: number;
  /** Weight of the place of a prototype, 0 for none, and its sigma as a share of the frame's longer edge. */
  readonly place: number;
  readonly placeSigma: number;
  /** Share of the frame's longer edge by which the support's masks are blurred to be a prior; 0 for none. */
  readonly prior: number;
  /** What places and the prior are relative to. */
  readonly frame: "slice" | "body";
}

/** Settings that are not in files of before, as encoders were measured then. */
const BEFORE = {
  probe: 4,
  slices: "chunks",
  nearest: 1,
  place: 0,
  placeSigma: 0.15,
  prior: 0,
  frame: "slice",
} as const;

/** What nothing else is said of. */
export const FEW_SHOT: FewShotSettings = {
  ...BEFORE,
  window: 2,
  probe: 0,
  chunks: 3,
  prototypes: "alpnet",
  temperature: 20,
  rule: "code",
};

/**
 * For scans that are cropped around a structure and aligned: where something lies tells as much as what it looks like.
 * Chosen on the hippocampus (bench/RESULTS.md), where places added nothing to the prior.
 */
export const ALIGNED = { slices: "nearest", nearest: 3, prior: 0.04, frame: "slice" } as const;

const isCount = (value: unknown): boolean => Number.isInteger(value) && (value as number) >= 1;
const isAmount = (value: unknown): boolean => typeof value === "number" && Number.isFinite(value) && value >= 0;
const isShare = (value: unknown): boolean => isAmount(value) && (value as number) <= 1;
const among = (...words: readonly string[]) => (value: unknown): boolean => words.includes(value as string);
const RIGHT: Readonly<Record<keyof FewShotSettings, (value: unknown) => boolean>> = {
  window: isCount,
  probe: (value) => value === 0 || isCount(value),
  chunks: isCount,
  prototypes: among("alpnet", "foreground", "background", "panet"),
  temperature: (value) => isAmount(value) && value !== 0,
  rule: among("code", "paper"),
  slices: among("chunks", "nearest"),
  nearest: isCount,
  place: isAmount,
  placeSigma: (value) => isShare(value) && value !== 0,
  prior: isShare,
  frame: among("slice", "body"),
};

/**
 * The settings in a model file or a config.json.
 *
 * @throws ConfigError that names the file and the setting
 */
export function checkedSettings(stored: Readonly<Record<string, unknown>>, file: string): FewShotSettings {
  const found: Readonly<Record<string, unknown>> = { ...BEFORE, ...stored };
  for (const [key, right] of Object.entries(RIGHT)) {
    if (!right(found[key])) {
      throw new ConfigError(
        `${file}: its few-shot setting ${key} is ${JSON.stringify(found[key])?.slice(0, 80)}; train again`,
      );
    }
  }
  return found as unknown as FewShotSettings;
}

/** Settings that trainings and users choose; 0, -1 and "auto" keep what is usual, or what an encoder's file says. */
export interface MatchingSettings {
  readonly probe: number;
  readonly slices: "auto" | FewShotSettings["slices"];
  readonly nearest: number;
  readonly place: number;
  readonly placeSigma: number;
  readonly prior: number;
  readonly frame: "auto" | FewShotSettings["frame"];
  readonly aligned: boolean;
}

/** Settings of what uses an encoder; 0, -1, "run" and "auto" keep what its file says. */
export interface AskedSettings extends MatchingSettings {
  readonly prototypes: "run" | FewShotSettings["prototypes"];
  readonly window: number;
  readonly chunks: number;
}

/**
 * Entries of how slices are compared.
 *
 * @param kept what -1, 0 and "auto" mean, given the usual value
 */
const matchingEntries = (kept: (usual: string) => string): Entries<MatchingSettings> => ({
  probe: entry(
    -1,
    `a class has local prototypes if a square of this edge lies in it, 4 in the official code; 0: the ` +
      `window; -1: ${kept("the window")}`,
    { integer: true, min: -1 },
  ),
  slices: choice(
    ["auto", "chunks", "nearest"],
    "slices of the support to compare with: one for each part of a class, or the labeled ones nearest in height; " +
      `auto: ${kept("chunks, as the paper")}`,
  ),
  nearest: entry(0, `how many of the nearest; 0: ${kept("1")}`, { integer: true, min: 0 }),
  place: entry(-1, `weight of where a prototype lies, 0 to 1; -1: ${kept("0, none")}`, { min: -1 }),
  placeSigma: entry(0, `share of the longer edge over which places count as near; 0: ${kept("0.15")}`, {
    min: 0,
    max: 1,
  }),
  prior: entry(
    -1,
    `share of the longer edge by which the support's mask is blurred to say where to look, 0: not; -1: ${kept("0")}`,
    { min: -1, max: 1 },
  ),
  frame: choice(
    ["auto", "slice", "body"],
    `what places are relative to: the slice as it is prepared, or the body in it; auto: ${kept("slice")}`,
  ),
  aligned: entry(
    false,
    "for scans that are cropped around the structure and aligned alike, sets --slices nearest --nearest " +
      `${ALIGNED.nearest} --prior ${ALIGNED.prior}`,
  ),
});

/** Entries of a training: how its encoder is measured and used. */
export const measuredEntries: Entries<MatchingSettings> = matchingEntries((usual) => usual);

/** Entries of what uses an encoder: each keeps what the encoder's file says, unless it is given. */
export const askedEntries: Entries<AskedSettings> = {
  prototypes: choice(
    ["run", "alpnet", "foreground", "background", "panet"],
    "local ones, of the classes or the background alone, or one for each; run: as the encoder was trained",
  ),
  window: entry(0, "edge of a prototype's window in features; 0: as the encoder was measured", {
    integer: true,
    min: 0,
  }),
  chunks: entry(0, "parts of a class along the slices, each with a slice of the support; 0: as measured", {
    integer: true,
    min: 0,
  }),
  ...matchingEntries(() => "as measured"),
};

/** A user's overrides, as `AskedSettings`; "largest" takes the slice of the support that shows most of a class. */
export interface OneShotSettings extends Partial<Omit<AskedSettings, "slices">> {
  readonly slices?: AskedSettings["slices"] | "largest";
}

/** Values that keep a setting. */
const KEPT: Readonly<Record<string, unknown>> = {
  ...{ window: 0, probe: -1, chunks: 0, nearest: 0, place: -1, placeSigma: 0, prior: -1 },
  ...{ prototypes: "run", slices: "auto", frame: "auto" },
};

/** An encoder's settings with a user's overrides. */
export function settingsWith(own: FewShotSettings, asked: OneShotSettings = {}): FewShotSettings {
  // The largest slices are all that a support then shows.
  const { slices = "auto", ...others } = asked;
  const wanted = { ...others, slices: slices === "largest" ? "chunks" : slices };
  const given = Object.entries(wanted).filter(([key, value]) =>
    key in KEPT && value !== undefined && value !== KEPT[key]
  );
  return { ...own, ...(asked.aligned && ALIGNED), ...Object.fromEntries(given) };
}

/** Why settings have no effect beside the others, for refuseUnused. */
export function unusedSettings(settings: FewShotSettings): Readonly<Record<string, string | false>> {
  const { prototypes, rule, slices, place, prior } = settings;
  const whole = prototypes === "panet" && "there is one prototype a class, and no windows";
  const mean = prototypes === "background" && "only the background has local prototypes";
  return {
    window: whole,
    probe: whole || mean || (rule === "paper" && "the rule of the paper asks for no probe"),
    chunks: slices === "nearest" && "the support is the nearest slices",
    nearest: slices === "chunks" && "the support is a slice for each part of a class; take --slices nearest",
    placeSigma: place === 0 && "places have no weight; take --place",
    frame: place === 0 && prior === 0 && "there are neither places nor a prior; take --place or --prior",
  };
}

/**
 * An encoder's settings with a user's overrides.
 *
 * @throws ConfigError for options on the command line that have no effect with them
 */
export function checkedAsked(own: FewShotSettings, asked: OneShotSettings): FewShotSettings {
  const settings = settingsWith(own, asked);
  refuseUnused(asked, {
    ...unusedSettings(settings),
    ...(asked.slices === "largest" && { chunks: "--slices largest has one slice for each class" }),
  });
  return settings;
}

/** Those settings that an episode of the training shares. */
export const episodeOptions = ({ temperature, rule, probe, prototypes }: FewShotSettings): FewShotOptions => ({
  temperature,
  rule,
  ...(probe > 0 && rule === "code" && { probe }),
  ...((prototypes === "panet" || prototypes === "background") && { foreground: "mask" as const }),
  ...((prototypes === "panet" || prototypes === "foreground") && { background: "mask" as const }),
});

/** Settings as options of oneShotSegmenter. */
export function fewShotOptions(settings: FewShotSettings): OneShotOptions {
  const { window, chunks, slices, nearest, place, placeSigma, prior, frame } = settings;
  return {
    ...episodeOptions(settings),
    window,
    chunks,
    slices,
    nearest,
    frame,
    ...(place > 0 && { place: { weight: place, sigma: placeSigma } }),
    ...(prior > 0 && { prior }),
  };
}
