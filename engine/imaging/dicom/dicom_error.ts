import { FormatError } from "../volume/format_error.ts";

/** A DICOM file or series that cannot be read or written; the message never holds what identifies a patient. */
export class DicomError extends FormatError {
  override name = "DicomError";
}
