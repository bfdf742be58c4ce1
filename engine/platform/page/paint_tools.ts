import type { PanelScan } from "../types.ts";
import { make, slider } from "./dom.ts";
import type { Slider } from "./dom.ts";

/** Maximum number of strokes to undo. */
const UNDO = 50;
/** Maximum number of painted slices to list. */
const LISTED = 12;

interface Host {
  readonly canvas: HTMLCanvasElement;
  /** The element around the canvas. */
  readonly stage: HTMLElement;
  readonly colors: readonly string[];
  go(slice: number): void;
  draw(): void;
}

/** Brush and eraser for the labels of the current slice. */
export class PaintTools {
  readonly element = make("div", { className: "paint" });
  /** The current slice. */
  slice = 0;
  readonly #host: Host;
  readonly #brush = make("div", { className: "brush", hidden: true });
  readonly #class = make("select");
  readonly #eraser = make("input", { type: "checkbox" });
  readonly #size: Slider;
  readonly #list = make("p", { className: "note" });
  readonly #undo: { slice: number; before: Uint8Array }[] = [];
  #scan: PanelScan | undefined;
  #labels = new Uint8Array();
  #painted = new Set<number>();
  /** The last position of the stroke, in voxels. */
  #last: readonly [number, number] | undefined;

  constructor(host: Host) {
    this.#host = host;
    this.#class.append(...host.colors.map((_, k) => make("option", { value: String(k + 1) }, `Class ${k + 1}`)));
    this.#class.ariaLabel = "Class to paint";
    this.#class.addEventListener("change", () => this.#look());
    this.#eraser.addEventListener("change", () => this.#look());
    this.#size = slider("Brush", { min: "1", step: "1" }, () => this.#look());
    const back = make("button", { type: "button" }, "Undo");
    back.addEventListener("click", () => this.#takeBack());
    const clear = make("button", { type: "button" }, "Clear slice");
    clear.addEventListener("click", () => {
      this.#keep();
      this.#ofSlice().fill(0);
      this.#changed();
    });
    this.element.append(
      make("div", { className: "row" }, this.#class, make("label", {}, this.#eraser, " Eraser"), back, clear),
      this.#size.row,
      this.#list,
    );
    host.stage.append(this.#brush);
    const { canvas } = host;
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel"] as const) {
      canvas.addEventListener(end, () => {
        if (this.#last) this.#changed();
        this.#last = undefined;
      });
    }
    canvas.addEventListener("pointerleave", () => (this.#brush.hidden = true));
  }

  /** Starts painting on the labels of a scan, some slices of which may already be painted. */
  take(scan: PanelScan, labels: Uint8Array<ArrayBuffer>, painted: Set<number>): void {
    if (scan !== this.#scan) {
      const edge = Math.min(scan.shape[1], scan.shape[2]);
      this.#size.input.max = String(Math.max(2, Math.round(edge / 4)));
      this.#size.input.value = String(Math.max(1, Math.round(edge / 16)));
    }
    this.#scan = scan;
    this.#labels = labels;
    this.#painted = painted;
    this.#undo.length = 0;
    this.#look();
    this.#listPainted();
  }

  #ofSlice(): Uint8Array {
    const area = this.#scan!.shape[1] * this.#scan!.shape[2];
    return this.#labels.subarray(this.slice * area, (this.slice + 1) * area);
  }

  #keep(): void {
    this.#undo.push({ slice: this.slice, before: this.#ofSlice().slice() });
    if (this.#undo.length > UNDO) this.#undo.shift();
  }

  #takeBack(): void {
    const last = this.#undo.pop();
    if (!last) return;
    this.#host.go(last.slice);
    this.#ofSlice().set(last.before);
    this.#changed();
  }

  #changed(): void {
    if (this.#ofSlice().some((value) => value > 0)) this.#painted.add(this.slice);
    else this.#painted.delete(this.slice);
    this.#host.draw();
    this.#listPainted();
  }

  #down(event: PointerEvent): void {
    if (!this.#scan || event.button !== 0) return;
    this.#host.canvas.setPointerCapture(event.pointerId);
    this.#keep();
    this.#stroke(event);
    this.#host.draw();
  }

  #move(event: PointerEvent): void {
    const box = this.#host.canvas.getBoundingClientRect();
    this.#brush.style.left = `${event.clientX - box.left}px`;
    this.#brush.style.top = `${event.clientY - box.top}px`;
    this.#brush.hidden = false;
    this.#look();
    if (!this.#last) return;
    for (const each of event.getCoalescedEvents?.() ?? []) this.#stroke(each);
    this.#stroke(event);
    this.#host.draw();
  }

  /** Paints from the last position of the stroke to the pointer. */
  #stroke(event: PointerEvent): void {
    const [, rows, columns] = this.#scan!.shape;
    const box = this.#host.canvas.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * columns;
    const y = ((event.clientY - box.top) / box.height) * rows;
    const [fromX, fromY] = this.#last ?? [x, y];
    const steps = Math.max(1, Math.ceil(Math.hypot(x - fromX, y - fromY)));
    for (let k = 1; k <= steps; k++) this.#dab(fromX + ((x - fromX) * k) / steps, fromY + ((y - fromY) * k) / steps);
    this.#last = [x, y];
  }

  /** A disc of the brush's size; always includes the voxel under the pointer. */
  #dab(x: number, y: number): void {
    const { shape: [, rows, columns], pixel } = this.#scan!;
    const radius = (this.#size.input.valueAsNumber / 2) * Math.min(...pixel);
    const [down, across] = [radius / pixel[0], radius / pixel[1]];
    const value = this.#eraser.checked ? 0 : Number(this.#class.value);
    const slice = this.#ofSlice();
    for (let r = Math.max(0, Math.floor(y - down)); r <= Math.min(rows - 1, y + down); r++) {
      for (let c = Math.max(0, Math.floor(x - across)); c <= Math.min(columns - 1, x + across); c++) {
        const inside = Math.hypot((r + 0.5 - y) * pixel[0], (c + 0.5 - x) * pixel[1]) <= radius;
        if (inside || (r === Math.floor(y) && c === Math.floor(x))) slice[r * columns + c] = value;
      }
    }
  }

  /** Shows the circle at the pointer and the current color. */
  #look(): void {
    const color = this.#host.colors[Number(this.#class.value) - 1];
    this.#class.style.borderColor = color;
    this.#size.said.textContent = `${this.#size.input.value} voxel${this.#size.input.value === "1" ? "" : "s"}`;
    if (!this.#scan || this.#brush.hidden) return;
    const { shape, pixel } = this.#scan;
    const mm = this.#size.input.valueAsNumber * Math.min(...pixel);
    const width = (mm / (shape[2] * pixel[1])) * this.#host.canvas.clientWidth;
    Object.assign(this.#brush.style, {
      width: `${width}px`,
      height: `${width}px`,
      borderColor: this.#eraser.checked ? "#fff" : color,
    });
  }

  /** Updates the buttons for painted slices. */
  #listPainted(): void {
    const painted = [...this.#painted].sort((a, b) => a - b);
    const buttons = painted.slice(0, LISTED).map((z) => {
      const button = make(
        "button",
        { type: "button", className: "link", ariaLabel: `Go to slice ${z + 1}` },
        String(z + 1),
      );
      button.addEventListener("click", () => this.#host.go(z));
      return button;
    });
    this.#list.replaceChildren(
      painted.length === 0 ? "No slice is painted yet." : "Painted slices: ",
      ...buttons,
      painted.length > LISTED ? ` and ${painted.length - LISTED} more` : "",
    );
  }
}
