import type { Busy } from "../app.ts";
import { button, filePicker, make } from "../elements.ts";
import { compute } from "../engine.ts";
import type { FilePlace } from "../tasks/models.ts";
import type { EncoderView } from "../tasks/one_shot.ts";

const OWN = "first/encoder.safetensors";

/** Chooses the encoder that compares slices; there is one to begin with. */
export class EncoderPicker {
  readonly element: HTMLElement;
  readonly #busy: Busy;
  readonly #note = make("p", { className: "chosen" }, "The small encoder of this page compares slices.");
  #encoder: EncoderView | undefined;

  constructor(busy: Busy) {
    this.#busy = busy;
    this.element = make(
      "details",
      {},
      make("summary", {}, "Encoder"),
      make(
        "div",
        { className: "row" },
        button("Small encoder", () => this.own(), { className: "quiet" }),
        filePicker("Choose an encoder", { accept: ".safetensors" }, (files) => this.#open({ files })),
      ),
      this.#note,
    );
  }

  get encoder(): EncoderView | undefined {
    return this.#encoder;
  }

  /** Opens the one that the page brings. */
  own(): Promise<boolean> {
    return this.#open({ url: new URL(OWN, document.baseURI).href });
  }

  async #open(place: FilePlace): Promise<boolean> {
    const next = await this.#busy.run("Opening the encoder", () => compute("one_shot", "open", { place }));
    if (!next) return false;
    const before = this.#encoder;
    this.#encoder = next;
    const on = next.dataset ? `, trained on ${next.dataset}` : "";
    this.#note.textContent = `${next.name}: compares slices of ${next.channels.join(", ")}${on}`;
    if (before) await compute("one_shot", "close", { encoder: before.id });
    return true;
  }
}
