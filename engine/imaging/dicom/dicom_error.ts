import { FormatError } from "../volume/format_error.ts";

/** A DICOM file or series that cannot be read or written; the message never holds what identifies a patient. */
export class DicomError extends FormatError {
  override name = "DicomError";
  /** Where several series are there and none was chosen: what chooses each, and what it is. */
  series: readonly { readonly id: string; readonly about: string }[] = [];
}
