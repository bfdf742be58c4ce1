/** Segment: a scan, a model, a look, a correction, a file. */
import { attempt, Busy, duration, keeps, say, showSheet, type View, viewer } from "../app.ts";
import { button, filePicker, group, make, select, toggle } from "../elements.ts";
import { compute } from "../engine.ts";
import { Sheet } from "../viewer/sheet.ts";
import { LabelList } from "./label_list.ts";
import { isModel, ModelPicker } from "./model_picker.ts";
import { Saving } from "./saving.ts";
import { ScanPicker } from "./scan_picker.ts";

const OWN = {
  name: "Demo model",
  file: "first/segmenter.safetensors",
  about: "The demo model knows the organs of synthetic scans.",
};
const gigabytes = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(2)} GB`;

export function open(): View {
  const busy = new Busy();
  let sheet: Sheet | undefined;
  let probabilities: readonly Float32Array<ArrayBuffer>[] = [];
  let found: Uint8Array<ArrayBuffer> | undefined;
  let wantsMaps = false;

  const labels = new LabelList(viewer);
  const saving = new Saving();
  const scans = new ScanPicker(busy, async (scan) => {
    sheet = new Sheet(scan, models.model?.labels ?? []);
    probabilities = [];
    found = undefined;
    (await viewer()).show(sheet);
    settle();
  });
  const models = new ModelPicker(busy, OWN, async ({ labels: names }) => {
    if (sheet && !sheet.unsaved) {
      (await viewer()).rename(names);
    }
    settle();
  });
  const needs = make("p", { className: "note" });
  const run = button("Segment", () => segment(), { className: "main wide" });
  const tryOut = button("Try it on a synthetic scan", () => first(), { className: "main wide" });
  const map = select("Probability of", [["", "none"]], (value) => attempt(() => showMap(value)));
  const compare = toggle(
    "Compare with what the model found",
    false,
    (on) => void attempt(async () => (await viewer()).compare(on ? found : undefined, "Found by the model")),
  ) as HTMLLabelElement;
  const largest = button("Keep the largest part of each class", () => attempt(keepLargest));
  const own = filePicker(
    "Labels from a file",
    { accept: ".nii,.gz,.nrrd,.mha,.mgz,.dcm" },
    ([{ file }]) =>
      attempt(async () => {
        const read = await compute("labels", "read", { scan: sheet!.scan.id, file });
        (await viewer()).replace(read.labels, read.names);
        (await viewer()).seek();
        settle();
      }),
  );
  const result = group(
    "Result",
    labels.element,
    make("div", { className: "row" }, largest, own),
    map.row,
    compare,
    saving.element,
  );

  function settle(): void {
    const ready = scans.scan !== undefined && models.model !== undefined;
    run.disabled = !ready;
    tryOut.hidden = scans.scan !== undefined || models.model !== undefined;
    result.hidden = !sheet || sheet.names.length === 0;
    map.row.hidden = probabilities.length === 0;
    compare.hidden = !found;
    needs.textContent = ready ? told() : "";
    labels.show(sheet);
    saving.show(sheet);
  }

  /** What is known of the time before the start. */
  function told(): string {
    const before = Number(localStorage.getItem(`seconds ${models.model!.name}`));
    const voxels = scans.scan!.shape.reduce((a, b) => a * b, 1);
    return before > 0 ? `Takes about ${duration(before * voxels)}, as before.` : "";
  }

  async function segment(): Promise<void> {
    const [model, scan] = [models.model!, scans.scan!];
    const made = await busy.run("Preparing", async (signal) => {
      const memory = await compute("models", "memory", { model: model.id, scan: scan.id }, { signal });
      if (memory) {
        needs.textContent = `Needs ${gigabytes(memory.host)} of memory and ${gigabytes(memory.device)} on the GPU. ` +
          told();
      }
      const input = { model: model.id, scan: scan.id, probabilities: wantsMaps };
      return compute("models", "segment", input, { signal, onEvent: busy.tell });
    });
    if (!made || !sheet || sheet.scan !== scan) return;
    localStorage.setItem(`seconds ${model.name}`, String(made.seconds / scan.shape.reduce((a, b) => a * b, 1)));
    const view = await viewer();
    found = made.labels.slice();
    probabilities = made.probabilities ?? [];
    map.input.replaceChildren(
      make("option", { value: "" }, "none"),
      ...model.labels.map(({ value, name }) => make("option", { value: String(value) }, name)),
    );
    view.map(undefined);
    view.replace(made.labels, model.labels);
    view.seek();
    settle();
    const nothing = !made.labels.some((value) => value > 0);
    say(nothing ? `Nothing was found (${duration(made.seconds)}).` : `Done in ${duration(made.seconds)}.`);
  }

  async function showMap(value: string): Promise<void> {
    (await viewer()).map(value === "" ? undefined : probabilities[Number(value)]);
  }

  async function keepLargest(): Promise<void> {
    const copy = await sheet!.edits.copy();
    const input = { scan: sheet!.scan.id, labels: copy, values: sheet!.names.map(({ value }) => value) };
    (await viewer()).replace((await compute("labels", "largest", input, { transfer: [copy.buffer] })).labels);
  }

  /** What a first visitor sees without choosing anything. */
  async function first(): Promise<void> {
    if (await scans.phantom() && await models.openOwn(OWN)) await segment();
  }

  const element = make(
    "div",
    {},
    make(
      "p",
      { className: "lead" },
      "Segment a scan with a trained model, here in your browser: look at the result, correct it, save it.",
    ),
    tryOut,
    group("1. Scan", scans.element),
    group("2. Model", models.element),
    group(
      "3. Segment",
      toggle("Also probabilities", false, (on) => void (wantsMaps = on)),
      run,
      busy.element,
      needs,
    ),
    result,
  );
  settle();
  return {
    element,
    shown: () => {
      void showSheet(sheet);
      if (keeps("adapt") || keeps("train")) void attempt(() => models.refresh());
    },
    unsaved: () => sheet?.unsaved ?? false,
    dropped: (files) => (isModel(files) ? models.open({ files }) : scans.open(files)),
  };
}
