/** What openModel gives, whatever network it holds. */
import type { Plan, Volume, VolumeSource, writeVolume } from "../../engine/imaging/mod.ts";
import { isNiftiSource, isVolume, loadImage } from "../../engine/segmenting.ts";
import type { FileSource, Postprocessing, PredictionMemory } from "../../engine/train/mod.ts";

/** Axes of the oriented scan: x to the right, y to the front, z up. */
export type MirrorAxes = "none" | "xyz" | "xy" | "xz" | "yz" | "x" | "y" | "z";

/**
 * A scan: its file, the folder of a DICOM series (its path, a folder handle, or the FileList that a visitor chose), or
 * a volume that is read already; of several channels in files or folders of their own, a list in order.
 */
export type Scan = VolumeSource | Volume | readonly (VolumeSource | Volume)[];

/** A labeled scan, for the model of an encoder. */
export interface Support {
  readonly image: Scan;
  /**
   * Integers on the grid of the image; each value above 0 is a class. If the image is the scan itself, slices that show
   * a class come back as they are labeled.
   */
  readonly labels: FileSource | Volume;
}

export interface ScanOptions {
  /** Ends it within one patch: it rejects with the signal's reason, an AbortError by default. */
  readonly signal?: AbortSignal;
  /** Called with the parts of the work that are done and in total; both start again after a lost device. */
  readonly onProgress?: (progress: { done: number; total: number }) => void;
  /** Whether probabilities are wanted too; default false. */
  readonly probabilities?: boolean;
  /** What the model of an encoder is to find; other models take none. */
  readonly support?: Support | readonly Support[];
}

/** A volume that can be written. */
export interface WritableVolume extends Volume {
  /** Writes it as `writeVolume` does: gzipped if the path ends with .gz. */
  write(path: string): Promise<void>;
}

/** What was found in a scan, on its grid. */
export interface Segmentation {
  /** The value of a label for each voxel, as Uint8Array. */
  readonly labels: WritableVolume;
  /**
   * Probabilities as Float32Array, a channel for each label or region; of an encoder one for each class of the support,
   * lowest value first, against the background.
   */
  readonly probabilities?: WritableVolume;
}

/** A model that segments scans. */
export interface SegmentationModel {
  /** Names of the values in label maps, background first. */
  readonly labels: readonly { readonly name: string; readonly value: number }[];
  /** Names of the channels that a scan must have. */
  readonly channels: readonly string[];
  /** How scans are prepared. */
  readonly plan: Plan;
  /** Whether `segment` wants a support, as the model of an encoder does. */
  readonly needsSupport: boolean;
  /** Paths of files of weights that lie beside the model's file, which names them; of nnU-Net's all. */
  readonly weightFiles?: readonly string[];
  /** Axes of the oriented scan over whose mirror images it averages; "none" of encoders. */
  readonly mirror: MirrorAxes;
  /** The rule by which only the largest components are kept, if the run has one. */
  readonly postprocessing?: Postprocessing;
  /**
   * Segments a scan. Several calls may run at the same time. If the device is lost meanwhile, it starts once more.
   *
   * @throws VoxgradError if the scan does not fit the model, or its spacing cannot be right; NiftiError, PlatformError
   *   if it cannot be read; the signal's reason
   */
  segment(scan: Scan, options?: ScanOptions): Promise<Segmentation>;
  /** Memory that `segment` of such a scan will need; of an encoder it is not known. Compiles the networks. */
  memory?(image: Volume, options?: { probabilities?: boolean }): Promise<PredictionMemory>;
  /** Frees everything on the device. Calls under way end with an error, as do later ones. */
  dispose(): void;
}

/** The files or volumes of a scan, one for each channel, or one with all. */
export async function scanParts(scan: Scan, channels: readonly string[]): Promise<readonly (VolumeSource | Volume)[]> {
  if (!Array.isArray(scan)) return [scan as VolumeSource | Volume];
  const list = scan as readonly (VolumeSource | Volume)[];
  // More files than channels are the slices of a series, if they are not NIfTI.
  const [first] = list;
  const slices = list.length > channels.length && !isVolume(first) && !(await isNiftiSource(first));
  return slices ? [list as readonly FileSource[]] : list;
}

/** The scan in one volume. */
export const readScan = async (scan: Scan, channels: readonly string[]): Promise<Volume> =>
  loadImage(await scanParts(scan, channels), channels);

export type WriteVolume = (...args: Parameters<typeof writeVolume>) => Promise<void>;

/** A volume that can be written; the method is no entry of it, so it can be spread and sent to workers. */
export function writable(volume: Volume, writeVolume: WriteVolume): WritableVolume {
  const write = function (this: Volume, path: string): Promise<void> {
    return writeVolume(path, this);
  };
  return Object.defineProperty({ ...volume }, "write", { value: write }) as WritableVolume;
}
