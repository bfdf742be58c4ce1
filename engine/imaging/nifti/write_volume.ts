/** Writes volumes as files. */
import { platform } from "#platform";
import { gzipStreamed } from "./gzip.ts";
import { writeNifti } from "./write.ts";
import type { NiftiDtype } from "./write.ts";
import type { Volume } from "../volume/volume.ts";

/**
 * Writes a volume as a NIfTI file, as `writeNifti` encodes it. It is gzipped if the path ends with .gz, off the main
 * thread where the host can; the same volume gives the same bytes on the same host.
 *
 * @param options dtype: stored type, default that of `volume.data`
 * @throws NiftiError when a value does not fit an integer dtype; PlatformError if the file cannot be written
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
  const bytes = writeNifti(volume, options);
  await platform.writeFile(path, /\.gz$/i.test(path) ? await gzipStreamed(bytes) : bytes);
}
