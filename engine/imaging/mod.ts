/** Images in and out: NIfTI, dataset folders, sampling, sliding window, metrics. */
export {
  applyAffine,
  axisCodes,
  columnNorms,
  composeAffines,
  cornerDistance,
  determinant,
  invertAffine,
  scaling,
} from "./affine.ts";
export type { Affine } from "./affine.ts";
export * as augment from "./augment.ts";
export type { AugmentChanges, AugmentOptions, Batch as AugmentBatch } from "./augment_options.ts";
export { bodyMask, otsuThreshold } from "./body_mask.ts";
export type { BodyMaskOptions } from "./body_mask.ts";
export { CaseFaults, isForUser } from "./case_faults.ts";
export { checkDataset } from "./check_dataset.ts";
export type { CheckOptions, Finding } from "./check_dataset.ts";
export { compareLabels } from "./compare.ts";
export type { ClassComparison, ComparedClass } from "./compare.ts";
export { nonZeroBox } from "./crop.ts";
export type { Box } from "./crop.ts";
export { DatasetError, openDataset } from "./dataset.ts";
export type { Dataset, DatasetCase, DatasetLabel, DatasetRegion, PlainFolders } from "./dataset.ts";
export type { DatasetSet } from "./dataset_group.ts";
export { checkCaseId } from "./dataset_files.ts";
export { openLabelNames } from "./dataset_json.ts";
export type { LabelNames } from "./dataset_json.ts";
export { readLabelVolume, wholeLabels } from "./label_values.ts";
export { mapLabels } from "./label_map.ts";
export type { LabelMap, MappedSides } from "./label_map.ts";
export { splitSides } from "./split_sides.ts";
export type { SideSplit } from "./split_sides.ts";
export { Comparison, measuresOf, pairFiles } from "./evaluate.ts";
export type { EvaluatedCase, FilePair, Pairing } from "./evaluate.ts";
export { checkGrid, loadCase } from "./load_case.ts";
export type { LoadedCase } from "./load_case.ts";
export { felzenszwalb } from "./felzenszwalb.ts";
export type { FelzenszwalbOptions } from "./felzenszwalb.ts";
export { openSuperpixels } from "./superpixel_store.ts";
export type { StoredSuperpixelOptions, SuperpixelStore } from "./superpixel_store.ts";
export { foregroundMask, superpixels } from "./superpixels.ts";
export type { SuperpixelOptions, Superpixels } from "./superpixels.ts";
export { checkMemory } from "./memory.ts";
export * as metrics from "./metrics.ts";
export type { ClassMetrics, MetricOptions, Overlap, Summary } from "./metrics.ts";
export { NiftiError, readNifti, writeNifti } from "./nifti.ts";
export type { NiftiDtype } from "./nifti_write.ts";
export { CONTEXT_PHANTOM_LABELS, contextPhantomCase, writeContextPhantomDataset } from "./context_phantom.ts";
export type { ContextPhantomCase } from "./context_phantom.ts";
export {
  NESTED_PHANTOM_LABELS,
  NESTED_PHANTOM_REGIONS,
  nestedPhantomCase,
  writeNestedPhantomDataset,
} from "./nested_phantom.ts";
export type { NestedPhantomOptions } from "./nested_phantom.ts";
export {
  ORGAN_PHANTOM_LABELS,
  ORGAN_PHANTOM_TUMOUR,
  organPhantomCase,
  organShapes,
  writeOrganPhantomDataset,
} from "./organ_phantom.ts";
export type { OrganPhantomOptions, OrganShapes } from "./organ_phantom.ts";
export { PHANTOM_LABELS, phantomCase, writePhantomDataset } from "./phantom.ts";
export type { PhantomOptions } from "./phantom.ts";
export { openCaseStore, storeFolder } from "./case_store.ts";
export type { CaseStore, CaseStoreOptions } from "./case_store.ts";
export { fingerprintDataset } from "./fingerprint.ts";
export type { CaseFingerprint, ChannelFingerprint, Fingerprint } from "./fingerprint.ts";
export { outputChannels } from "./plan.ts";
export { checkPlan, PlanError, planText, readPlan, writePlan } from "./plan_file.ts";
export { makePlan } from "./plan_rules.ts";
export type { PlanOptions } from "./plan_rules.ts";
export { preparedVolume } from "./prepared_volume.ts";
export { preprocessCase, preprocessImage } from "./preprocess.ts";
export { resampleArray, resampledShape, resampleLabelArray, resamplingOrders } from "./resample.ts";
export type {
  CaseGeometry,
  ChannelPlan,
  NetworkPlan,
  Plan,
  PlanFingerprint,
  PreparedCase,
  ResamplingPlan,
} from "./plan.ts";
export { Prng } from "./prng.ts";
export { imageStem, readVolume, volumeFiles } from "./read_volume.ts";
export { reorient, turnedOnto } from "./reorient.ts";
export { keepLargestComponent } from "./largest_component.ts";
export { kMeans, nearestCentres } from "./kmeans.ts";
export type { KMeans, KMeansOptions } from "./kmeans.ts";
export { labelsOf, regionValues, resampledPlanes, restoreLabels, SourceVolume, toProbabilities } from "./restore.ts";
export { casesOf, extractBox, inMemory, patchStart, sampleBatch, samplePatch, withChannels } from "./sampling.ts";
export type { CaseSource, PatchOptions, SampleCase } from "./sampling.ts";
export {
  argmaxLabels,
  gaussianImportance,
  slidingWindow,
  slidingWindowCost,
  slidingWindowSlabs,
  tileStarts,
} from "./sliding_window.ts";
export type { Grid, Slab, SlidingWindowOptions } from "./sliding_window.ts";
export { checkSpacing } from "./spacing.ts";
export { checkSplits, kFold } from "./split.ts";
export type { Fold } from "./split.ts";
export { makeVolume, tensorShape, tensorSpacing, volumeLike, voxelCount } from "./volume.ts";
export type { NiftiExtension, NiftiSource, SpatialUnit, Triple, Volume, VoxelData } from "./volume.ts";
