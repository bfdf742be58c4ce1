/** Writes volumes as files. */
import { platform } from "#platform";
import { gzipStreamed } from "../nifti/gzip.ts";
import { writeNifti } from "../nifti/write.ts";
import type { NiftiDtype } from "../nifti/write.ts";
import type { Volume } from "../volume/volume.ts";
import { FormatError } from "../volume/format_error.ts";
import { writeMetaImage } from "./metaimage.ts";
import { writeMgh } from "./mgh.ts";
import { writeNrrd } from "./nrrd.ts";

/**
 * Writes a volume in the format that the path ends with: .nii and .nii.gz, .nrrd, .mha, .mgh and .mgz. What is gzipped
 * is packed off the main thread where the host can; the same volume gives the same bytes on the same host.
 *
 * @param options dtype: stored type of NIfTI, default that of `volume.data`
 * @throws NiftiError, FormatError when the format has no type for a value; PlatformError if the file cannot be written
 * @example
 * ```ts
 * import { readVolume, volumeLike, writeVolume } from "voxgrad/imaging";
 *
 * const scan = await readVolume("scan.nii.gz");
 * const mask = volumeLike(scan, Uint8Array.from(scan.data, (value) => Number(value > 300)));
 * await writeVolume("mask.nii.gz", mask);
 * ```
 */
export async function writeVolume(path: string, volume: Volume, options: { dtype?: NiftiDtype } = {}): Promise<void> {
  const [, ending = ""] = /\.(nrrd|mha|mgh|mgz|nhdr|mhd|dcm)$/i.exec(path) ?? [];
  if (ending === "") {
    const bytes = writeNifti(volume, options);
    return platform.writeFile(path, /\.gz$/i.test(path) ? await gzipStreamed(bytes) : bytes);
  }
  const wanted = ".nii, .nii.gz, .nrrd, .mha, .mgh or .mgz; writeDicomSeg makes DICOM segmentations";
  if (options.dtype !== undefined) throw new FormatError(path, "a dtype", "none: it is for NIfTI");
  switch (ending.toLowerCase()) {
    case "nrrd":
      return platform.writeFile(path, writeNrrd(volume));
    case "mha":
      return platform.writeFile(path, writeMetaImage(volume));
    case "mgh":
    case "mgz":
      return platform.writeFile(path, writeMgh(volume, { gzip: /z$/i.test(path) }));
    default:
      throw new FormatError(path, `the ending .${ending}`, wanted);
  }
}
