import { FormatError } from "../volume/format_error.ts";

/** A NIfTI file that cannot be read or written; the message names the file, what it contains and what was expected. */
export class NiftiError extends FormatError {
  override name = "NiftiError";
}
