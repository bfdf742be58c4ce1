/** Images in and out: NIfTI, dataset folders, sampling, sliding window, metrics. */
import "../ops/methods.ts";
import "../compile/evaluate.ts";
import "./formats/when_needed.ts";

export { applyAffine, axisCodes, composeAffines, invertAffine, scaling } from "./volume/affine.ts";
export type { Affine } from "./volume/affine.ts";
export { determinant } from "./volume/rotation.ts";
export * as augment from "./augment/augment.ts";
export type { AugmentChanges, AugmentOptions, Batch as AugmentBatch } from "./augment/options.ts";
export { bodyMask, otsuThreshold } from "./volume/body_mask.ts";
export type { BodyMaskOptions } from "./volume/body_mask.ts";
export { CaseFaults } from "./dataset/case_faults.ts";
export { checkDataset } from "./dataset/check_dataset.ts";
export { checkScan, isScan } from "./dataset/check_scan.ts";
export type { CheckOptions } from "./dataset/check_dataset.ts";
export type { Finding } from "./dataset/finding.ts";
export { compareLabels } from "./metrics/compare.ts";
export type { ClassComparison, ComparedClass } from "./metrics/compare.ts";
export { nonZeroBox } from "./volume/crop.ts";
export type { Box } from "./volume/crop.ts";
export { DatasetError } from "./dataset/finding.ts";
export { openDataset } from "./dataset/dataset.ts";
export type { Dataset, DatasetCase, DatasetSet, PlainFolders } from "./dataset/types.ts";
export type { DatasetLabel, DatasetRegion } from "./dataset/dataset_json.ts";

export { openLabelNames } from "./dataset/dataset_json.ts";
export type { LabelNames } from "./dataset/dataset_json.ts";
export { readLabelVolume, wholeLabels } from "./dataset/label_values.ts";
export { Comparison, measuresOf, pairFiles } from "./metrics/evaluate.ts";
export type { EvaluatedCase, FilePair, Pairing } from "./metrics/evaluate.ts";
export { checkGrid, loadCase, loadImage } from "./dataset/load_case.ts";
export type { LoadedCase } from "./dataset/load_case.ts";
export { felzenszwalb } from "./superpixels/felzenszwalb.ts";
export type { FelzenszwalbOptions } from "./superpixels/felzenszwalb.ts";
export { openSuperpixels } from "./superpixels/store.ts";
export type { StoredSuperpixelOptions, SuperpixelStore } from "./superpixels/store.ts";
export { superpixels } from "./superpixels/superpixels.ts";
export type { SuperpixelOptions, Superpixels } from "./superpixels/superpixels.ts";
export { checkMemory } from "./volume/memory.ts";
export * as metrics from "./metrics/metrics.ts";
export type { ClassMetrics, MetricOptions, Overlap, Summary } from "./metrics/metrics.ts";
export { DicomError } from "./dicom/dicom_error.ts";
export type { Code, SegmentCode } from "./dicom/codes.ts";
export type { DerivedOptions, DicomLabel } from "./dicom/derived.ts";
export { writeDicomRtStruct, writeDicomSeg } from "./dicom/write_dicom.ts";
export { FormatError } from "./volume/format_error.ts";
export { NiftiError } from "./nifti/nifti_error.ts";
export { readSegmentCodes } from "./formats/segment_codes.ts";
export { encodeLabels, LABEL_FORMATS } from "./formats/encode_labels.ts";
export type { LabelFormat } from "./formats/encode_labels.ts";
export { readMetaImage, writeMetaImage } from "./formats/metaimage.ts";
export { readMgh, writeMgh } from "./formats/mgh.ts";
export { readNrrd, writeNrrd } from "./formats/nrrd.ts";
export type { NrrdSegment } from "./formats/nrrd.ts";
export { readNifti } from "./nifti/nifti.ts";
export { writeNifti } from "./nifti/write.ts";
export type { NiftiDtype } from "./nifti/write.ts";
export { CONTEXT_PHANTOM_LABELS, contextPhantomCase, writeContextPhantomDataset } from "./phantoms/context_phantom.ts";
export type { ContextPhantomCase } from "./phantoms/context_phantom.ts";
export {
  NESTED_PHANTOM_LABELS,
  NESTED_PHANTOM_REGIONS,
  nestedPhantomCase,
  writeNestedPhantomDataset,
} from "./phantoms/nested_phantom.ts";
export type { NestedPhantomOptions } from "./phantoms/nested_phantom.ts";
export {
  ORGAN_PHANTOM_LABELS,
  ORGAN_PHANTOM_TUMOR,
  organPhantomCase,
  organShapes,
  writeOrganPhantomDataset,
} from "./phantoms/organ_phantom.ts";
export type { OrganPhantomOptions, OrganShapes } from "./phantoms/organ_phantom.ts";
export { PHANTOM_LABELS, phantomCase, writePhantomDataset } from "./phantoms/phantom.ts";
export type { PhantomOptions } from "./phantoms/phantom.ts";
export { openCaseStore, storeFolder } from "./prepare/case_store.ts";
export type { CaseStore, CaseStoreOptions } from "./prepare/case_store.ts";
export { fingerprintDataset } from "./planner/fingerprint.ts";
export type { CaseFingerprint, ChannelFingerprint, Fingerprint } from "./planner/fingerprint.ts";
export { perDecoderStage, perStage, plannedNetworks, registerNetworkRules } from "./plan/network_rules.ts";
export type { NetworkEntryCheck, NetworkRules } from "./plan/network_rules.ts";
export { nnunetFromPlan } from "./plan/nnunet_export.ts";
export { nnunetDataset, planFromNnunet, readPlanFor } from "./plan/nnunet_plans.ts";
export type { PlannedDataset } from "./plan/nnunet_plans.ts";
export { inputChannels, outputChannels } from "./plan/plan.ts";
export { checkPlan, PlanError, planText, readPlan, writePlan } from "./plan/plan_file.ts";
export { makePlan } from "./planner/plan_rules.ts";
export type { PlanOptions } from "./planner/plan_rules.ts";
export type { CaseGeometry, PreparedCase, PreviousStage } from "./prepare/prepared_case.ts";
export { preparedVolume } from "./prepare/prepared_volume.ts";
export { previousStage } from "./prepare/previous_stage.ts";
export { preprocessImage } from "./prepare/preprocess.ts";
export { preprocessCase } from "./prepare/preprocess_case.ts";

export type { ChannelPlan, NetworkPlan, Plan, PlanFingerprint, ResamplingPlan } from "./plan/plan.ts";
export type { FileSource } from "../platform/sources.ts";
export { Prng } from "../core/prng.ts";
export { imageStem } from "./formats/image_files.ts";
export { readVolume } from "./formats/read_volume.ts";
export type { ReadVolumeOptions, VolumeSource } from "./formats/read_volume.ts";
export { writeVolume } from "./formats/write_volume.ts";
export { reorient } from "./volume/reorient.ts";
export { keepLargestComponent } from "./volume/largest_component.ts";
export { kMeans, nearestCenters } from "./superpixels/kmeans.ts";
export type { KMeans, KMeansOptions } from "./superpixels/kmeans.ts";
export { labelsOf, restoreLabels, restoreScores } from "./prepare/restore.ts";
export type { RestoreOptions } from "./prepare/restore.ts";
export { casesOf, extractBox, inMemory, patchStart, sampleBatch, withChannels } from "./prepare/sampling.ts";
export type { CaseSource, PatchOptions, SampleCase } from "./prepare/sampling.ts";
export { argmaxLabels, slidingWindow, slidingWindowSlabs } from "./prepare/sliding_window.ts";
export type { Grid, Slab, SlidingWindowOptions } from "./prepare/sliding_window.ts";
export { checkSpacing } from "./dataset/spacing.ts";
export { kFold } from "./dataset/split.ts";
export type { Fold } from "./dataset/split.ts";
export { isVolume, makeVolume, tensorShape, tensorSpacing, volumeLike, voxelCount } from "./volume/volume.ts";
export type {
  DicomSlice,
  DicomSource,
  LpsVector,
  NiftiExtension,
  NiftiSource,
  SpatialUnit,
  Triple,
  Volume,
  VoxelData,
} from "./volume/volume.ts";
