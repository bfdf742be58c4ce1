import type { Busy } from "../app.ts";
import { button, type Chosen, filePicker, make, select } from "../elements.ts";
import { compute } from "../engine.ts";
import type { ModelPlace, ModelView } from "../tasks/models.ts";

const MODELS = ".safetensors,.onnx,.json,.bin,.zip,.pth,.pt";

/** Whether files look like a model and not like a scan. */
export const isModel = (files: readonly Chosen[]): boolean =>
  files.some(({ path }) => /\.(safetensors|onnx|pth|pt)$|(^|\/)(plans|plan|model)\.json$/i.test(path));

const numbersOf = (text: string): readonly [number, number, number] =>
  text.trim().split(/[\s,;]+/).map(Number) as [number, number, number];

/** Chooses the model of a view: a file, a folder, an address. */
export class ModelPicker {
  readonly element: HTMLElement;
  readonly #busy: Busy;
  readonly #taken: (model: ModelView) => unknown;
  readonly #note = make("p", { className: "chosen" });
  readonly #spacing = make("input", { type: "text", value: "1, 1, 1", "aria-label": "Voxel size in mm: z, y, x" });
  readonly #patch = make("input", {
    type: "text",
    placeholder: "as the model says",
    "aria-label": "Patch in voxels: z, y, x",
  });
  readonly #normal = select("Intensities", [
    ["z-score", "standardized (MR)"],
    ["none", "as they are"],
  ], () => undefined);
  readonly #plan: HTMLElement;
  readonly #kept = make("div", { className: "row", hidden: true });
  #model: ModelView | undefined;
  #place: ModelPlace | undefined;

  /**
   * @param own name and file in the page's folder of what there is to begin with
   * @param taken is given each model; the one before is let go
   */
  constructor(busy: Busy, own: { name: string; file: string; about: string }, taken: (model: ModelView) => unknown) {
    this.#busy = busy;
    this.#taken = taken;
    const address = make("input", {
      type: "url",
      placeholder: "https://example.org/model.safetensors",
      required: true,
    });
    address.setAttribute("aria-label", "Address of a model");
    const form = make("form", { className: "row" }, address, make("button", { type: "submit" }, "Open"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.open({ url: address.value });
    });
    const again = button("Open with this", () => this.#place && this.open(this.#place));
    this.#plan = make(
      "div",
      { className: "sub", hidden: true },
      make("p", { className: "note" }, "This model does not say how scans are prepared for it:"),
      make("label", { className: "choice" }, make("span", {}, "Voxels, mm"), this.#spacing),
      make("label", { className: "choice" }, make("span", {}, "Patch, voxels"), this.#patch),
      this.#normal.row,
      again,
    );
    this.#note.textContent = own.about;
    this.element = make(
      "div",
      { className: "picker" },
      make(
        "div",
        { className: "row" },
        button(own.name, () => this.openOwn(own), { className: "quiet" }),
        filePicker("Choose a model", { multiple: true, accept: MODELS }, (files) => this.open({ files })),
        filePicker("Folder", { webkitdirectory: true }, (files) => this.open({ files })),
      ),
      this.#kept,
      make("details", {}, make("summary", {}, "From an address"), form),
      this.#note,
      this.#plan,
    );
  }

  get model(): ModelView | undefined {
    return this.#model;
  }

  /** Opens what the page brings. */
  openOwn({ name, file }: { name: string; file: string }): Promise<boolean> {
    return this.open({ url: new URL(file, document.baseURI).href }, name);
  }

  /** Lists what was adapted and trained in this browser. */
  async refresh(): Promise<void> {
    const all = await compute("models", "kept", {});
    this.#kept.replaceChildren(...all.map(({ kept, name }) => button(name, () => this.open({ kept }))));
    this.#kept.hidden = all.length === 0;
  }

  async open(place: ModelPlace, name?: string): Promise<boolean> {
    this.#place = place;
    const foreign = "files" in place ? place.files.map(({ path }) => path) : "url" in place ? [place.url] : [];
    // A run of voxgrad has files of JSON too, beside its weights.
    const isGraph = foreign.some((path) => /\.(onnx|json)$/i.test(path)) &&
      !foreign.some((path) => /\.(safetensors|pth)$/.test(path));
    const options = isGraph && !this.#plan.hidden ? { plan: this.#given() } : {};
    const next = await this.#busy.run("Opening the model", async () => {
      try {
        return await compute("models", "open", { place, options });
      } catch (error) {
        this.#plan.hidden = !isGraph;
        throw error;
      }
    });
    if (!next) return false;
    const before = this.#model;
    this.#model = name === undefined ? next : { ...next, name };
    this.#plan.hidden = true;
    const { labels, channels, needsSupport } = this.#model;
    const finds = needsSupport ? "what an example shows" : labels.map((label) => label.name).slice(0, 6).join(", ");
    const more = labels.length > 6 ? ` and ${labels.length - 6} more` : "";
    this.#note.textContent = `${this.#model.name}: finds ${finds}${more}; takes ${channels.join(", ")}`;
    await this.#taken(this.#model);
    if (before) await compute("models", "close", { model: before.id });
    return true;
  }

  #given() {
    const spacing = numbersOf(this.#spacing.value);
    const patch = this.#patch.value.trim() === "" ? {} : { patch: numbersOf(this.#patch.value) };
    return {
      spacing,
      ...patch,
      channels: [{ name: "image", normalization: this.#normal.input.value as "z-score" | "none" }],
    };
  }
}
