/** What the views share: words to the visitor, the viewer, busy work with its progress and Cancel. */
import type { Sheet } from "./viewer/sheet.ts";
import type { Viewer } from "./viewer/viewer.ts";
import { button, type Chosen, make } from "./elements.ts";
import type { Progress } from "./protocol.ts";

/** One of the ways to work. */
export interface View {
  /** The controls, beside the scan. */
  readonly element: HTMLElement;
  /** Whether it takes the whole width and shows no scan. */
  readonly wide?: boolean;
  /** Called each time the visitor comes to it, and leaves it. */
  shown?(): void;
  hidden?(): void;
  /** Whether something would be lost by closing the tab. */
  unsaved?(): boolean;
  /** Takes files that were dropped on the page; a folder's with their paths in it. */
  dropped?(files: readonly Chosen[]): unknown;
}

const said = document.getElementById("said")!;
const problem = document.getElementById("problem")!;

/** Milliseconds until a line goes by itself. */
const LINGERS = 8000;
let going: ReturnType<typeof setTimeout> | undefined;

/** Says a line to the visitor, for a while; an empty one takes it away. */
export function say(text: string): void {
  clearTimeout(going);
  said.textContent = text;
  said.hidden = text === "";
  going = setTimeout(() => (said.hidden = true), LINGERS);
}

/** Shows what went wrong, with its details on request. */
export function showProblem(error: unknown): void {
  const { name = "", message = String(error), stack } = (error ?? {}) as Partial<Error>;
  if (name === "AbortError") return say("Stopped.");
  const details = make("details", {}, make("summary", {}, "Details"), make("pre", {}, stack ?? ""));
  const close = button("Close", () => void (problem.hidden = true), { className: "quiet" });
  problem.replaceChildren(make("span", {}, message), close, ...(stack ? [details] : []));
  problem.hidden = false;
  say("");
}

export function clearProblem(): void {
  problem.hidden = true;
}

/** Runs what a click asks for; what it throws is shown. */
export async function attempt<T>(act: () => T | Promise<T>): Promise<T | undefined> {
  clearProblem();
  try {
    return await act();
  } catch (error) {
    showProblem(error);
    return undefined;
  }
}

/** Seconds in words: "40 s", "3 min". */
export const duration = (seconds: number): string =>
  seconds < 100 ? `${Math.max(1, Math.round(seconds))} s` : `${Math.round(seconds / 60)} min`;

/** A bar for long work with its Cancel, hidden while nothing runs. */
export class Busy {
  readonly element: HTMLElement;
  readonly #bar = make("progress", { max: 1, "aria-label": "Progress" });
  readonly #text = make("span", {});
  #stop: AbortController | undefined;
  #began = 0;

  constructor() {
    const cancel = button("Cancel", () => this.#stop?.abort(), { className: "quiet" });
    this.element = make("div", { className: "busy", hidden: true }, this.#bar, this.#text, cancel);
  }

  get running(): boolean {
    return this.#stop !== undefined;
  }

  /** How far it is. */
  readonly tell = ({ done, total, text }: Progress): void => {
    if (total > 0) this.#bar.value = done / total;
    const seconds = (performance.now() - this.#began) / 1000;
    const left = done > 0 && done < total && seconds > 2 ? `, ${duration((seconds * (total - done)) / done)} left` : "";
    this.#text.textContent = text ?? `${Math.round((100 * done) / Math.max(1, total))} %${left}`;
  };

  /** Runs work that the visitor may cancel; what it throws is shown. */
  async run<T>(text: string, work: (signal: AbortSignal) => Promise<T>): Promise<T | undefined> {
    this.#stop?.abort();
    const stop = this.#stop = new AbortController();
    this.#began = performance.now();
    this.#bar.removeAttribute("value");
    this.#text.textContent = text;
    this.element.hidden = false;
    this.element.parentElement?.setAttribute("aria-busy", "true");
    try {
      return await attempt(() => work(stop.signal));
    } finally {
      if (this.#stop === stop) {
        this.#stop = undefined;
        this.element.hidden = true;
        this.element.parentElement?.removeAttribute("aria-busy");
      }
    }
  }
}

/** The ways that keep something in the browser. */
type Keeping = "adapt" | "train";

/** Whether a way keeps something here; who was never there need not wait for the worker to say so. */
export const keeps = (way: Keeping): boolean => localStorage.getItem(`voxgrad ${way}`) !== null;

export const setKeeps = (way: Keeping): void => localStorage.setItem(`voxgrad ${way}`, "yes");

let coming: Promise<Viewer> | undefined;

/** Shows the scan of a view, or that it has none. */
export async function showSheet(sheet: Sheet | undefined): Promise<void> {
  if (sheet) (await viewer()).show(sheet);
  else (await coming)?.clear();
}

/** The viewer, loaded with the first scan. */
export function viewer(): Promise<Viewer> {
  return (coming ??= import("./viewer/viewer.ts").then(({ openViewer }) =>
    openViewer(document.getElementById("stage")!)
  ));
}
