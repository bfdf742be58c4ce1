import { type Busy, viewer } from "../app.ts";
import { button, type Chosen, filePicker, make, select } from "../elements.ts";
import { compute } from "../engine.ts";
import type { ScanView } from "../tasks/scans.ts";
import { openScan } from "./open_scan.ts";

/** Endings of what voxgrad reads; series of DICOM often have none. */
const TAKES = ".nii,.gz,.dcm,.ima,.zip,.nrrd,.nhdr,.mha,.mhd,.mgh,.mgz,.hdr,.img,.raw";
const size = (numbers: readonly number[]): string => numbers.map((n) => Number(n.toPrecision(3))).join(" x ");

/** Chooses the scan of a view. */
export class ScanPicker {
  readonly element: HTMLElement;
  readonly #busy: Busy;
  readonly #taken: (scan: ScanView) => unknown;
  readonly #keep: (scan: number) => boolean;
  readonly #note = make("p", { className: "chosen" }, "Drop files or a DICOM folder anywhere, or choose them.");
  readonly #channels = select("Channel", [], (index) => this.#turn(Number(index)));
  #scan: ScanView | undefined;

  /**
   * @param taken is given each scan; the one before is let go
   * @param options keep: of which scans are needed longer
   */
  constructor(
    busy: Busy,
    taken: (scan: ScanView) => unknown,
    { keep = () => false }: { keep?: (scan: number) => boolean } = {},
  ) {
    this.#keep = keep;
    this.#busy = busy;
    this.#taken = taken;
    this.#channels.row.hidden = true;
    this.element = make(
      "div",
      { className: "picker" },
      make(
        "div",
        { className: "row" },
        filePicker("Choose files", { multiple: true, accept: TAKES }, (files) => this.open(files)),
        filePicker("DICOM folder", { webkitdirectory: true }, (files) => this.open(files)),
        button("Synthetic scan", () => this.phantom(), { className: "quiet" }),
      ),
      this.#note,
      this.#channels.row,
    );
  }

  get scan(): ScanView | undefined {
    return this.#scan;
  }

  open(files: readonly Chosen[]): Promise<boolean> {
    return this.#take("Reading the scan", () => openScan(files));
  }

  /** A synthetic scan. */
  phantom(seed = 7): Promise<boolean> {
    return this.#take("Making a scan", () => compute("scans", "phantom", { seed }));
  }

  async #take(text: string, read: () => Promise<ScanView>): Promise<boolean> {
    const next = await this.#busy.run(text, read);
    if (!next) return false;
    const before = this.#scan;
    this.#scan = next;
    this.#note.textContent = `${next.name}: ${size(next.shape)} voxels of ${size(next.spacing)} mm`;
    this.#channels.row.hidden = next.channels === 1;
    const numbers = Array.from({ length: next.channels }, (_, k) => String(k));
    this.#channels.input.replaceChildren(...numbers.map((k) => make("option", { value: k }, `${Number(k) + 1}`)));
    await this.#taken(next);
    if (before && !this.#keep(before.id)) await compute("scans", "close", { scan: before.id });
    return true;
  }

  async #turn(index: number): Promise<void> {
    const picture = await compute("scans", "channel", { scan: this.#scan!.id, index });
    (await viewer()).repaint(picture);
  }
}
