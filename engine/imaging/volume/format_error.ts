import { VoxgradError } from "../../core/errors.ts";

/** A scan's file that cannot be read or written; the message names the file, what it contains and what was expected. */
export class FormatError extends VoxgradError {
  override name = "FormatError";
  readonly file: string;
  readonly got: string;
  readonly wanted: string;

  constructor(file: string, got: string, wanted: string, cause?: unknown) {
    super(`${file}: got ${got}; wanted ${wanted}`);
    this.file = file;
    this.got = got;
    this.wanted = wanted;
    if (cause !== undefined) this.cause = cause;
  }
}
