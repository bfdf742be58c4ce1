/** How a training goes: curves, Dice of the scans that are looked at, and its log on request. */
import { make } from "../elements.ts";
import type { TrainingEvent } from "../tasks/training.ts";
import { Curves } from "./curves.ts";

export class Progress {
  readonly element = make("div", { className: "progress", hidden: true });
  readonly #curves: Curves;
  readonly #looks = make("table", { className: "looks", hidden: true });
  readonly #log = make("pre", { className: "log", tabIndex: 0 });

  /** @param color of a class by its name */
  constructor(color: (name: string) => string | undefined) {
    this.#curves = new Curves(color);
    const details = make("details", {}, make("summary", {}, "Log"), this.#log);
    this.element.append(this.#curves.element, this.#looks, details);
  }

  clear(): void {
    this.element.hidden = true;
    this.#curves.clear();
    this.#log.textContent = "";
    this.#looks.replaceChildren();
    this.#looks.hidden = true;
  }

  hear(event: TrainingEvent): void {
    this.element.hidden = false;
    if (event.kind === "step") this.#curves.add(event.step, event.series);
    if (event.kind === "line") this.#log.append(`${event.line}\n`);
    if (event.kind === "look" && event.dice) this.#look(event.step, event.id, event.dice);
  }

  #look(step: number, id: string, dice: Readonly<Record<string, number>>): void {
    const cells = (tag: "td" | "th", words: readonly string[]): HTMLElement =>
      make("tr", {}, ...words.map((word) => make(tag, {}, word)));
    if (this.#looks.hidden) {
      this.#looks.append(make("caption", {}, "Dice on what is not trained on"));
      this.#looks.append(cells("th", ["scan", "step", ...Object.keys(dice)]));
    }
    this.#looks.hidden = false;
    const values = Object.values(dice).map((value) => (Number.isNaN(value) ? "\u2013" : value.toFixed(2)));
    this.#looks.append(cells("td", [id, String(step), ...values]));
  }
}
