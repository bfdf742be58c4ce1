import { Busy, say, type View, viewer } from "../app.ts";
import { button, filePicker, group, make, saveFile } from "../elements.ts";
import { compute } from "../engine.ts";
import type { ModelView } from "../tasks/models.ts";
import type { ScanView } from "../tasks/scans.ts";

export function open(): View {
  const busy = new Busy();
  let scan: ScanView | undefined;
  let model: ModelView | undefined;
  let labels: Uint8Array<ArrayBuffer> | undefined;

  const scanNote = make("p", { className: "chosen" }, "No scan yet");
  const modelNote = make("p", { className: "chosen" }, "No model yet");
  const run = button("Segment", () => segment(), { className: "main", disabled: true });
  const settle = (): void => void (run.disabled = !scan || !model);

  async function take(read: () => Promise<ScanView>): Promise<void> {
    const next = await busy.run("Reading the scan", read);
    if (!next) return;
    if (scan) void compute("scans", "close", { scan: scan.id });
    scan = next;
    labels = undefined;
    scanNote.textContent = `${next.name}: ${next.shape.join(" x ")} voxels`;
    await (await viewer()).showScan(next.shown);
    settle();
  }

  async function segment(): Promise<void> {
    const found = await busy.run(
      "Segmenting",
      (signal) => compute("models", "segment", { model: model!.id, scan: scan!.id }, { signal, onEvent: busy.tell }),
    );
    if (!found) return;
    labels = found.labels;
    (await viewer()).showLabels(labels, model!.labels);
    say(`Done in ${found.seconds.toFixed(1)} s.`);
  }

  async function save(): Promise<void> {
    if (!scan || !labels || !model) return;
    // The page keeps its labels, so these are copied.
    const input = { scan: scan.id, labels, names: model.labels, format: "nifti" } as const;
    const { name, bytes } = await compute("labels", "encode", input);
    saveFile(name, new Blob([bytes]));
  }

  const element = make(
    "div",
    {},
    group(
      "Scan",
      filePicker("Choose a scan", { multiple: true }, (files) => take(() => compute("scans", "open", { files }))),
      button("Synthetic scan", () => take(() => compute("scans", "phantom", { seed: 1 }))),
      scanNote,
    ),
    group(
      "Model",
      filePicker("Choose a model", { multiple: true }, async (files) => {
        model = await busy.run("Opening the model", () => compute("models", "open", { place: { files } }));
        modelNote.textContent = model ? model.name : "No model yet";
        settle();
      }),
      modelNote,
    ),
    group("Result", run, busy.element, button("Save labels", save)),
  );
  return { element };
}
