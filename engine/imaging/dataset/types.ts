/** Types of a dataset, independent of its folder layout. */
import type { DatasetError } from "./finding.ts";
import type { DatasetLabel, DatasetRegion } from "./dataset_json.ts";
import type { LabelMap } from "./label_map.ts";

export interface DatasetCase {
  readonly id: string;
  /** One file per channel, or a single file with all of them. */
  readonly images: readonly string[];
  /** Absent for test cases. */
  readonly label?: string;
  /** Of several DICOM series in the folder of its image, which: see readVolume. */
  readonly series?: string;
  /** Foreground values that were annotated in this case, lowest first; absent if all were. */
  readonly labelsPresent?: readonly number[];
  /**
   * In a dataset group: lists of two or more foreground values that its label does not distinguish, lowest first;
   * voxels of any of them have the lowest value. None of them is in `labelsPresent`.
   */
  readonly merged?: readonly (readonly number[])[];
  /** In a dataset group: the name of the set that it belongs to. */
  readonly set?: string;
  /** In a dataset group: how loadCase turns the labels of the file into those of the group. */
  readonly labelMap?: LabelMap;
}

export interface Dataset {
  /** The folder, or the file of a dataset group. */
  readonly folder: string;
  readonly name: string;
  /**
   * The file that declares its labels: dataset.json or that of the group; absent if labels were inferred from the label
   * files.
   */
  readonly description?: string;
  /** Channel names in order: ["T1", "T2"]. */
  readonly channels: readonly string[];
  /** By value, 0 (background) first, without gaps; `labels.length` is the number of classes. */
  readonly labels: readonly DatasetLabel[];
  /** Overlapping regions: one network output each, in the order of nnU-Net's regions_class_order. */
  readonly regions?: readonly DatasetRegion[];
  /** Value of voxels excluded from loss and metrics (nnU-Net's "ignore"), if any. */
  readonly ignoreLabel?: number;
  readonly cases: readonly DatasetCase[];
  readonly testCases: readonly DatasetCase[];
  /** The sets of a dataset group. */
  readonly sets?: readonly DatasetSet[];
}

/** Two folders of files with the same names, or the same folder twice, if a suffix distinguishes labels from images. */
export interface PlainFolders {
  readonly images: string;
  readonly labels: string;
}

/** Handles an error that leaves the rest of a dataset readable: throws or records it. */
export type OnFault = (fault: DatasetError) => void;

/** One dataset of a group. */
export interface DatasetSet {
  readonly name: string;
  readonly folder: string;
  /** Foreground values of the group that its labels map to, lowest first; absent if that is all of them. */
  readonly labelsPresent?: readonly number[];
  /** Values that its labels do not distinguish; see DatasetCase. */
  readonly merged?: readonly (readonly number[])[];
}
