/** How other formats than NIfTI are read: by a module that only those who have such files load. */
import type { FolderSource } from "../../platform/files/mounts.ts";
import type { FileSource } from "../../platform/sources.ts";
import type { SourceFile } from "../dicom/series.ts";
import { FormatError } from "../volume/format_error.ts";
import type { Volume } from "../volume/volume.ts";

/** A DICOM series of a folder. */
export interface ListedSeries {
  /** Its number, modality, slices and pixels, without what identifies a patient. */
  readonly text: string;
  /** How its pixels are stored; "" for a file that is no part of a series. */
  readonly syntax: string;
  /** Whether it is a whole file without a volume, which may be meant to lie beside series. */
  readonly other: boolean;
  /** Names of the fields that may identify the patient. */
  readonly identifying: readonly string[];
  /** Reads it; throws DicomError, also for what is no series. */
  read(): Promise<Volume>;
}

export interface OtherFormats {
  /** Reads a file; undefined if its bytes are of no other format. */
  readBytes(
    bytes: Uint8Array,
    name: string,
    options?: { readonly series?: string | undefined; readonly data?: Uint8Array | undefined; readonly path?: boolean },
  ): Promise<Volume | undefined>;
  /** Reads a series of a folder or list; undefined if a path is no folder. */
  readFolder(source: FolderSource | readonly FileSource[] | string, series?: string): Promise<Volume | undefined>;
  /** Each series among files, for a check, and why other files are no part of one. */
  listSeries(files: readonly SourceFile[], name: string): Promise<ListedSeries[]>;
  /** The path of the data file of a header; undefined if the data follow it. */
  dataFile(header: Uint8Array, path: string): string | undefined;
}

/** Set by when_needed.ts. Workers are without it: bundlers make one file of them, so they load nothing later. */
export const formats: { load?: () => Promise<OtherFormats> } = {};

/**
 * The readers of other formats.
 *
 * @throws FormatError where there are none
 */
export async function otherReaders(name: string): Promise<OtherFormats> {
  if (formats.load) return formats.load();
  throw new FormatError(name, "a scan that is no NIfTI file", "NIfTI here; readVolume of voxgrad/imaging reads others");
}
