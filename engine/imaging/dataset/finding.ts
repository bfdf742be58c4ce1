/** A problem of a dataset, as it is thrown, and as checkDataset lists it. */
import { VoxgradError } from "../../core/errors.ts";

/** A dataset that cannot be used as it is; `file` is the file at fault and the message ends with the fix. */
export class DatasetError extends VoxgradError {
  override name = "DatasetError";
  readonly file: string;
  readonly problem: string;
  readonly fix: string;

  constructor(file: string, problem: string, fix: string, cause?: unknown) {
    super(`${file}: ${problem}. ${fix}`);
    this.file = file;
    this.problem = problem;
    this.fix = fix;
    if (cause !== undefined) this.cause = cause;
  }
}

/** Errors prevent or spoil training; warnings are worth a look. */
export interface Finding {
  readonly severity: "error" | "warning";
  readonly file: string;
  readonly problem: string;
  readonly fix: string;
}

/** Adds a finding to the list. */
export type Note = (severity: Finding["severity"], file: string, problem: string, fix: string) => void;
