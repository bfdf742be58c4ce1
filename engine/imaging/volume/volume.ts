/**
 * A 3-D image with its affine: the type that readers, samplers and writers exchange.
 *
 * Axis order. `data` is in NIfTI's order: x runs fastest, then y, z, and the channel slowest. `shape` is [X, Y, Z] and
 * `spacing` is in the same order. Tensors are [C, D, H, W] = [channel, z, y, x] with the last axis fastest, so the same
 * memory is the tensor: `tensorShape(volume)` is its shape and nothing is copied or transposed.
 */
import { VoxgradError } from "../../core/errors.ts";
import { columnNorms } from "./affine.ts";
import type { Affine } from "./affine.ts";

export type VoxelData =
  | Int8Array<ArrayBuffer>
  | Uint8Array<ArrayBuffer>
  | Int16Array<ArrayBuffer>
  | Uint16Array<ArrayBuffer>
  | Int32Array<ArrayBuffer>
  | Uint32Array<ArrayBuffer>
  | Float32Array<ArrayBuffer>
  | Float64Array<ArrayBuffer>;

export type Triple = readonly [number, number, number];

/** Unit of length of a NIfTI header. */
export type SpatialUnit = "unknown" | "m" | "mm" | "um";

/** A block of other software's data in a NIfTI header: DICOM (code 2), AFNI (4), a comment (6). */
export interface NiftiExtension {
  readonly code: number;
  readonly data: Uint8Array<ArrayBuffer>;
}

/** The fields of a NIfTI header that are kept to write the same geometry back. */
export interface NiftiSource {
  readonly version: 1 | 2;
  /** Sizes of all stored axes, x first: [X, Y, Z], [X, Y, Z, T], [X, Y, Z, 1, V]. */
  readonly dims: readonly number[];
  /** pixdim[0..7]: qfac, then one step per axis. */
  readonly pixdim: readonly number[];
  readonly datatype: number;
  readonly slope: number;
  readonly intercept: number;
  readonly qformCode: number;
  readonly sformCode: number;
  /** Quaternion b, c, d and offset x, y, z. */
  readonly quaternion: readonly number[];
  readonly offset: readonly number[];
  /** xyzt_units as stored: length and time. */
  readonly unitsCode: number;
  readonly intentCode: number;
  readonly description: string;
  /** Written back unchanged; absent if there are none. */
  readonly extensions?: readonly NiftiExtension[];
  /** The affine that these fields define, to detect a changed affine. */
  readonly affine: Affine;
}

/** A point or direction in DICOM's coordinates: to the left, the back and up, in mm. */
export type LpsVector = readonly [left: number, back: number, up: number];

/** Where a slice of a DICOM series lies, and which instance it is. */
export interface DicomSlice {
  /** SOP Instance UID of its file, and its frame there, from 0. */
  readonly instance: string;
  readonly frame: number;
  readonly columns: number;
  readonly rows: number;
  /** Center of the first pixel. */
  readonly position: LpsVector;
  /** Unit vectors along a row, in which the number of the column grows, and down a column. */
  readonly right: LpsVector;
  readonly down: LpsVector;
  /** Distances in mm of pixels in a row, and of rows. */
  readonly pixel: readonly [across: number, down: number];
}

/** The DICOM series that a volume was read from. Its attributes identify the patient: they are for writing alone. */
export interface DicomSource {
  readonly sopClass: string;
  readonly series: string;
  readonly modality: string;
  /** Names of the fields that it holds and that may identify the patient, without what they say. */
  readonly identifying: readonly string[];
  /** In the order of the volume's slices as it was read. */
  readonly slices: readonly DicomSlice[];
  /** Of patient, study and frame of reference, as stored: by tag, such as "x0020000d". */
  readonly attributes: Readonly<Record<string, string>>;
}

export interface Volume {
  /** Voxel values, x fastest, channel slowest; length X * Y * Z * channels. */
  readonly data: VoxelData;
  /** [X, Y, Z]. */
  readonly shape: Triple;
  readonly channels: number;
  /** Distance between voxel centers along x, y, z in mm. */
  readonly spacing: Triple;
  /** 4 x 4, row-major: voxel index (x, y, z, 1) to patient coordinates, right, anterior, superior (RAS), in mm. */
  readonly affine: Affine;
  readonly units: SpatialUnit;
  /** Where it came from, for messages: a file path or a case name. */
  readonly name: string;
  /** Present on volumes read from NIfTI, and on those derived from them. */
  readonly source?: NiftiSource;
  /** Present on volumes read from DICOM, and on those derived from them. */
  readonly dicom?: DicomSource;
}

/**
 * Whether a value is a volume, and no source of a file.
 *
 * @example
 * ```ts
 * import { isVolume, phantomCase } from "voxgrad/imaging";
 *
 * isVolume(phantomCase({ seed: 1 }).image); // true
 * isVolume("liver"); // false
 * ```
 */
export const isVolume = (value: unknown): value is Volume => {
  const { data, shape, affine } = (value ?? {}) as Partial<Volume>;
  return ArrayBuffer.isView(data) && Array.isArray(shape) && Array.isArray(affine);
};

/**
 * Number of voxels in one channel.
 *
 * @example
 * ```ts
 * import { voxelCount } from "voxgrad/imaging";
 *
 * voxelCount([40, 36, 24]); // 34560
 * ```
 */
export const voxelCount = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/**
 * The shape of `volume.data` as a tensor: [C, D, H, W].
 *
 * @example
 * ```ts
 * import { makeVolume, scaling, tensorShape } from "voxgrad/imaging";
 *
 * const scan = makeVolume(new Float32Array(24), { shape: [2, 3, 4], affine: scaling([1, 1, 3]) });
 * tensorShape(scan); // [1, 4, 3, 2]
 * ```
 */
export const tensorShape = (volume: Volume): [number, number, number, number] => [
  volume.channels,
  volume.shape[2],
  volume.shape[1],
  volume.shape[0],
];

/**
 * Spacing in tensor order [z, y, x], in mm.
 *
 * @example
 * ```ts
 * import { makeVolume, scaling, tensorSpacing } from "voxgrad/imaging";
 *
 * const scan = makeVolume(new Float32Array(24), { shape: [2, 3, 4], affine: scaling([1, 1, 3]) });
 * tensorSpacing(scan); // [3, 1, 1]
 * ```
 */
export const tensorSpacing = (volume: Volume): [number, number, number] => [
  volume.spacing[2],
  volume.spacing[1],
  volume.spacing[0],
];

/**
 * Makes a volume from values and an affine.
 *
 * @param options shape [X, Y, Z]; affine row-major, mm; channels, default 1
 * @throws VoxgradError when the number of values does not fit
 * @example
 * ```ts
 * import { makeVolume, scaling } from "voxgrad/imaging";
 *
 * const mask = makeVolume(new Uint8Array(8), { shape: [2, 2, 2], affine: scaling([1, 1, 1]), name: "mask" });
 * ```
 */
export function makeVolume(
  data: VoxelData,
  options: { shape: Triple; affine: Affine; channels?: number; name?: string },
): Volume {
  const { shape, affine, channels = 1, name = "volume" } = options;
  checkLength(data, shape, channels, name);
  return { data, shape, channels, affine, spacing: columnNorms(affine), units: "mm", name };
}

/**
 * New values on the grid of another volume, keeping its affine and its header: a prediction for its image.
 *
 * @throws VoxgradError when the number of values does not fit
 * @example
 * ```ts
 * import { phantomCase, volumeLike } from "voxgrad/imaging";
 *
 * const { image } = phantomCase({ seed: 1 });
 * const prediction = volumeLike(image, new Uint8Array(image.data.length), { name: "prediction" });
 * ```
 */
export function volumeLike(
  volume: Volume,
  data: VoxelData,
  options: { channels?: number; name?: string } = {},
): Volume {
  const { channels = 1, name = volume.name } = options;
  checkLength(data, volume.shape, channels, name);
  return { ...volume, data, channels, name };
}

function checkLength(data: VoxelData, shape: Triple, channels: number, name: string): void {
  const wanted = voxelCount(shape) * channels;
  if (data.length !== wanted) {
    throw new VoxgradError(
      `${name}: got ${data.length} values, wanted ${wanted} for ${channels} channel(s) of ${shape.join(" x ")} voxels`,
    );
  }
}
