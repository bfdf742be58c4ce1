/** Creates an element with properties and children. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Partial<HTMLElementTagNameMap[K]> = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

export interface Slider {
  readonly row: HTMLElement;
  readonly input: HTMLInputElement;
  /** Text after the slider. */
  readonly said: HTMLElement;
}

/** A slider with its label and a text for its current value. */
export function slider(label: string, properties: Partial<HTMLInputElement>, change: (value: number) => void): Slider {
  const input = make("input", { type: "range", ...properties });
  input.addEventListener("input", () => change(input.valueAsNumber));
  const said = make("span", { className: "said" });
  return { row: make("label", { className: "slider" }, make("span", {}, label), input, said), input, said };
}
