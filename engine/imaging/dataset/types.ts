/** What a dataset is, whatever the layout of its folder. */
import type { DatasetError, DatasetLabel, DatasetRegion } from "./dataset_json.ts";
import type { LabelMap } from "./label_map.ts";

export interface DatasetCase {
  readonly id: string;
  /** One file per channel, or a single file that holds them all. */
  readonly images: readonly string[];
  /** Absent for test cases. */
  readonly label?: string;
  /** Foreground values that were annotated in this case, lowest first; absent where all were. */
  readonly labelsPresent?: readonly number[];
  /**
   * In a dataset group: lists of two or more foreground values that its label does not tell apart, lowest first; a
   * voxel of any of them has the lowest. None of them is in `labelsPresent`.
   */
  readonly merged?: readonly (readonly number[])[];
  /** In a dataset group: the name of the set that it belongs to. */
  readonly set?: string;
  /** In a dataset group: how loadCase turns the labels of the file into those of the group. */
  readonly labelMap?: LabelMap;
}

export interface Dataset {
  /** The folder; of a dataset group its file. */
  readonly folder: string;
  readonly name: string;
  /**
   * The file that declares its labels: dataset.json or that of the group; absent where they were found in the label
   * files.
   */
  readonly description?: string;
  /** Channel names in order: ["T1", "T2"]. */
  readonly channels: readonly string[];
  /** By value, 0 (background) first, without gaps; `labels.length` is the number of classes. */
  readonly labels: readonly DatasetLabel[];
  /** Where labels overlap: one output of the network each, in the order of nnU-Net's regions_class_order. */
  readonly regions?: readonly DatasetRegion[];
  /** Value of voxels that count neither way (nnU-Net's "ignore"), where there is one. */
  readonly ignoreLabel?: number;
  readonly cases: readonly DatasetCase[];
  readonly testCases: readonly DatasetCase[];
  /** The sets of a dataset group. */
  readonly sets?: readonly DatasetSet[];
}

/** Two folders of files with the same names, or one folder twice, where a suffix tells labels from images. */
export interface PlainFolders {
  readonly images: string;
  readonly labels: string;
}

/** Is told a fault that leaves the rest of a dataset readable: throws it, or notes it. */
export type OnFault = (fault: DatasetError) => void;

/** One dataset of a group. */
export interface DatasetSet {
  readonly name: string;
  readonly folder: string;
  /** Foreground values that its labels become, lowest first; absent where they are all of the group's. */
  readonly labelsPresent?: readonly number[];
  /** Values that its labels do not tell apart; see DatasetCase. */
  readonly merged?: readonly (readonly number[])[];
}
