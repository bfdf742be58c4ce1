/** The stage: a scan on the screen with its tools. */
import { button, make, select, slider, toggle } from "../elements.ts";
import type { LabelName } from "../tasks/models.ts";
import type { Picture } from "../tasks/scans.ts";
import { Drawing } from "./draw.ts";
import type { Axis } from "../slices.ts";
import { type Layout, Screen } from "./screen.ts";
import type { Sheet } from "./sheet.ts";

const LAYOUTS: readonly (readonly [Layout, string])[] = [
  ["all", "All"],
  ["axial", "Axial"],
  ["coronal", "Coronal"],
  ["sagittal", "Sagittal"],
  ["solid", "3-D"],
];
const AXES: Readonly<Partial<Record<Layout, Axis>>> = { axial: 2, coronal: 1, sagittal: 0 };

/** Windows of Hounsfield units by what they are for: level and width. */
const PRESETS: readonly (readonly [string, level: number, width: number])[] = [
  ["Soft tissue", 40, 400],
  ["Lung", -600, 1500],
  ["Bone", 400, 1800],
  ["Brain", 40, 80],
  ["Liver", 60, 160],
];

/** Voxels that are looked at to find the fullest slice. */
const LOOKED = 4e6;
const text = (value: number): string => String(Number(value.toPrecision(3)));

export class Viewer {
  readonly drawing: Drawing;
  readonly #layouts = new Map<Layout, HTMLButtonElement>();
  #outline = false;
  #axis: Axis = 2;
  #sheet: Sheet | undefined;
  readonly #known = new WeakSet<Sheet>();
  #layout: Layout = "all";
  #toned = false;
  #other: Screen | undefined;
  readonly #screen: Screen;
  readonly #stage: HTMLElement;
  readonly #empty: Element;
  readonly #frame = make("div", { className: "frame" });
  readonly #readout = make("output", { className: "readout" });
  readonly #slice = slider("Slice", { min: "1", step: "1" }, (v) => this.#go(v - 1), () => this.#sliceText());
  readonly #level = slider("Level", { step: "any" }, () => this.#retone(), text);
  readonly #width = slider("Width", { step: "any" }, () => this.#retone(), text);
  readonly #opacity = slider(
    "Opacity",
    { min: "0", max: "1", step: "0.05", value: "0.5" },
    () => this.#relook(),
    (v) => `${Math.round(100 * v)} %`,
  );
  readonly #preset = select("Window", [], (name) => this.#take(name));

  /** @param empty says what to do while no scan is shown */
  constructor(stage: HTMLElement, screen: Screen, empty: Element) {
    this.#stage = stage;
    this.#empty = empty;
    this.#screen = screen;
    this.drawing = new Drawing({
      screen,
      sheet: () => this.#sheet,
      axis: () => this.#axis,
      touch: (axis) => this.#turn(axis),
      scroll: (steps, axis) => {
        this.#turn(axis);
        this.#go(screen.crosshair[axis] + steps);
      },
    });
    screen.listen({ moved: () => this.#moved(), toned: (window) => this.#tell(window) });
    this.#build();
  }

  get sheet(): Sheet | undefined {
    return this.#sheet;
  }

  /** Shows a sheet; what is drawn goes into its labels. */
  show(sheet: Sheet): void {
    if (this.#sheet) this.#sheet.crosshair = this.#screen.crosshair;
    this.#sheet = sheet;
    this.#stage.dataset.shown = sheet.scan.name;
    this.#screen.resize();
    const { shown } = sheet.scan;
    this.compare(undefined);
    this.#screen.show(shown, sheet.labels, sheet.names);
    this.#relook();
    this.#screen.map(sheet.map, shown);
    if (sheet.crosshair) this.#screen.crosshair = sheet.crosshair;
    this.#tones(shown);
    this.#slice.input.max = String(shown.shape[this.#axis]);
    this.drawing.refresh();
    this.#moved();
    if (this.#known.has(sheet)) return;
    this.#known.add(sheet);
    sheet.onChange(() => {
      if (this.#sheet === sheet) this.drawing.refresh();
    });
  }

  /** Takes the scan away. */
  clear(): void {
    this.#sheet = undefined;
    delete this.#stage.dataset.shown;
    this.drawing.refresh();
  }

  /** Shows other labels, as a step that can be taken back. */
  replace(labels: Uint8Array, names?: readonly LabelName[]): void {
    const sheet = this.#sheet!;
    if (names) this.rename(names);
    const box = sheet.edits.replace(labels);
    if (box) this.#screen.patch(box);
    sheet.changed();
  }

  rename(names: readonly LabelName[]): void {
    this.#sheet!.names = names;
    this.#screen.name(names);
    this.drawing.refresh();
  }

  /** Shows another channel of the scan. */
  repaint(picture: Picture): void {
    this.#screen.repaint(picture);
    this.#tones(picture);
  }

  /** Shows values over the scan, or none. */
  map(values: Float32Array<ArrayBuffer> | undefined): void {
    const sheet = this.#sheet!;
    sheet.map = values;
    this.#screen.map(values, sheet.scan.shown);
  }

  /** Goes to a slice across an axis. */
  goTo(axis: Axis, slice: number): void {
    this.#turn(axis);
    this.#go(slice);
  }

  /** Goes to the slice that shows most labels. */
  seek(): void {
    const { labels, edits: { shape } } = this.#sheet!;
    const counts = shape.map((n) => new Float64Array(n));
    // A part of the voxels tells; of large scans all would hold up the page.
    const step = Math.max(1, 2 * Math.floor(labels.length / LOOKED / 2) + 1);
    for (let i = 0; i < labels.length; i += step) {
      if (labels[i] === 0) continue;
      counts[0][i % shape[0]]++;
      counts[1][Math.floor(i / shape[0]) % shape[1]]++;
      counts[2][Math.floor(i / (shape[0] * shape[1]))]++;
    }
    const most = counts.map((each) => each.indexOf(Math.max(...each)));
    if (counts[0][most[0]] > 0) this.#screen.crosshair = most;
  }

  /** Shows the scan a second time beside it, with other labels; undefined ends that. */
  async compare(labels: Uint8Array<ArrayBuffer> | undefined, title = "", names = this.#sheet?.names ?? []) {
    if (this.#other) {
      this.#screen.unlink();
      this.#other.close();
      this.#other.canvas.parentElement!.remove();
      this.#other = undefined;
      this.#screen.resize();
    }
    if (!labels || !this.#sheet) return;
    const canvas = make("canvas", { "aria-label": title });
    this.#frame.append(make("div", { className: "canvas" }, canvas, make("span", { className: "caption" }, title)));
    const other = this.#other = await Screen.open(canvas);
    this.#screen.resize();
    other.show(this.#sheet.scan.shown, labels, names);
    other.look(this.#opacity.input.valueAsNumber, this.#outline);
    other.layout = this.#layout;
    other.crosshair = this.#screen.crosshair;
    this.#screen.link(other);
  }

  #build(): void {
    const layouts = LAYOUTS.map(([layout, label]) => {
      const each = button(label, () => this.arrange(layout), { "aria-pressed": String(layout === "all") });
      this.#layouts.set(layout, each);
      return each;
    });
    const zoom = make(
      "span",
      { className: "joined", role: "group", "aria-label": "Zoom" },
      button("\u2212", () => this.#screen.zoom(1 / 1.3), { title: "Smaller (-)", "aria-label": "Smaller" }),
      button("Fit", () => this.#screen.zoom(0), { title: "Fit the scan (0)" }),
      button("+", () => this.#screen.zoom(1.3), { title: "Larger (+)", "aria-label": "Larger" }),
    );
    const display = make(
      "details",
      { className: "menu" },
      make("summary", {}, "Display"),
      make(
        "div",
        { className: "card" },
        this.#preset.row,
        this.#level.row,
        this.#width.row,
        this.#opacity.row,
        toggle("Outlines", false, (on) => {
          this.#outline = on;
          this.#relook();
        }),
        toggle("Smooth pixels", true, (on) => void (this.#screen.smooth = on)),
        toggle("Patient's right on the left", true, (on) => void (this.#screen.radiological = on)),
      ),
    );
    const view = make(
      "div",
      { className: "row" },
      make("span", { className: "joined", role: "group", "aria-label": "Layout" }, ...layouts),
      zoom,
      display,
    );
    // NiiVue watches the size of the element around its canvas, which therefore stays.
    const holder = this.#screen.canvas.parentElement!;
    holder.append(this.drawing.cover);
    this.#frame.append(holder);
    const bar = make("div", { className: "row bar" }, this.#slice.row, this.#readout);
    this.#stage.replaceChildren(
      this.#empty,
      make("div", { className: "row top" }, view, this.drawing.element),
      this.#frame,
      bar,
    );
    new ResizeObserver(() => {
      this.#screen.resize();
      this.#moved();
    }).observe(this.#frame);
    this.#frame.addEventListener("keydown", (event) => this.#key(event), { capture: true });
    this.#frame.addEventListener("wheel", (event) => {
      if (!event.ctrlKey) return;
      event.preventDefault();
      event.stopPropagation();
      this.#screen.zoom(event.deltaY < 0 ? 1.15 : 1 / 1.15);
    }, { capture: true, passive: false });
  }

  #key(event: KeyboardEvent): void {
    if (event.key === "Tab" || event.altKey || !this.#sheet) return;
    // NiiVue has keys of its own, which the visitor is not told of.
    event.stopPropagation();
    const steps: Partial<Record<string, number>> = {
      ...{ ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1 },
      ...{ PageUp: 10, PageDown: -10, Home: -1e9, End: 1e9 },
    };
    const step = steps[event.key];
    if (event.shiftKey && event.key.startsWith("Arrow")) this.#push(event.key);
    else if (step !== undefined && !event.ctrlKey) this.#go(this.#screen.crosshair[this.#axis] + step);
    else if (event.key === "+" || event.key === "-") this.#screen.zoom(event.key === "+" ? 1.3 : 1 / 1.3);
    else if (event.key === "0") this.#screen.zoom(0);
    else if (!this.drawing.key(event)) return;
    event.preventDefault();
  }

  /** Moves the crosshair within the slice. */
  #push(key: string): void {
    const [across, up] = ([[1, 2], [0, 2], [0, 1]] as const)[this.#axis];
    const axis = key === "ArrowLeft" || key === "ArrowRight" ? across : up;
    // On the screen, where the patient's right is on the left.
    const sign = key === "ArrowUp" || key === "ArrowLeft" ? 1 : -1;
    const next = [...this.#screen.crosshair];
    next[axis] += sign;
    this.#screen.crosshair = next;
  }

  /** Shows one plane, the solid, or all. */
  arrange(layout: Layout): void {
    this.#layout = layout;
    for (const [name, each] of this.#layouts) each.setAttribute("aria-pressed", String(name === layout));
    this.#screen.layout = layout;
    if (this.#other) this.#other.layout = layout;
    this.#turn(AXES[layout] ?? this.#axis);
  }

  #turn(axis: Axis): void {
    this.#axis = axis;
    if (this.#sheet) this.#slice.input.max = String(this.#sheet.edits.shape[axis]);
    this.#moved();
  }

  #go(slice: number): void {
    if (!this.#sheet) return;
    const next = [...this.#screen.crosshair];
    next[this.#axis] = Math.max(0, Math.min(this.#sheet.edits.shape[this.#axis] - 1, slice));
    this.#screen.crosshair = next;
  }

  #sliceText(): string {
    if (!this.#sheet) return "";
    return `${this.#screen.crosshair[this.#axis] + 1} of ${this.#sheet.edits.shape[this.#axis]}`;
  }

  #moved(): void {
    const sheet = this.#sheet;
    if (!sheet) return;
    const voxel = this.#screen.crosshair;
    this.#slice.set(voxel[this.#axis] + 1);
    const { shown: { data, shape } } = sheet.scan;
    const index = voxel[0] + shape[0] * (voxel[1] + shape[1] * voxel[2]);
    const label = sheet.names.find(({ value }) => value === sheet.labels[index])?.name;
    const mm = this.#screen.mm(voxel).map((v) => v.toFixed(1)).join(", ");
    this.#readout.value = `${mm} mm   value ${text(data[index])}${label ? `   ${label}` : ""}`;
    this.#screen.canvas.setAttribute(
      "aria-label",
      `${sheet.scan.name}, ${this.#sliceText()}: arrow keys change slices`,
    );
    this.#frame.dataset.tiles = JSON.stringify(this.#screen.tiles);
  }

  #tones({ tone: { min, max, window, hounsfield } }: Picture): void {
    const presets = hounsfield ? PRESETS.map(([name]) => [name, name] as const) : [];
    const options = [["auto", "Automatic"] as const, ...presets, ["all", "All values"] as const];
    const { input } = this.#preset;
    input.replaceChildren(...options.map(([value, label]) => make("option", { value }, label)));
    const span = max - min || 1;
    Object.assign(this.#level.input, { min: String(min), max: String(max) });
    Object.assign(this.#width.input, { min: String(span / 1000), max: String(span) });
    this.#tell(window);
  }

  #take(name: string): void {
    const { tone } = this.#sheet!.scan.shown;
    const preset = PRESETS.find(([each]) => each === name);
    const window = preset
      ? [preset[1] - preset[2] / 2, preset[1] + preset[2] / 2] as const
      : name === "all"
      ? [tone.min, tone.max] as const
      : tone.window;
    this.#tell(window);
    this.#retone();
  }

  #tell([low, high]: readonly [number, number]): void {
    this.#level.set((low + high) / 2);
    this.#width.set(high - low);
  }

  /** Applies level and width, at most once for each frame. */
  #retone(): void {
    if (this.#toned) return;
    this.#toned = true;
    requestAnimationFrame(() => {
      this.#toned = false;
      const [level, width] = [this.#level.input.valueAsNumber, this.#width.input.valueAsNumber];
      this.#screen.window = [level - width / 2, level + width / 2];
    });
  }

  #relook(): void {
    this.#screen.look(this.#opacity.input.valueAsNumber, this.#outline);
    this.#other?.look(this.#opacity.input.valueAsNumber, this.#outline);
  }
}

export async function openViewer(stage: HTMLElement): Promise<Viewer> {
  const canvas = make("canvas", { tabIndex: 0, "aria-label": "Scan" });
  const empty = stage.firstElementChild!;
  // NiiVue measures the element around it.
  stage.append(make("div", { className: "frame" }, make("div", { className: "canvas" }, canvas)));
  return new Viewer(stage, await Screen.open(canvas), empty);
}
