import type { ActMessage, Message } from "./served.ts";
import type { PanelAct, PanelContent, PanelFiles, PanelForm, PanelSlices } from "../types.ts";
import { make } from "./dom.ts";
import { Slices } from "./slices.ts";

interface Field {
  readonly form: PanelFiles;
  readonly input: HTMLInputElement;
  readonly note: HTMLElement;
  readonly clear: HTMLButtonElement;
  filled: boolean;
}

interface View {
  readonly form: PanelSlices;
  readonly slices: Slices;
  readonly button: HTMLButtonElement;
  readonly save: HTMLAnchorElement;
}

const area = document.getElementById("panel")!;
const written = new Map<string, Blob>();
let fields = new Map<string, Field>();
let views = new Map<string, View>();
const said = make("p", { className: "said" });
said.setAttribute("role", "status");
const problem = make("p", { className: "problem" });
problem.setAttribute("role", "alert");
let busy = false;
let send: (message: ActMessage) => void;

/** Keeps the script's files for the buttons that save them. */
export function keepFile(path: string, content: Blob): void {
  written.set(path, content);
}

/** Removes the panel. */
export function closePanel(): void {
  for (const { save } of views.values()) URL.revokeObjectURL(save.href);
  [fields, views] = [new Map(), new Map()];
  written.clear();
  area.replaceChildren();
  area.hidden = true;
}

/** Builds the panel that a script requests. */
export function openPanel(form: PanelForm, act: (message: ActMessage) => void): void {
  closePanel();
  send = act;
  said.textContent = problem.textContent = "";
  const steps = make("div", { className: "fields" });
  for (const [name, each] of Object.entries(form.files)) steps.append(makeField(name, each));
  const views = make("div", { className: "views" });
  // Clear the error message on the next interaction.
  views.addEventListener("pointerdown", () => (problem.textContent = ""));
  for (const [name, each] of Object.entries(form.views)) views.append(makeView(name, each, form.colors));
  const words = make("div", { className: "words" }, said, problem);
  area.append(make("h2", {}, form.title), make("p", { className: "note" }, form.about), steps, views, words);
  area.hidden = false;
  settle(false);
}

/** Handles a message of the script to its panel. */
export function tellPanel(message: Message): void {
  switch (message.type) {
    case "say":
      said.textContent = message.text;
      return;
    case "note": {
      const field = fields.get(message.field)!;
      field.filled = message.text !== "";
      field.note.textContent = message.text || "nothing chosen";
      return settle(busy);
    }
    case "view":
      for (const name of message.views) show(views.get(name)!, message.content);
      return settle(busy);
    case "answered":
      problem.textContent = message.problem ?? "";
      if (message.problem !== undefined) said.textContent = "";
      return settle(false);
  }
}

function makeField(name: string, form: PanelFiles): HTMLElement {
  const input = make("input", { type: "file", accept: form.accept, multiple: form.multiple ?? false });
  input.ariaLabel = `Choose: ${form.label}`;
  const note = make("p", { className: "chosen" }, "nothing chosen");
  const clear = make("button", { type: "button", className: "link" }, "remove");
  clear.ariaLabel = `Remove: ${form.label}`;
  const chosen = (list: readonly File[]): void => {
    const files = list.map((file): [string, Blob] => [`${name}/${file.name}`, file]);
    post({ type: "files", name, paths: files.map(([path]) => path) }, files);
  };
  input.addEventListener("change", () => {
    const list = [...(input.files ?? [])];
    // So that the same file can be chosen again after it was corrected.
    input.value = "";
    if (list.length > 0) chosen(list);
  });
  clear.addEventListener("click", () => chosen([]));
  fields.set(name, { form, input, note, clear, filled: false });
  const row = make("div", { className: "row" }, make("label", { className: "button" }, "Choose", input), clear);
  return make("section", {}, make("h3", {}, form.label), make("p", { className: "note" }, form.about), row, note);
}

function makeView(name: string, form: PanelSlices, colors: readonly string[]): HTMLElement {
  const slices = new Slices({ label: form.label, empty: form.empty, paint: form.paint ?? false, colors });
  const button = make(
    "button",
    { type: "button", className: "main", hidden: form.button === undefined },
    form.button ?? "",
  );
  button.addEventListener("click", () => {
    const marks = [...views].flatMap((
      [each, view],
    ) => (view.form.paint && view.slices.labels ? [[each, view.slices.labels]] : []));
    post({ type: "press", name, marks: Object.fromEntries(marks) });
  });
  const save = make("a", { className: "button", hidden: true });
  views.set(name, { form, slices, button, save });
  return make(
    "section",
    {},
    make("h3", {}, form.label),
    make("p", { className: "note" }, form.about),
    slices.element,
    make("div", { className: "row" }, button, save),
  );
}

function show({ slices, save }: View, content: PanelContent | undefined): void {
  if (!content) slices.show(undefined);
  if (content?.scan) slices.show(content.scan);
  if (content?.labels) slices.label(content.labels);
  if (!content || content.scan || content.file) save.hidden = true;
  if (!content?.file) return;
  URL.revokeObjectURL(save.href);
  save.href = URL.createObjectURL(written.get(content.file)!);
  save.download = content.file.split("/").pop()!;
  save.textContent = `Save ${save.download}`;
  save.hidden = false;
}

function post(act: PanelAct, files: ActMessage["files"] = []): void {
  problem.textContent = "";
  settle(true);
  send({ act, files });
}

/** Enables the controls that can be used now: a field is enabled once all required fields before it are filled. */
function settle(now: boolean): void {
  busy = now;
  area.setAttribute("aria-busy", String(busy));
  let open = true;
  for (const { form, input, clear, filled } of fields.values()) {
    input.disabled = busy || !open;
    input.parentElement!.classList.toggle("disabled", input.disabled);
    clear.hidden = !form.optional || !filled;
    clear.disabled = busy;
    open &&= filled || (form.optional ?? false);
  }
  for (const { slices, button } of views.values()) button.disabled = busy || !open || !slices.labels;
}
