/** Training and applying a network: config blocks, run folders, the loop, whole-image prediction, evaluation. */
export { choice, config, ConfigError, entry, HelpRequest } from "./config.ts";
export type { Config, ConfigDefaults, ConfigValue, EntryRules } from "./config.ts";
export { Evaluation } from "./evaluation.ts";
export type { CaseMetrics } from "./evaluation.ts";
export { duration, formatTable, JsonLines, Pace, print, programLine } from "./logging.ts";
export type { StepRecord } from "./logging.ts";
export { trainLoop } from "./loop.ts";
export type { LoopOptions } from "./loop.ts";
export { loadModel, saveModel } from "./model_file.ts";
export type { ModelDescription } from "./model_file.ts";
export { overlaySvg } from "./overlay.ts";
export type { OverlayCase, OverlayOptions } from "./overlay.ts";
export { chartSvg, progressSvg } from "./plots.ts";
export type { Panel, Point } from "./plots.ts";
export { PseudoDice, stepFigures } from "./pseudo_dice.ts";
export { openRun, RunFolder } from "./run_folder.ts";
export { choosePatch, segmenter } from "./segment.ts";
export type { Network, Task } from "./segment.ts";
