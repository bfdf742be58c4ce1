/** The options of a training as a form, by their own descriptions. */
import { make } from "../elements.ts";
import type { Option } from "../tasks/train.ts";

/** What most change, in this order; the others follow on request. */
const COMMON = ["steps", "preset", "patch", "features", "flips"];

export class TrainForm {
  readonly element: HTMLElement;
  readonly #fields: readonly { readonly option: Option; readonly input: HTMLInputElement | HTMLSelectElement }[];

  constructor(options: readonly Option[]) {
    const known = COMMON.flatMap((key) => options.filter((option) => option.key === key));
    const rest = options.filter((option) => !known.includes(option));
    this.#fields = [...known, ...rest].map((option) => ({ option, input: inputOf(option) }));
    const rows = this.#fields.map(({ option, input }) => rowOf(option, input));
    this.element = make(
      "form",
      { className: "options" },
      ...rows.slice(0, known.length),
      make("details", {}, make("summary", {}, "All options"), ...rows.slice(known.length)),
    );
    this.element.addEventListener("submit", (event) => event.preventDefault());
  }

  /** What differs from the defaults. */
  get values(): Record<string, Option["value"]> {
    const changed: Record<string, Option["value"]> = {};
    for (const { option, input } of this.#fields) {
      const value = valueOf(option, input);
      if (JSON.stringify(value) !== JSON.stringify(option.value)) changed[option.key] = value;
    }
    return changed;
  }

  set(key: string, value: Option["value"]): void {
    const field = this.#fields.find(({ option }) => option.key === key)!;
    if (typeof value === "boolean") (field.input as HTMLInputElement).checked = value;
    else field.input.value = String(value);
  }
}

/** "weightDecay" as "Weight decay". */
const words = (key: string): string =>
  key[0].toUpperCase() + key.slice(1).replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);

function inputOf({ value, oneOf, integer, min, max }: Option): HTMLInputElement | HTMLSelectElement {
  if (oneOf) {
    const input = make("select", {}, ...oneOf.map((word) => make("option", { value: word }, word)));
    input.value = String(value);
    return input;
  }
  if (typeof value === "boolean") return make("input", { type: "checkbox", checked: value });
  if (typeof value !== "number") {
    return make("input", { type: "text", value: String(value), placeholder: "as planned" });
  }
  return make("input", {
    type: "number",
    value: String(value),
    step: integer ? "1" : "any",
    ...(min !== undefined && { min: String(min) }),
    ...(max !== undefined && { max: String(max) }),
  });
}

function rowOf({ key, about }: Option, input: HTMLElement): HTMLElement {
  const note = make("span", { className: "about", id: `about-${key}` }, about);
  input.setAttribute("aria-describedby", note.id);
  input.id = `option-${key}`;
  return make("div", { className: "option" }, make("label", { htmlFor: input.id }, words(key)), input, note);
}

function valueOf({ value }: Option, input: HTMLInputElement | HTMLSelectElement): Option["value"] {
  if (typeof value === "boolean") return (input as HTMLInputElement).checked;
  if (typeof value === "number") return input.value === "" ? value : Number(input.value);
  if (Array.isArray(value)) return input.value.split(/[\s,x]+/).filter((part) => part !== "").map(Number);
  return input.value;
}
