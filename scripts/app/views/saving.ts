import { attempt } from "../app.ts";
import { button, make, saveFile, select } from "../elements.ts";
import { compute } from "../engine.ts";
import type { Sheet } from "../viewer/sheet.ts";

const FORMATS = [
  ["nifti", "NIfTI (.nii.gz)"],
  ["nrrd", "3D Slicer (.seg.nrrd)"],
  ["mha", "MetaImage (.mha)"],
  ["mgz", "FreeSurfer (.mgz)"],
  ["seg", "DICOM SEG"],
  ["rtstruct", "DICOM RT structures"],
  ["zip", "All of these, zipped"],
] as const;
type Format = (typeof FORMATS)[number][0];

/** Saves the labels of a sheet. */
export class Saving {
  readonly element: HTMLElement;
  readonly #format = select("Format", FORMATS, () => undefined);
  readonly #save = button("Save labels", () => attempt(() => this.#run()), { className: "main" });
  #sheet: Sheet | undefined;

  constructor() {
    this.element = make("div", { className: "row save" }, this.#format.row, this.#save);
    this.show(undefined);
  }

  show(sheet: Sheet | undefined): void {
    this.#sheet = sheet;
    this.#save.disabled = !sheet;
    for (const option of this.#format.input.options) {
      // Only a series has the patient and study that such a file must name.
      option.disabled = ["seg", "rtstruct"].includes(option.value) && !sheet?.scan.dicom;
    }
    if (this.#format.input.selectedOptions[0]?.disabled) this.#format.input.value = "nifti";
  }

  async #run(): Promise<void> {
    const sheet = this.#sheet!;
    const { version } = sheet.edits;
    const input = { scan: sheet.scan.id, labels: sheet.labels, names: sheet.names };
    const format = this.#format.input.value as Format;
    const { name, bytes } = format === "zip"
      ? await compute("labels", "encodeAll", input)
      : await compute("labels", "encode", { ...input, format });
    saveFile(name, new Blob([bytes]));
    sheet.saved = version;
  }
}
