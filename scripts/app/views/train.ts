/** Train: a dataset, its faults, options, curves, a held-out case while it learns, results in one file. */
import { attempt, Busy, keeps, say, setKeeps, type View, viewer } from "../app.ts";
import { button, type Chosen, filePicker, group, make, saveFile } from "../elements.ts";
import { compute } from "../engine.ts";
import type { DatasetView, SceneEvent, TrainState } from "../tasks/train.ts";
import type { TrainingEvent } from "../tasks/training.ts";
import { Sheet } from "../viewer/sheet.ts";
import { Progress } from "./progress.ts";
import { TrainForm } from "./train_form.ts";

/** Measures of the table; the report has all. */
const SHOWN = ["class", "Dice", "HD95", "ASSD"];
const rounded = (cell: string): string =>
  /^\d*\.\d{4,}/.test(cell) ? Number(cell).toFixed(3) : cell === "" || cell === "NaN" ? "\u2013" : cell;

export function open(): View {
  const busy = new Busy();
  let state: TrainState = {};
  let dataset: DatasetView | undefined;
  let form: TrainForm | undefined;
  let scene: { readonly id: string; readonly sheet: Sheet } | undefined;
  let training = false;

  const note = make("p", { className: "chosen" }, "Without a folder it trains on synthetic scans that it makes.");
  const findings = make("ul", { className: "findings", hidden: true });
  const options = make("details", {}, make("summary", {}, "Change what is usual"));
  options.addEventListener("toggle", () => void attempt(loadForm), { once: true });
  const start = button("Train", () => train("train"), { className: "main wide" });
  const resume = button("Continue", () => train("resume"), { className: "main wide" });
  const again = make("p", { className: "note", hidden: true });
  const progress = new Progress((name) => scene?.sheet.names.find((each) => each.name === name)?.color);
  const table = make("div", { className: "measures" });
  const result = group(
    "Results",
    table,
    make(
      "div",
      { className: "row" },
      button("Save everything as a zip", () => attempt(saveZip), { className: "main" }),
      button("Save the report", () => attempt(saveReport)),
    ),
    make(
      "p",
      { className: "note" },
      "Distances in mm. model.safetensors in the zip opens here under Segment, and in Node and Deno.",
    ),
  );

  function settle(): void {
    const { run } = state;
    const unfinished = run !== undefined && !run.ended && !training;
    const broken = dataset?.findings.some(({ severity }) => severity === "error") ?? false;
    start.disabled = training || broken;
    start.className = unfinished ? "quiet wide" : "main wide";
    start.textContent = dataset ? `Train on ${dataset.name}` : "Train on synthetic scans";
    const missing = unfinished && run.data !== "" && !dataset;
    resume.hidden = !unfinished || missing;
    if (unfinished) resume.textContent = `Continue after step ${run.step} of ${run.steps}`;
    again.hidden = !missing;
    if (missing) {
      again.textContent = `A training on ${run.data} stopped after step ${run.step} of ${run.steps}. ` +
        "Choose its folder again to continue it: browsers do not let a page keep that.";
    }
    result.hidden = !run?.ended || training;
  }

  async function check(files: readonly Chosen[]): Promise<void> {
    dataset = await busy.run("Looking at every file", (signal) =>
      compute("train", "check", { files }, {
        signal,
        onEvent: (event) => "done" in event && busy.tell(event),
      }));
    if (dataset) {
      const { name, cases, labels } = dataset;
      const errors = dataset.findings.filter(({ severity }) => severity === "error").length;
      note.textContent = errors > 0
        ? `${name}: ${errors} error${errors === 1 ? "" : "s"} to mend before training`
        : `${name}: ${cases} cases; ${labels.join(", ")}`;
    }
    findings.replaceChildren(
      ...(dataset?.findings ?? []).map(({ severity, file, problem, fix }) =>
        make("li", { className: severity }, make("strong", {}, severity), ` ${file}: ${problem}. ${fix}`)
      ),
    );
    findings.hidden = findings.childElementCount === 0;
    settle();
  }

  async function train(task: "train" | "resume"): Promise<void> {
    training = true;
    setKeeps("train");
    scene = undefined;
    progress.clear();
    settle();
    const made = await busy.run("Preparing the scans", (signal) => {
      const onEvent = (event: TrainingEvent | SceneEvent): void => void attempt(() => hear(event));
      return task === "train"
        ? compute("train", "train", { values: form?.values ?? {}, dataset: dataset !== undefined }, { signal, onEvent })
        : compute("train", "resume", {}, { signal, onEvent });
    });
    training = false;
    await refresh();
    if (made) say("Trained. The results are on top.");
  }

  async function hear(event: TrainingEvent | SceneEvent): Promise<void> {
    if (event.kind === "scene") {
      const sheet = new Sheet(event.scan, event.labels);
      scene = { id: event.id, sheet };
      const view = await viewer();
      view.show(sheet);
      view.replace(event.reference);
      view.seek();
      return view.compare(event.reference, "Reference");
    }
    progress.hear(event);
    if (event.kind === "busy") busy.tell(event);
    if (event.kind === "step") busy.tell({ done: event.step, total: event.steps, text: event.text });
    if (event.kind !== "look" || !scene) return;
    const view = await viewer();
    if (view.sheet === scene.sheet) view.replace(event.labels);
    else scene.sheet.edits.replace(event.labels);
  }

  /** The options lie in the worker, which is loaded when it is needed. */
  async function loadForm(): Promise<void> {
    form = new TrainForm(await compute("train", "options", {}));
    options.append(form.element);
  }

  async function refresh(): Promise<void> {
    state = await compute("train", "state", {});
    if (state.run?.ended) {
      const { headings, rows } = await compute("train", "measures", {});
      const cells = (tag: "td" | "th", words: readonly string[]): HTMLElement =>
        make("tr", {}, ...words.map((word) => make(tag, {}, word)));
      const columns = SHOWN.map((name) => headings.indexOf(name)).filter((column) => column >= 0);
      const picked = (row: readonly string[]): string[] => columns.map((column) => rounded(row[column]));
      table.replaceChildren(
        make("table", {}, cells("th", picked(headings)), ...rows.map((row) => cells("td", picked(row)))),
      );
    }
    settle();
  }

  async function saveZip(): Promise<void> {
    const { name, bytes } = await compute("train", "zip", {});
    saveFile(name, new Blob([bytes]));
  }

  async function saveReport(): Promise<void> {
    const { bytes } = await compute("train", "report", {});
    saveFile("report.html", new Blob([bytes], { type: "text/html" }));
  }

  const element = make(
    "div",
    {},
    make("p", { className: "lead" }, "Train a network on labeled scans of your own, on this machine's GPU."),
    result,
    group(
      "1. Dataset",
      make(
        "div",
        { className: "row" },
        filePicker("Choose a folder", { webkitdirectory: true }, (files) => check(files)),
      ),
      note,
      findings,
    ),
    group("2. Options", options),
    group("3. Train", start, resume, again, busy.element, progress.element),
  );
  settle();
  // Who was never here has nothing kept.
  if (keeps("train")) void attempt(refresh);
  return {
    element,
    shown: () => void (scene && viewer().then((view) => view.show(scene!.sheet))),
    unsaved: () => training,
    dropped: (files) => check(files),
  };
}
