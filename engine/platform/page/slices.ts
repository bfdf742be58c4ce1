import type { PanelScan } from "../types.ts";
import { make, slider } from "./dom.ts";
import type { Slider } from "./dom.ts";
import { PaintTools } from "./paint_tools.ts";

/** Wheel travel per slice. */
const WHEEL = 40;

/** Scrollable slices of a scan, with a colored label overlay. */
export class Slices {
  readonly element = make("div", { className: "slices" });
  readonly #canvas = make("canvas", { tabIndex: 0 });
  readonly #context = this.#canvas.getContext("2d")!;
  readonly #stage = make("div", { className: "stage" });
  readonly #empty: HTMLElement;
  readonly #controls: HTMLElement;
  readonly #position: Slider;
  readonly #level: Slider;
  readonly #width: Slider;
  readonly #cover: Slider;
  readonly #colors: readonly (readonly [number, number, number])[];
  readonly #tools: PaintTools | undefined;
  #scan: PanelScan | undefined;
  #labels = new Uint8Array();
  #slice = 0;

  constructor(options: { label: string; empty: string; paint: boolean; colors: readonly string[] }) {
    this.#colors = options.colors.map((hex) => {
      const part = (at: number): number => Number.parseInt(hex.slice(at, at + 2), 16);
      return [part(1), part(3), part(5)];
    });
    this.#canvas.setAttribute("role", "img");
    this.#empty = make("p", { className: "empty" }, options.empty);
    const draw = (): void => this.#draw();
    this.#position = slider("Slice", { min: "1", step: "1" }, (value) => this.go(value - 1));
    this.#position.input.setAttribute("aria-label", `Slice of ${options.label}`);
    this.#level = slider("Window level", { step: "any" }, draw);
    this.#width = slider("Window width", { step: "any" }, draw);
    this.#cover = slider("Color", { min: "0", max: "1", step: "any", value: "0.5" }, draw);
    this.#stage.append(this.#canvas);
    this.#controls = make("div", { className: "tools" });
    if (options.paint) {
      this.#tools = new PaintTools({
        canvas: this.#canvas,
        stage: this.#stage,
        colors: options.colors,
        go: (z) => this.go(z),
        draw,
      });
      this.#controls.append(this.#tools.element);
    }
    this.#controls.append(make("div", { className: "gray" }, this.#level.row, this.#width.row, this.#cover.row));
    this.element.append(this.#empty, this.#stage, this.#position.row, this.#controls);
    this.#canvas.addEventListener("keydown", (event) => this.#key(event));
    let turned = 0;
    this.#canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      turned += event.deltaY;
      if (Math.abs(turned) < WHEEL) return;
      this.go(this.#slice - Math.sign(turned));
      turned = 0;
    }, { passive: false });
    this.show(undefined);
  }

  /** Labels of all voxels, if a scan is shown. */
  get labels(): Uint8Array<ArrayBuffer> | undefined {
    return this.#scan && this.#labels;
  }

  /** Shows another scan without labels, or none. */
  show(scan: PanelScan | undefined): void {
    this.#scan = scan;
    this.#empty.hidden = scan !== undefined;
    for (const part of [this.#stage, this.#position.row, this.#controls]) part.hidden = !scan;
    if (!scan) return;
    const [depth, rows, columns] = scan.shape;
    Object.assign(this.#canvas, { width: columns, height: rows });
    const ratio = (columns * scan.pixel[1]) / (rows * scan.pixel[0]);
    this.#canvas.style.aspectRatio = `${ratio}`;
    this.#stage.style.width = `min(100%, ${(55 * ratio).toFixed(2)}vh)`;
    this.#canvas.ariaLabel = `${scan.name}: arrow keys change the slice`;
    this.#position.input.max = String(depth);
    const [black, white] = scan.window;
    const span = white - black;
    const set = ({ input }: Slider, [min, max, value]: readonly number[]): void => {
      Object.assign(input, { min: String(min), max: String(max) });
      input.valueAsNumber = value;
    };
    set(this.#level, [black - span, white + span, (black + white) / 2]);
    set(this.#width, [span / 50, 3 * span, span]);
    this.label(new Uint8Array(depth * rows * columns));
    this.go(Math.floor(depth / 2));
  }

  /** Shows labels, starting at the slice with the most labeled voxels. */
  label(labels: Uint8Array<ArrayBuffer>): void {
    const scan = this.#scan!;
    this.#labels = labels;
    const area = scan.shape[1] * scan.shape[2];
    const counts = new Array<number>(scan.shape[0]).fill(0);
    for (let i = 0; i < labels.length; i++) if (labels[i] > 0) counts[Math.floor(i / area)]++;
    this.#tools?.take(scan, labels, new Set(counts.flatMap((n, z) => (n > 0 ? [z] : []))));
    const most = Math.max(...counts);
    this.go(most > 0 ? counts.indexOf(most) : this.#slice);
  }

  /** Goes to a slice, clamped to the valid range. */
  go(slice: number): void {
    if (!this.#scan) return;
    const depth = this.#scan.shape[0];
    this.#slice = Math.max(0, Math.min(depth - 1, slice));
    this.#position.input.value = String(this.#slice + 1);
    this.#position.said.textContent = `${this.#slice + 1} of ${depth}`;
    if (this.#tools) this.#tools.slice = this.#slice;
    this.#draw();
  }

  #key(event: KeyboardEvent): void {
    const steps = {
      ArrowUp: 1,
      ArrowRight: 1,
      ArrowDown: -1,
      ArrowLeft: -1,
      PageUp: 10,
      PageDown: -10,
      Home: -1e9,
      End: 1e9,
    };
    const step = (steps as Partial<Record<string, number>>)[event.key];
    if (step === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    this.go(this.#slice + step);
  }

  #draw(): void {
    if (!this.#scan) return;
    const { data, shape } = this.#scan;
    const area = shape[1] * shape[2];
    const width = this.#width.input.valueAsNumber;
    const black = this.#level.input.valueAsNumber - width / 2;
    const cover = this.#cover.input.valueAsNumber;
    for (const { input, said } of [this.#level, this.#width]) {
      said.textContent = String(Number(input.valueAsNumber.toPrecision(3)));
    }
    this.#cover.said.textContent = `${Math.round(100 * cover)} %`;
    const image = this.#context.createImageData(shape[2], shape[1]);
    for (let i = 0, to = 0; i < area; i++, to += 4) {
      const gray = (255 * (data[this.#slice * area + i] - black)) / width;
      const label = this.#labels[this.#slice * area + i];
      const color = label > 0 ? this.#colors[(label - 1) % this.#colors.length] : undefined;
      // ImageData clamps to [0, 255]; only the gray value must be clamped before blending.
      const under = Math.max(0, Math.min(255, gray));
      for (let c = 0; c < 3; c++) image.data[to + c] = color ? under + cover * (color[c] - under) : under;
      image.data[to + 3] = 255;
    }
    this.#context.putImageData(image, 0, 0);
  }
}
