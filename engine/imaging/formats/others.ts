/** Reads what is not NIfTI: DICOM, archives, NRRD, MetaImage, MGH. Loaded when the first such file is read. */
import { platform } from "#platform";
import { trimSlashes } from "../../core/paths.ts";
import { type FolderFile, type FolderSource, mountFiles } from "../../platform/files/mounts.ts";
import { type FileSource, readSource } from "../../platform/sources.ts";
import type { DicomError } from "../dicom/dicom_error.ts";
import { readDicom, readSeries } from "../dicom/read_dicom.ts";
import { isDicom } from "../dicom/is_dicom.ts";
import { describeSeries, findSeries, type SourceFile } from "../dicom/series.ts";
import { FormatError } from "../volume/format_error.ts";
import type { Volume } from "../volume/volume.ts";
import { plainBytes } from "./checks.ts";
import { dataFile } from "./data_file.ts";
import { filesWithin } from "./image_folders.ts";
import { isMetaImage, readMetaImage } from "./metaimage.ts";
import { isMgh, readMgh } from "./mgh.ts";
import { isNrrd, readNrrd } from "./nrrd.ts";
import type { ListedSeries, OtherFormats } from "./readers.ts";
import { isZip, zipEntries } from "./zip.ts";

export const otherFormats: OtherFormats = {
  async readBytes(bytes, name, { series, data, path } = {}) {
    if (isDicom(bytes)) return readDicom([{ name, read: async () => bytes }], name, series);
    if (isZip(bytes)) return readArchive(bytes, name, series);
    const header = isNrrd(bytes) ? readNrrd : isMetaImage(bytes) ? readMetaImage : undefined;
    if (header) {
      const beside = data ?? (path ? await besideBytes(bytes, name) : undefined);
      return header(bytes, name, beside);
    }
    return /\.mg[hz]$/i.test(name) || isMgh(bytes) ? readMgh(bytes, name) : undefined;
  },

  async readFolder(source, series) {
    const folder = await folderFiles(source);
    return folder && readDicom(folder.files, folder.name, series);
  },

  async listSeries(files, name) {
    const damaged: DicomError[] = [];
    const { series, faults } = await findSeries(files, (fault) => damaged.push(fault));
    const listed = series.map((each): ListedSeries => ({
      ...{ text: describeSeries(each), syntax: each.syntax, identifying: each.identifying, other: false },
      read: () => readSeries(each, name),
    }));
    const broken = [...damaged, ...faults].map((fault): ListedSeries => ({
      ...{ text: fault.file, syntax: "", identifying: [], other: !damaged.includes(fault) },
      read: () => Promise.reject(fault),
    }));
    return [...listed, ...broken];
  },

  dataFile,
};

async function besideBytes(header: Uint8Array, path: string): Promise<Uint8Array | undefined> {
  const file = dataFile(header, path);
  return file === undefined ? undefined : platform.readFile(file);
}

/** The DICOM series in an archive. */
async function readArchive(bytes: Uint8Array, name: string, series?: string): Promise<Volume> {
  const entries = zipEntries(plainBytes(bytes), name).filter((entry) => !/(^|\/)(\.|__MACOSX\/)/.test(entry.name));
  const files: SourceFile[] = entries.map((entry) => ({
    name: `${name}/${entry.name}`,
    read: async () => entry.read(),
  }));
  if (files.length === 0) throw new FormatError(name, "an archive without files", "those of a DICOM series");
  return readDicom(files, name, series);
}

/** The files of a folder or list; undefined for a path that is no folder. */
async function folderFiles(
  source: FolderSource | readonly FileSource[] | string,
): Promise<{ name: string; files: SourceFile[] } | undefined> {
  if (typeof source === "string") {
    const paths = await filesWithin(trimSlashes(source));
    return paths && { name: source, files: paths.map((path) => ({ name: path, read: () => platform.readFile(path) })) };
  }
  if (!(Symbol.iterator in source)) return folderFiles(mountFiles(source));
  const files = [...source as Iterable<FileSource | FolderFile>].map((file, k): SourceFile => ({
    name: nameOf(file) ?? `file ${k + 1}`,
    read: async () => (await readSource(file as FileSource)).bytes,
  }));
  return { name: files.length === 1 ? files[0].name : `${files.length} files`, files };
}

const nameOf = (file: FileSource | FolderFile): string | undefined =>
  typeof file === "string" ? file : (file as FolderFile).webkitRelativePath || (file as FolderFile).name || undefined;
