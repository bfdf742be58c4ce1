/** Training and applying a network: config blocks, run folders, the loop, whole-image prediction, evaluation. */
export { readCheckpoint, writeCheckpoint } from "./checkpoint.ts";
export type { CheckpointNotes } from "./checkpoint.ts";
export { choice, config, ConfigError, entry, HelpRequest, refuseUnused, resumableConfig, runConfig } from "./config.ts";
export type { Config, ConfigDefaults, ConfigValue, EntryRules } from "./config.ts";
export { chooseArms, Experiment, openExperiment } from "./experiment.ts";
export type { ExperimentCases, ExperimentOptions } from "./experiment.ts";
export { rowsSvg } from "./experiment_figure.ts";
export type { Block as RowBlock, Column as RowColumn, Mark as RowMark } from "./experiment_figure.ts";
export type { ExperimentFigure } from "./experiment_report.ts";
export type {
  Arm,
  Cell as ArmCell,
  Difference,
  Group as ArmGroup,
  Measure,
  MeasuredCase,
} from "./experiment_summary.ts";
export { readFigures, writeFigure } from "./figures.ts";
export type { Figure } from "./figures.ts";
export { Histogram, histogramSvg } from "./histogram.ts";
export type { Bins, HistogramGroup, HistogramPanel } from "./histogram.ts";
export { findImages, findModels } from "./inputs.ts";
export { counted, duration, formatTable, JsonLines, Pace, print, programLine } from "./logging.ts";
export type { StepRecord } from "./logging.ts";
export { trainLoop } from "./loop.ts";
export type { LoopOptions } from "./loop.ts";
export { loadModel, planOf, saveModel, writeModel } from "./model_file.ts";
export type { ModelDescription } from "./model_file.ts";
export { overlaySvg } from "./overlay.ts";
export type { OverlayCase, OverlayOptions } from "./overlay.ts";
export { labelsFromSlices, labelSlices, openPanel, scanSlices } from "./panel.ts";
export type { Panel as PagePanel, PanelAct, PanelContent, PanelForm, PanelScan, PatientAxis } from "./panel.ts";
export type { GridPanel } from "./panel_grid.ts";
export { chartSvg, COLOURS, labelColour, progressSvg } from "./plots.ts";
export type { Panel, Point } from "./plots.ts";
export { openOptimizer, optimizerEntries } from "./optimizer.ts";
export { checkPostprocessing, postprocess, PostprocessingChoice } from "./postprocess.ts";
export type { Postprocessing, PostprocessingStep } from "./postprocess.ts";
export { fileDigests, openPredictions, Predictions } from "./predictions.ts";
export type { Digests, PredictionsOptions } from "./predictions.ts";
export { contentDigest } from "./provenance.ts";
export { PseudoDice, stepFigures } from "./pseudo_dice.ts";
export { recordChart } from "./record_chart.ts";
export { writeComparison, writeReport } from "./report.ts";
export { openRun, readJson, resumeRun, RunFolder } from "./run_folder.ts";
export { scatterSvg } from "./scatter.ts";
export type { ScatterGroup, ScatterOptions, ScatterPanel } from "./scatter.ts";
export { predictor, segmenter } from "./segment.ts";
export type { Member, Network, PredictionMemory, Predictor, SegmentOptions, Task } from "./segment.ts";
export { bootstrapInterval, wilcoxon } from "./statistics.ts";
export type { Interval, SignedRankTest } from "./statistics.ts";
export { readTables, writeTable } from "./tables.ts";
export type { ReportTable } from "./tables.ts";
export { tilesSvg } from "./tiles.ts";
export type { ClassTile, MapTile, TileOptions, TileRow } from "./tiles.ts";
export { train } from "./train.ts";
export type { EpochRecord, Trained, TrainOptions } from "./train.ts";
export { openTraining, Training, trainingChanges, trainingEntries } from "./setup.ts";
export type { FoldSetup, Patches, PhantomSetup, TrainingOptions } from "./setup.ts";
export { checkSetsOption, checkTrainingOptions, tellBackground } from "./training_checks.ts";
