/** A problem of a dataset, as listed by checkDataset. */

/** Errors prevent or spoil training; warnings are worth a look. */
export interface Finding {
  readonly severity: "error" | "warning";
  readonly file: string;
  readonly problem: string;
  readonly fix: string;
}

/** Adds a finding to the list. */
export type Note = (severity: Finding["severity"], file: string, problem: string, fix: string) => void;
