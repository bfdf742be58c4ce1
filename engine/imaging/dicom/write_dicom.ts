/** Label maps as DICOM files, by modules that are loaded for the first of them. */
import type { Volume } from "../volume/volume.ts";
import type { DerivedOptions } from "./derived.ts";

/**
 * Encodes a label map of a DICOM series as a DICOM segmentation. It belongs to the study of the series, and each frame
 * refers to the instance that it was made from.
 * Segments have the numbers of the labels' order, names, codes of SNOMED CT and colors. The first and the last slice
 * always have a frame, so that the file alone tells the grid.
 *
 * @param volume of a scan that was read from DICOM
 * @returns the bytes of the file, the same for the same label map, labels and date
 * @throws DicomError for other volumes, and for values that no label has
 * @example
 * ```ts
 * import { readVolume, volumeLike, writeDicomSeg } from "voxgrad/imaging";
 *
 * const scan = await readVolume("scans/patient_01");
 * const bones = volumeLike(scan, Uint8Array.from(scan.data, (value) => Number(value > 300)));
 * const bytes = await writeDicomSeg(bones, { labels: [{ value: 1, name: "bone" }] });
 * ```
 */
export async function writeDicomSeg(volume: Volume, options: DerivedOptions): Promise<Uint8Array<ArrayBuffer>> {
  return (await import("./write_segmentation.ts")).encodeSegmentation(volume, options);
}

/**
 * Encodes a label map of a DICOM series as an RT Structure Set: for each label the outlines of its pixels in each
 * slice, as closed planar contours in mm, which refer to the instance of the slice. Holes are contours of their own:
 * filled by the even-odd rule they give the label map back.
 *
 * @param volume of a scan that was read from DICOM
 * @returns the bytes of the file, the same for the same label map, labels and date
 * @throws DicomError for other volumes, and for values that no label has
 * @example
 * ```ts
 * import { readVolume, volumeLike, writeDicomRtStruct } from "voxgrad/imaging";
 *
 * const scan = await readVolume("scans/patient_01");
 * const bones = volumeLike(scan, Uint8Array.from(scan.data, (value) => Number(value > 300)));
 * const bytes = await writeDicomRtStruct(bones, { labels: [{ value: 1, name: "bone" }] });
 * ```
 */
export async function writeDicomRtStruct(volume: Volume, options: DerivedOptions): Promise<Uint8Array<ArrayBuffer>> {
  return (await import("./write_structures.ts")).encodeStructures(volume, options);
}
