/** Elements of the page, made in one call each. */

type Child = Node | string;

/** A file that the visitor chose, with its path in the folder that it was chosen with, or its name. */
export interface Chosen {
  readonly file: File;
  readonly path: string;
}

/** An element with properties (and attributes named as such, "aria-..." and "data-...") and children. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Partial<HTMLElementTagNameMap[K]> & Readonly<Record<`aria-${string}` | `data-${string}`, string>> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (/^(aria|data)-/.test(name)) element.setAttribute(name, String(value));
    else (element as unknown as Record<string, unknown>)[name] = value;
  }
  element.append(...children);
  return element;
}

/** A button that runs `press`; what that throws goes to `fail`. */
export function button(
  label: string,
  press: () => unknown,
  properties: Partial<HTMLButtonElement> & Readonly<Record<`aria-${string}`, string>> = {},
): HTMLButtonElement {
  const element = make("button", { type: "button", ...properties }, label);
  element.addEventListener("click", () => void press());
  return element;
}

/** A group of a panel, with its heading. */
export function group(title: string, ...children: Child[]): HTMLElement {
  return make("section", { className: "group" }, make("h2", {}, title), ...children);
}

/** A range with its label and a text for its value. */
export function slider(
  label: string,
  properties: Partial<HTMLInputElement>,
  change: (value: number) => void,
  text: (value: number) => string = String,
): { readonly row: HTMLElement; readonly input: HTMLInputElement; set(value: number): void } {
  // Of its own, for the label around it holds the value too.
  const input = make("input", { type: "range", "aria-label": label, ...properties });
  const said = make("output", {}, text(input.valueAsNumber));
  const tell = (): void => void (said.textContent = text(input.valueAsNumber));
  input.addEventListener("input", () => {
    tell();
    change(input.valueAsNumber);
  });
  return {
    row: make("label", { className: "slider" }, make("span", {}, label), input, said),
    input,
    set(value) {
      input.valueAsNumber = value;
      tell();
    },
  };
}

/** A choice among words. */
export function select(
  label: string,
  options: readonly (readonly [value: string, text: string])[],
  change: (value: string) => void,
): { readonly row: HTMLElement; readonly input: HTMLSelectElement } {
  const input = make(
    "select",
    { "aria-label": label },
    ...options.map(([value, text]) => make("option", { value }, text)),
  );
  input.addEventListener("change", () => change(input.value));
  return { row: make("label", { className: "choice" }, make("span", {}, label), input), input };
}

/** A check box with its label. */
export function toggle(label: string, checked: boolean, change: (on: boolean) => void): HTMLElement {
  const input = make("input", { type: "checkbox", checked });
  input.addEventListener("change", () => change(input.checked));
  return make("label", { className: "toggle" }, input, label);
}

/** A button that asks for files, or with `webkitdirectory` for a folder. */
export function filePicker(
  label: string,
  properties: Partial<HTMLInputElement>,
  chosen: (files: Chosen[]) => unknown,
): HTMLLabelElement {
  const input = make("input", { type: "file", ...properties });
  input.addEventListener("change", () => {
    const files = [...(input.files ?? [])].map((file) => ({ file, path: file.webkitRelativePath || file.name }));
    // So that the same file can be chosen again after it was corrected.
    input.value = "";
    if (files.length > 0) void chosen(files);
  });
  return make("label", { className: "button" }, label, input);
}

/** Hands bytes to the visitor as a file. */
export function saveFile(name: string, content: Blob): void {
  const href = URL.createObjectURL(content);
  make("a", { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 60_000);
}
