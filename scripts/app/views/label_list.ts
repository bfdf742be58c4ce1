import { make } from "../elements.ts";
import { compute } from "../engine.ts";
import type { LabelName } from "../tasks/models.ts";
import type { Sheet } from "../viewer/sheet.ts";
import type { Viewer } from "../viewer/viewer.ts";

const amount = (value: number): string => value < 10 ? value.toFixed(2) : value.toFixed(value < 100 ? 1 : 0);

/** The classes of a sheet: colors and names to change, and measures of what is labeled. */
export class LabelList {
  readonly element = make("ul", { className: "labels" });
  readonly #viewer: () => Promise<Viewer>;
  #sheet: Sheet | undefined;
  #asked = 0;
  readonly #known = new WeakSet<Sheet>();

  constructor(viewer: () => Promise<Viewer>) {
    this.#viewer = viewer;
  }

  show(sheet: Sheet | undefined): void {
    this.#sheet = sheet;
    this.element.replaceChildren(...(sheet?.names ?? []).map((name) => this.#row(name)));
    if (!sheet) return;
    if (!this.#known.has(sheet)) sheet.onChange(() => this.#sheet === sheet && void this.#measure());
    this.#known.add(sheet);
    void this.#measure();
  }

  #row({ value, name, color }: LabelName): HTMLElement {
    const tint = make("input", { type: "color", value: color, "aria-label": `Color of ${name}` });
    const word = make("input", {
      type: "text",
      value: name,
      spellcheck: false,
      "aria-label": `Name of class ${value}`,
    });
    const change = (): void => {
      const names = this.#sheet!.names.map((each) =>
        each.value === value ? { value, name: word.value.trim() || `Class ${value}`, color: tint.value } : each
      );
      void this.#viewer().then((viewer) => viewer.sheet === this.#sheet && viewer.rename(names));
    };
    tint.addEventListener("input", change);
    word.addEventListener("change", change);
    return make("li", { "data-value": String(value) }, tint, word, make("output", {}));
  }

  /** Measures in the worker, and shows what belongs to the latest labels only. */
  async #measure(): Promise<void> {
    const sheet = this.#sheet!;
    const asked = ++this.#asked;
    await new Promise((resolve) => setTimeout(resolve, 150));
    if (asked !== this.#asked) return;
    const labels = await sheet.edits.copy();
    if (asked !== this.#asked) return;
    const found = await compute("labels", "measures", { scan: sheet.scan.id, labels }, { transfer: [labels.buffer] });
    if (asked !== this.#asked || sheet !== this.#sheet) return;
    for (const row of this.element.children as Iterable<HTMLElement>) {
      const own = found.find(({ value }) => String(value) === row.dataset.value);
      row.querySelector("output")!.value = own ? `${amount(own.milliliters)} ml, ${amount(own.diameter)} mm` : "";
    }
  }
}
