/** Adapt: a model learns scans of another look from a few that the visitor corrects. */
import { attempt, Busy, duration, keeps, say, setKeeps, type View, viewer } from "../app.ts";
import { button, type Chosen, filePicker, group, make, saveFile, slider } from "../elements.ts";
import { compute } from "../engine.ts";
import type { LearnOptions } from "../tasks/adapt.ts";
import type { AdaptScan, AdaptState } from "../tasks/adapt_state.ts";
import type { StepEvent, TrainingEvent } from "../tasks/training.ts";
import { Sheet } from "../viewer/sheet.ts";
import { scanRow } from "./adapt_scans.ts";
import { openScan } from "./open_scan.ts";
import { Progress } from "./progress.ts";

/** Milliseconds after the last stroke until it is kept. */
const PATIENCE = 1500;
const OWN = new URL("first/segmenter.safetensors", document.baseURI).href;

export function open(): View {
  const busy = new Busy();
  let state: AdaptState = { scans: [] };
  let shown: { readonly id: string; readonly sheet: Sheet } | undefined;
  /** What is looked at while the model learns. */
  let scene: { readonly id: string; readonly sheet: Sheet } | undefined;
  /** The first step since the last start, by which the time of the next is told. */
  let first: { readonly step: number; readonly at: number } | undefined;
  let keeping: ReturnType<typeof setTimeout> | undefined;
  let learning = false;

  const modelNote = make("p", { className: "chosen" });
  const list = make("ul", { className: "scans" });
  const hint = make("p", { className: "note" });
  const right = button("These labels are right", () => attempt(keep), { hidden: true });
  const known = button("Correct it for me", () => attempt(takeKnown), { hidden: true });
  const steps = slider("Steps", { min: "20", max: "400", step: "20", value: "60" }, () => settle());
  const time = make("p", { className: "note" });
  const start = button("Learn from the corrected scans", () => learn("learn"), { className: "main wide" });
  const resume = button("Continue", () => learn("resume"), { className: "main wide" });
  const progress = new Progress((name) => state.model?.labels.find((each) => each.name === name)?.color);
  const result = group(
    "4. Result",
    make("p", { className: "note" }, "The adapted model opens here under Segment, and in Node and Deno."),
    button("Save the adapted model", () => attempt(() => save("adapted")), { className: "main" }),
  );
  const own = filePicker(
    "Labels from a file",
    { accept: ".nii,.gz,.nrrd,.mha,.mgz,.dcm" },
    ([{ file }]) =>
      attempt(async () => {
        const { labels } = await compute("labels", "read", { scan: shown!.sheet.scan.id, file });
        await correct(labels);
      }),
  );
  const saveScans = button("Save the corrected scans", () => attempt(() => save("corrected")), { className: "quiet" });
  const scans = group(
    "2. Scans of the other look",
    list,
    make(
      "div",
      { className: "row" },
      filePicker("Add a scan", { multiple: true }, (files) => addFiles(files)),
      button("Add a synthetic scan", () => addPhantom(), { className: "quiet" }),
    ),
    hint,
    make("div", { className: "row" }, right, own, known, saveScans),
  );
  const training = group("3. Learn", steps.row, time, start, resume, progress.element);

  function settle(): void {
    const { model, scans: all, run } = state;
    const corrected = all.filter((each) => each.corrected && each.role === "learn").length;
    const unfinished = run !== undefined && !run.ended;
    modelNote.textContent = model
      ? `${model.name}: ${model.labels.map(({ name }) => name).join(", ")}`
      : "The demo model knows bright tumors; the synthetic scans here have dark ones.";
    scans.hidden = !model;
    list.replaceChildren(...all.map((scan) => scanRow(scan, scan.id === shown?.id, rowHost)));
    hint.textContent = all.length === 0
      ? "Add two or three scans to correct, and one to look at meanwhile."
      : shown
      ? "Paint what is missing and erase what is wrong; it is kept by itself."
      : "Choose a scan to correct what the model found in it.";
    const current = all.find(({ id }) => id === shown?.id);
    right.hidden = !current || current.role === "watch";
    own.hidden = right.hidden;
    known.hidden = right.hidden || !current?.known;
    saveScans.hidden = !all.some((each) => each.corrected);
    training.hidden = all.length === 0 && !run;
    start.disabled = learning || corrected === 0;
    start.className = unfinished ? "quiet wide" : "main wide";
    start.textContent = corrected === 0
      ? "Correct a scan first"
      : `Learn from ${corrected} corrected scan${corrected === 1 ? "" : "s"}`;
    const pace = Number(localStorage.getItem(`seconds of a step ${model?.name}`));
    time.textContent = pace > 0 ? `Takes about ${duration(pace * steps.input.valueAsNumber)}, as before.` : "";
    resume.hidden = !unfinished || learning;
    if (unfinished) resume.textContent = `Continue after step ${run.step} of ${run.steps}`;
    result.hidden = !run?.ended || learning;
  }

  const take = (next: AdaptState | undefined): void => {
    if (next) state = next;
    settle();
  };

  const rowHost = {
    open: (scan: AdaptScan) => attempt(() => show(scan.id)),
    role: async (id: string, role: AdaptScan["role"]) => take(await compute("adapt", "setRole", { id, role })),
    async remove(id: string) {
      if (shown?.id === id) shown = undefined;
      take(await compute("adapt", "remove", { id }));
    },
  };

  const choose = async (input: { files: Chosen[] } | { url: string }): Promise<boolean> => {
    setKeeps("adapt");
    const made = await busy.run("Opening the model", () => compute("adapt", "choose", input, { onEvent: busy.tell }));
    take(made);
    return made !== undefined;
  };

  async function addFiles(files: Chosen[]): Promise<void> {
    const made = await busy.run("Reading the scan", async (signal) => {
      const scan = await openScan(files);
      const input = { scan: scan.id, name: scan.name };
      try {
        return await compute("adapt", "add", input, { signal, onEvent: busy.tell });
      } finally {
        await compute("scans", "close", { scan: scan.id });
      }
    });
    await added(made);
  }

  async function addPhantom(): Promise<void> {
    const seed = 101 + state.scans.length;
    await added(
      await busy.run(
        "Making a scan",
        (signal) => compute("adapt", "addPhantom", { seed }, { signal, onEvent: busy.tell }),
      ),
    );
  }

  async function added(made: AdaptState | undefined): Promise<void> {
    take(made);
    if (made) await attempt(() => show(made.scans.at(-1)!.id));
  }

  /** Shows a scan with its labels, to be corrected. */
  async function show(id: string): Promise<void> {
    await keepNow();
    const { scan, labels } = await compute("adapt", "open", { id });
    const before = shown;
    if (!learning) scene = undefined;
    const sheet = new Sheet(scan, state.model!.labels);
    sheet.labels.set(labels);
    shown = { id, sheet };
    sheet.onChange(() => {
      clearTimeout(keeping);
      if (sheet.unsaved) keeping = setTimeout(() => void attempt(keepNow), PATIENCE);
    });
    const view = await viewer();
    view.show(sheet);
    view.seek();
    if (before) await compute("scans", "close", { scan: before.sheet.scan.id });
    settle();
  }

  /** Keeps what was painted since the last time. */
  async function keepNow(): Promise<void> {
    clearTimeout(keeping);
    if (shown?.sheet.unsaved && !learning) await keep();
  }

  /** Of a synthetic scan the labels are known. */
  async function takeKnown(): Promise<void> {
    await correct((await compute("adapt", "known", { id: shown!.id })).labels);
  }

  /** Replaces the labels of the scan that is shown. */
  async function correct(labels: Uint8Array): Promise<void> {
    const view = await viewer();
    if (view.sheet !== shown!.sheet) view.show(shown!.sheet);
    view.replace(labels);
    view.seek();
    await keep();
  }

  async function keep(): Promise<void> {
    const { id, sheet } = shown!;
    const version = sheet.edits.version;
    const labels = await sheet.edits.copy();
    const input = { id, scan: sheet.scan.id, labels };
    take(await compute("adapt", "keep", input, { transfer: [labels.buffer] }));
    sheet.saved = version;
  }

  async function learn(task: "learn" | "resume"): Promise<void> {
    await attempt(keepNow);
    learning = true;
    first = undefined;
    scene = undefined;
    progress.clear();
    settle();
    const options: LearnOptions = { steps: steps.input.valueAsNumber, look: 10, rate: 1e-3, augment: "nnunet" };
    const made = await busy.run("Preparing the scans", (signal) => {
      const onEvent = (event: TrainingEvent): void => void attempt(() => hear(event));
      return task === "learn"
        ? compute("adapt", "learn", options, { signal, onEvent })
        : compute("adapt", "resume", {}, { signal, onEvent });
    });
    learning = false;
    take(made ?? await compute("adapt", "state", {}));
    if (made) say("The model has learned. Save it, or look at the scans again.");
  }

  async function hear(event: TrainingEvent): Promise<void> {
    progress.hear(event);
    if (event.kind === "busy") busy.tell(event);
    if (event.kind === "step") tellStep(event);
    if (event.kind !== "look") return;
    // The first that is looked at comes onto the screen, and its labels change while the model learns.
    if (!scene) {
      const { scan, labels } = await compute("adapt", "open", { id: event.id });
      scene = {
        id: event.id,
        sheet: new Sheet({ ...scan, name: `${scan.name}, as the model learns` }, state.model!.labels),
      };
      scene.sheet.labels.set(labels);
      const view = await viewer();
      view.show(scene.sheet);
      view.seek();
      await view.compare(labels, "Before");
    }
    if (scene.id !== event.id) return;
    const view = await viewer();
    if (view.sheet !== scene.sheet) return void scene.sheet.edits.replace(event.labels);
    view.replace(event.labels);
    if (event.step === event.steps) view.seek();
  }

  function tellStep({ step, steps, text }: StepEvent): void {
    busy.tell({ done: step, total: steps, text });
    if (first === undefined || step < first.step) first = { step, at: performance.now() };
    const seconds = (performance.now() - first.at) / 1000;
    if (step > first.step) {
      localStorage.setItem(`seconds of a step ${state.model!.name}`, String(seconds / (step - first.step)));
    }
  }

  async function save(what: "adapted" | "corrected"): Promise<void> {
    const { name, bytes } = await compute("adapt", what, {});
    saveFile(name, new Blob([bytes]));
  }

  const element = make(
    "div",
    {},
    make(
      "p",
      { className: "lead" },
      "A model that fails on your scans learns them from two or three that you correct, here in your browser.",
    ),
    group(
      "1. Model",
      make(
        "div",
        { className: "row" },
        button("Demo model", () => choose({ url: OWN }), { className: "quiet" }),
        filePicker("Choose a model", { multiple: true }, (files) => choose({ files })),
        filePicker("Folder", { webkitdirectory: true }, (files) => choose({ files })),
      ),
      modelNote,
    ),
    busy.element,
    scans,
    training,
    result,
    button("Forget everything here", async () => {
      shown = undefined;
      progress.clear();
      take(await compute("adapt", "clear", {}));
    }, { className: "quiet" }),
  );
  settle();
  // Who was never here has nothing kept.
  if (keeps("adapt")) void attempt(async () => take(await compute("adapt", "state", {})));
  return {
    element,
    shown: () => {
      const sheet = (scene ?? shown)?.sheet;
      if (sheet) void viewer().then((view) => view.show(sheet));
    },
    hidden: () => void attempt(keepNow),
    unsaved: () => learning || (shown?.sheet.unsaved ?? false),
    dropped: (files) => (state.model ? addFiles([...files]) : choose({ files: [...files] })),
  };
}
