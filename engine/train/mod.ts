/** Training and applying a network: config blocks, run folders, the loop, whole-image prediction, evaluation. */
import "../ops/methods.ts";
export {
  choice,
  config,
  ConfigError,
  entry,
  refuseUnused,
  resumableConfig,
  runConfig,
  withDefaults,
} from "./run/config.ts";
export type { Config, ConfigDefaults, ConfigValue, Entries, Entry, EntryRules } from "./run/config.ts";
export { chooseArms, openExperiment } from "./experiment/experiment.ts";
export {
  addArmFigures,
  experimentEntries,
  firstCases,
  runExperiment,
  trial,
  writePlanAndSplit,
} from "./experiment/run_experiment.ts";
export type { ExperimentRun, Trial, TrialRun } from "./experiment/run_experiment.ts";
export type { Experiment } from "./experiment/experiment.ts";
export type { ExperimentCases, ExperimentOptions } from "./experiment/experiment.ts";
export { rowsSvg } from "./plot/rows.ts";
export type { RowBlock, RowColumn, RowMark } from "./plot/rows.ts";
export type { ExperimentFigure } from "./experiment/experiment_report.ts";
export type {
  Arm,
  ArmCell,
  ArmGroup,
  Difference,
  Measure,
  MeasuredCase,
  Wins,
} from "./experiment/experiment_summary.ts";
export { readFigures, writeFigure } from "./plot/figures.ts";
export type { Figure } from "./plot/figures.ts";
export { Histogram, histogramSvg } from "./plot/histogram.ts";
export type { Bins, HistogramGroup, HistogramPanel } from "./plot/histogram.ts";
export { findImages } from "./run/find_images.ts";
export { findModels, modelFiles } from "./run/find_models.ts";
export type { ModelSource } from "./run/find_models.ts";
export { nnunetPostprocessing, nnunetRule } from "./predict/nnunet_postprocessing.ts";
export { openNnunetResult } from "./run/nnunet_result.ts";
export type { ReadableFile } from "./run/nnunet_paths.ts";
export type { NamedJson, NnunetResult } from "./run/nnunet_result.ts";
export { counted, duration, formatTable, JsonLines, print, programLine } from "./run/logging.ts";
export type { EpochRecord, StepRecord } from "./run/logging.ts";
export { runTraining } from "./loop/training_script.ts";
export { jobTable } from "./jobs/job_table.ts";
export { runJobs } from "./jobs/jobs_script.ts";
export { openQueue, queueEntries } from "./jobs/open_queue.ts";
export type { QueueOptions } from "./jobs/open_queue.ts";
export { runPool } from "./jobs/pool.ts";
export { runSubmit } from "./jobs/submit_script.ts";
export { verifyRun } from "./jobs/verify.ts";
export { coupledLoss, coupledSums } from "./ranks/coupled_loss.ts";
export { joinRanks, MicroStep, rankChanges, rankEntries } from "./ranks/micro_step.ts";
export { ravel, unravel } from "./ranks/ravel.ts";
export { openChannel, shapesDigest } from "./federate/channel.ts";
export { askTask, joinFederation } from "./federate/client.ts";
export { serveFederation } from "./federate/server.ts";
export { trainLoop } from "./loop/loop.ts";
export type { LoopOptions } from "./loop/loop.ts";
export { loadModel, planOf, saveModel, writeModel } from "./run/model_file.ts";
export type { LoadedModel, ModelDescription } from "./run/model_file.ts";
export { overlaySvg } from "./plot/overlay.ts";
export type { OverlayCase, OverlayOptions, PatientAxis } from "./plot/overlay.ts";
export type { GridPanel } from "./plot/panel_grid.ts";
export { chartSvg, labelColor } from "./plot/plots.ts";
export type { ChartPanel, Point } from "./plot/plots.ts";
export { openOptimizer, optimizerEntries } from "./loop/optimizer.ts";
export type { OptimizerOptions } from "./loop/optimizer.ts";
export { checkPostprocessing, postprocess, readPostprocessing } from "./predict/postprocess.ts";
export type { Postprocessing, PostprocessingStep } from "./predict/postprocess.ts";
export { fileDigests, openPredictions } from "./predict/predictions.ts";
export type { Predictions } from "./predict/predictions.ts";
export type { Digests, PredictionsOptions } from "./predict/predictions.ts";
export { contentDigest } from "./run/provenance.ts";
export { stepMetrics } from "./loop/pseudo_dice.ts";

export { writeComparison, writeReport } from "./report/report.ts";
export { writeTensorBoard } from "./report/tensorboard.ts";
export { openRun, readJson, RunFolder } from "./run/run_folder.ts";
export { readSource } from "../platform/sources.ts";
export type { FileSource, SourceBytes } from "../platform/sources.ts";
export { setHost } from "../platform/host.ts";
export type { HostOptions } from "../platform/host.ts";
export { directoryFiles } from "../platform/files/directory_files.ts";
export { memoryFiles } from "../platform/files/memory_files.ts";
export { mountFiles, unmountFiles } from "../platform/files/mounts.ts";
export type { FolderSource } from "../platform/files/mounts.ts";
export { trimSlashes } from "../core/paths.ts";
export { deviceSize, isSoftware, printDevice, runScript, splitList } from "./run/script.ts";
export { scatterSvg } from "./plot/scatter.ts";
export type { ScatterGroup, ScatterOptions, ScatterPanel } from "./plot/scatter.ts";
export { predictor, segmenter } from "./predict/predictor.ts";
export type { Member, Network, Task } from "./predict/forward.ts";
export type { PredictionMemory, PredictOptions, Predictor, SegmentOptions, StopSignal } from "./predict/predictor.ts";
export { resident } from "./predict/resident.ts";
export type { Built, Resident } from "./predict/resident.ts";
export { bootstrapInterval, signFlipTest, tInterval } from "./experiment/statistics.ts";
export type { Interval } from "./experiment/statistics.ts";
export { writeTable } from "./run/tables.ts";
export type { ReportTable } from "./run/tables.ts";
export { tilesSvg } from "./plot/tiles.ts";
export type { ClassTile, MapTile, TileOptions, TileRow } from "./plot/tiles.ts";
export { train } from "./loop/train.ts";
export type { Trained, TrainOptions } from "./loop/train.ts";
export type { Patches } from "./loop/batches.ts";
export { openTraining } from "./loop/open_training.ts";
export type { DataSetup, PhantomSetup } from "./loop/open_training.ts";
export { runFolds } from "./loop/run_folds.ts";
export type { FoldMethod, MethodDescription, StepMethod } from "./loop/run_folds.ts";
export { trainingChanges, trainingEntries } from "./loop/training_options.ts";
export type { TrainingOptions } from "./loop/training_options.ts";
export type { FoldSetup, TrainingParts, TrainingRun } from "./loop/training_run.ts";
export { checkSetsOption, checkTrainingOptions, tellBackground, unused } from "./loop/training_checks.ts";
