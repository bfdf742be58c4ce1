/** Scans: read, described, and turned for the viewer. */
import {
  DicomError,
  loadImage,
  phantomCase,
  readVolume,
  reorient,
  type Volume,
  voxelCount,
} from "../../../engine/imaging/mod.ts";
import { dropScan, keepScan, scanOf } from "./kept.ts";
import { contentOf, type ScanFiles } from "./scan_files.ts";
import { type Tone, toneOf } from "./tone.ts";

/** A scan as the page knows it. */
export interface ScanView {
  readonly id: number;
  readonly name: string;
  /** Of the scan as it is stored. */
  readonly shape: readonly number[];
  readonly spacing: readonly number[];
  readonly channels: number;
  /** Whether it was read from DICOM, in which case labels can be saved as such. */
  readonly dicom: boolean;
  readonly shown: Picture;
}

/** One channel for the viewer: axes right, anterior, superior. */
export interface Picture {
  readonly data: Uint8Array<ArrayBuffer> | Int16Array<ArrayBuffer> | Float32Array<ArrayBuffer>;
  readonly shape: readonly [number, number, number];
  readonly spacing: readonly [number, number, number];
  /** 4 x 4, row-major, voxel to mm. */
  readonly affine: readonly number[];
  readonly tone: Tone;
}

/** Reads the files of one scan: of a format that voxgrad reads, of channels in files of their own, or a series. */
export async function open(
  { files, series }: { files: readonly { readonly file: File }[]; series?: string },
): Promise<ScanView> {
  const content = contentOf(files.map(({ file }) => file));
  return described(await read(content, series));
}

/** What a folder of DICOM files holds, if that is not one series. */
export interface SeveralSeries {
  readonly series: DicomError["series"];
}

/** As `open`, but of several series among which none is chosen it gives the list. */
export async function openOrList(input: Parameters<typeof open>[0]): Promise<ScanView | SeveralSeries> {
  try {
    return await open(input);
  } catch (error) {
    if (error instanceof DicomError && error.series.length > 1) return { series: error.series };
    throw error;
  }
}

async function read(content: ScanFiles, series: string | undefined): Promise<Volume> {
  if ("channels" in content) {
    return loadImage(content.channels, content.channels.map(({ name }) => name));
  }
  if ("header" in content) return readVolume(content.header, { data: content.data });
  return readVolume(content.source, series === undefined ? {} : { series });
}

/** A synthetic scan, for those who have none at hand. */
export async function phantom({ seed }: { seed: number }): Promise<ScanView> {
  const { image } = phantomCase({ seed });
  return described({ ...image, name: "Synthetic scan" });
}

/** Another channel of a scan. */
export async function channel({ scan, index }: { scan: number; index: number }): Promise<Picture> {
  return pictureOf(scanOf(scan), index);
}

export async function close({ scan }: { scan: number }): Promise<void> {
  dropScan(scan);
}

export function described(scan: Volume): ScanView {
  const { name, shape, spacing, channels, dicom } = scan;
  const shown = pictureOf(scan, 0);
  return {
    id: keepScan(scan, { shape: shown.shape, spacing: shown.spacing, affine: shown.affine as Volume["affine"] }),
    name: name.replace(/^.*\//, ""),
    shape,
    spacing,
    channels,
    dicom: dicom !== undefined,
    shown,
  };
}

function pictureOf(scan: Volume, index: number): Picture {
  const count = voxelCount(scan.shape);
  const one: Volume = { ...scan, channels: 1, data: scan.data.subarray(index * count, (index + 1) * count) };
  const { data, shape, spacing, affine } = reorient(one, "RAS");
  return { data: forTextures(data), shape, spacing, affine: [...affine], tone: toneOf(data) };
}

/** Values of a type that textures have, in memory of their own. */
function forTextures(data: Volume["data"]): Picture["data"] {
  if (data instanceof Uint8Array) return new Uint8Array(data);
  if (data instanceof Int16Array || data instanceof Int8Array) return new Int16Array(data);
  const values = new Float32Array(data.length);
  // Textures take no NaN; what is not finite is shown as 0.
  for (let i = 0; i < values.length; i++) values[i] = Number.isFinite(data[i]) ? data[i] : 0;
  return values;
}
