/** Drawing on the slices with the pointer and with keys. */
import { button, make, select, slider } from "../elements.ts";
import type { Axis } from "../slices.ts";
import { fill, interpolate, stroke } from "./paint.ts";
import type { Place, Screen } from "./screen.ts";
import type { Sheet } from "./sheet.ts";

export type Tool = "look" | "brush" | "eraser" | "fill";

const TOOLS: readonly (readonly [Tool, label: string, key: string, about: string])[] = [
  ["look", "Look", "l", "Move the crosshair; with the right button change the window"],
  ["brush", "Brush", "b", "Paint the chosen class"],
  ["eraser", "Eraser", "e", "Take labels away"],
  ["fill", "Fill", "f", "Fill the region under the pointer"],
];

interface Host {
  readonly screen: Screen;
  sheet(): Sheet | undefined;
  /** The axis that keys and interpolation work along. */
  axis(): Axis;
  touch(axis: Axis): void;
  scroll(steps: number, axis: Axis): void;
}

export class Drawing {
  /** The tools, for the tool bar. */
  readonly element: HTMLElement;
  /** Takes the pointer while something is drawn. */
  readonly cover = make("div", { className: "cover", hidden: true });
  readonly #host: Host;
  readonly #ring = make("div", { className: "ring", hidden: true });
  readonly #buttons = new Map<Tool, HTMLButtonElement>();
  readonly #size = slider("Size", { min: "1", max: "40", step: "1", value: "6" }, () => this.#look(), (v) => `${v} mm`);
  readonly #class = select("Class", [], () => this.#look());
  readonly #undo = button("Undo", () => this.undo(), { title: "Ctrl+Z", className: "quiet" });
  readonly #redo = button("Redo", () => this.redo(), { title: "Ctrl+Shift+Z", className: "quiet" });
  #tool: Tool = "look";
  #last: Place | undefined;
  #turned = 0;

  constructor(host: Host) {
    this.#host = host;
    const tools = TOOLS.map(([tool, label, key, about]) => {
      const each = button(label, () => this.use(tool), {
        title: `${about} (${key.toUpperCase()})`,
        "aria-pressed": String(tool === "look"),
      });
      this.#buttons.set(tool, each);
      return each;
    });
    const between = button("Fill between slices", () => this.between(), {
      title: "Fill the slices between those that are painted, by their shape (I)",
      className: "quiet",
    });
    const own = make("span", { className: "row own" }, this.#class.row, this.#size.row, between);
    const back = make("span", { className: "row" }, this.#undo, this.#redo);
    this.element = make(
      "div",
      { className: "row tools" },
      make("span", { className: "joined", role: "group", "aria-label": "Tool" }, ...tools),
      own,
      back,
    );
    this.cover.append(this.#ring);
    this.#listen();
    this.refresh();
  }

  get value(): number {
    return Number(this.#class.input.value) || 1;
  }

  set value(value: number) {
    this.#class.input.value = String(value);
    this.#look();
  }

  use(tool: Tool): void {
    this.#tool = tool;
    for (const [name, each] of this.#buttons) each.setAttribute("aria-pressed", String(name === tool));
    this.cover.hidden = tool === "look" || !this.#host.sheet();
    this.element.dataset.tool = tool;
    this.#look();
  }

  /** Shows the classes of the sheet, and what can be taken back. */
  refresh(): void {
    const sheet = this.#host.sheet();
    const [before, names] = [this.#class.input.value, sheet?.names ?? []];
    this.#class.input.replaceChildren(
      ...names.map(({ value, name }) => make("option", { value: String(value) }, name)),
    );
    if (names.some(({ value }) => String(value) === before)) this.#class.input.value = before;
    this.#undo.disabled = !sheet?.edits.canUndo;
    this.#redo.disabled = !sheet?.edits.canRedo;
    for (const [tool, each] of this.#buttons) each.disabled = tool !== "look" && names.length === 0;
    if (names.length === 0) this.use("look");
    else this.use(this.#tool);
  }

  undo(): void {
    this.#show(this.#host.sheet()?.edits.undo());
  }

  redo(): void {
    this.#show(this.#host.sheet()?.edits.redo());
  }

  /** Fills the slices between painted ones. */
  between(): void {
    const sheet = this.#host.sheet();
    if (!sheet) return;
    interpolate(sheet.edits, this.#host.axis(), this.value, this.#host.screen.spacing);
    this.#show(sheet.edits.commit());
  }

  /** A key of the viewer; whether it was one of ours. */
  key(event: KeyboardEvent): boolean {
    const { key, ctrlKey, metaKey, shiftKey } = event;
    if (ctrlKey || metaKey) {
      if (key.toLowerCase() === "z") return shiftKey ? this.redo() : this.undo(), true;
      if (key.toLowerCase() === "y") return this.redo(), true;
      return false;
    }
    const named = TOOLS.find((each) => each[2] === key.toLowerCase());
    if (named && !this.#buttons.get(named[0])!.disabled) return this.use(named[0]), true;
    if (key === "Escape") return this.use("look"), true;
    if (key.toLowerCase() === "i" && this.#tool !== "look") return this.between(), true;
    if (key === "[" || key === "]") {
      this.#size.set(this.#size.input.valueAsNumber + (key === "[" ? -1 : 1));
      return this.#look(), true;
    }
    if (/^[1-9]$/.test(key) && this.#class.input.querySelector(`[value="${key}"]`)) {
      return this.value = Number(key), true;
    }
    if (key === " " && this.#tool !== "look") {
      const place = { axis: this.#host.axis(), voxel: this.#host.screen.crosshair, scale: 1 };
      this.#apply(place, place);
      this.#commit();
      return true;
    }
    return false;
  }

  #listen(): void {
    const { cover } = this;
    cover.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      const place = this.#placeOf(event);
      if (!place) return;
      cover.setPointerCapture(event.pointerId);
      this.#host.touch(place.axis);
      this.#apply(place, place);
      this.#last = place;
    });
    cover.addEventListener("pointermove", (event) => {
      this.#follow(event);
      if (!this.#last || this.#tool === "fill") return;
      for (const each of event.getCoalescedEvents?.() ?? [event]) {
        const place = this.#placeOf(each);
        if (place?.axis !== this.#last.axis) continue;
        this.#apply(this.#last, place);
        this.#last = place;
      }
    });
    for (const end of ["pointerup", "pointercancel"] as const) {
      cover.addEventListener(end, () => {
        if (this.#last) this.#commit();
        this.#last = undefined;
      });
    }
    cover.addEventListener("pointerleave", () => (this.#ring.hidden = true));
    cover.addEventListener("contextmenu", (event) => event.preventDefault());
    cover.addEventListener("wheel", (event) => {
      if (event.ctrlKey) return;
      event.preventDefault();
      this.#turned += event.deltaY;
      if (Math.abs(this.#turned) < 40) return;
      const axis = this.#placeOf(event)?.axis ?? this.#host.axis();
      this.#host.scroll(-Math.sign(this.#turned), axis);
      this.#turned = 0;
    }, { passive: false });
  }

  #placeOf({ clientX, clientY }: MouseEvent): Place | undefined {
    const box = this.cover.getBoundingClientRect();
    return this.#host.screen.placeOf(clientX - box.left, clientY - box.top);
  }

  #apply(from: Place, to: Place): void {
    const edits = this.#host.sheet()?.edits;
    if (!edits) return;
    if (this.#tool === "fill") fill(edits, to.axis, to.voxel, this.value);
    else {
      const { spacing } = this.#host.screen;
      const radius = this.#size.input.valueAsNumber / 2;
      const value = this.#tool === "eraser" ? 0 : this.value;
      stroke(edits, to.axis, from.voxel, to.voxel, { radius, value, spacing });
    }
    const fresh = edits.fresh();
    if (fresh) this.#host.screen.patch(fresh);
  }

  #commit(): void {
    const sheet = this.#host.sheet();
    if (sheet?.edits.commit()) sheet.changed();
  }

  #show(box: Parameters<Screen["patch"]>[0] | undefined): void {
    if (!box) return;
    this.#host.screen.patch(box);
    this.#host.sheet()!.changed();
  }

  /** Draws the ring of the brush at the pointer. */
  #follow(event: PointerEvent): void {
    const place = this.#placeOf(event);
    this.#ring.hidden = !place || this.#tool === "fill" || event.pointerType === "touch";
    if (!place) return;
    const box = this.cover.getBoundingClientRect();
    const size = `${this.#size.input.valueAsNumber * place.scale}px`;
    Object.assign(this.#ring.style, {
      left: `${event.clientX - box.left}px`,
      top: `${event.clientY - box.top}px`,
      width: size,
      height: size,
    });
  }

  #look(): void {
    const color = this.#host.sheet()?.names.find(({ value }) => value === this.value)?.color ?? "#ffffff";
    this.#ring.style.borderColor = this.#tool === "eraser" ? "#ffffff" : color;
    this.#class.row.style.setProperty("--class", color);
  }
}
