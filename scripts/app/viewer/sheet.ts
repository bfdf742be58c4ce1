/** A scan with its labels: what a view owns, and the viewer shows. */
import type { LabelName } from "../tasks/models.ts";
import type { ScanView } from "../tasks/scans.ts";
import { Edits } from "./edits.ts";

export class Sheet {
  readonly scan: ScanView;
  readonly edits: Edits;
  names: readonly LabelName[];
  /** Where the visitor looked last. */
  crosshair: readonly number[] | undefined;
  /** Values from 0 to 1 that are shown over the scan, such as the probability of a class. */
  map: Float32Array<ArrayBuffer> | undefined;
  /** Version of the labels that was saved last. */
  saved = 0;
  readonly #listeners: (() => void)[] = [];

  constructor(scan: ScanView, names: readonly LabelName[] = []) {
    const { shape } = scan.shown;
    this.scan = scan;
    this.names = names;
    this.edits = new Edits(new Uint8Array(shape[0] * shape[1] * shape[2]), shape);
  }

  get labels(): Uint8Array<ArrayBuffer> {
    return this.edits.labels;
  }

  get unsaved(): boolean {
    return this.edits.version !== this.saved;
  }

  /** Calls `listener` after each change of labels or names. */
  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  changed(): void {
    for (const listener of this.#listeners) listener();
  }
}
