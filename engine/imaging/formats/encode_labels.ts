/** Label maps in the formats that other software takes. */
import { VoxgradError } from "../../core/errors.ts";
import { codeOf, rgbOf } from "../dicom/codes.ts";
import type { DerivedOptions } from "../dicom/derived.ts";
import { writeDicomRtStruct, writeDicomSeg } from "../dicom/write_dicom.ts";
import { writeNifti } from "../nifti/write.ts";
import type { Volume } from "../volume/volume.ts";
import { writeMetaImage } from "./metaimage.ts";
import { writeMgh } from "./mgh.ts";
import { writeNrrd } from "./nrrd.ts";

/** Formats of label maps, and the endings of their files. */
export const LABEL_FORMATS = {
  nifti: ".nii.gz",
  seg: ".seg.dcm",
  rtstruct: ".rtstruct.dcm",
  nrrd: ".seg.nrrd",
  mha: ".mha",
  mgz: ".mgz",
} as const;

export type LabelFormat = keyof typeof LABEL_FORMATS;

/**
 * Encodes a label map: NIfTI, a DICOM segmentation or RT Structure Set (of a scan that was read from DICOM), a
 * segmentation of 3D Slicer, MetaImage or MGZ. Those of DICOM and Slicer hold names and colors.
 *
 * @param options as of writeDicomSeg
 * @returns the bytes of a file with the ending of `LABEL_FORMATS`
 * @throws DicomError if the format is one of DICOM and the scan is not
 * @example
 * ```ts
 * import { encodeLabels, phantomCase } from "voxgrad/imaging";
 *
 * const { label } = phantomCase({ seed: 1 });
 * const bytes = await encodeLabels(label, "nrrd", { labels: [{ value: 1, name: "liver" }] });
 * ```
 */
export async function encodeLabels(
  volume: Volume,
  format: LabelFormat,
  options: DerivedOptions,
): Promise<Uint8Array<ArrayBuffer>> {
  switch (format) {
    case "nifti":
      // As trainings write them: the same bytes on every host.
      return writeNifti(volume, { dtype: "uint8", gzip: true });
    case "seg":
      return writeDicomSeg(volume, options);
    case "rtstruct":
      return writeDicomRtStruct(volume, options);
    case "nrrd": {
      const segments = options.labels.map(({ value, name }) => {
        const color = rgbOf(codeOf(name, value, options.codes).color).map((v) => +(v / 255).toFixed(4));
        return { value, name, color };
      });
      return writeNrrd(volume, { segments });
    }
    case "mha":
      return writeMetaImage(volume);
    case "mgz":
      return writeMgh(volume);
  }
  throw new VoxgradError(`encodeLabels: got "${format}", wanted one of ${Object.keys(LABEL_FORMATS).join(", ")}`);
}
