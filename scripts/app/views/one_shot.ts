/** One example: what is painted on a slice or a few is found in the whole scan, or in another. */
import { attempt, Busy, duration, say, showSheet, type View, viewer } from "../app.ts";
import { button, group, make, select, slider, toggle } from "../elements.ts";
import { compute } from "../engine.ts";
import type { LabelName } from "../tasks/models.ts";
import type { Example } from "../tasks/one_shot.ts";
import { type Axis, differingSlices, paintedAxis, stridesOf } from "../slices.ts";
import { Sheet } from "../viewer/sheet.ts";
import { EncoderPicker } from "./encoder_picker.ts";
import { LabelList } from "./label_list.ts";
import { Saving } from "./saving.ts";
import { ScanPicker } from "./scan_picker.ts";

/** Colors that are told apart by those who see few, too (Okabe and Ito). */
const COLORS = ["#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#999999"];
const classOf = (value: number): LabelName => ({ value, name: `Class ${value}`, color: COLORS[value - 1] });
/** Painted slices that are listed. */
const LISTED = 14;

export function open(): View {
  const busy = new Busy();
  const encoders = new EncoderPicker(busy);
  const labels = new LabelList(viewer);
  const saving = new Saving();
  let sheet: Sheet | undefined;
  let axis: Axis = 2;
  /** Labels as they were found last; what differs from them was painted or corrected. */
  let base = new Uint8Array();
  /** Slices that were painted before the last search. */
  let before = new Set<number>();
  /** Scans that were painted, and are examples for the one that is shown. */
  let examples: (Example & { readonly name: string })[] = [];
  let values: readonly number[] = [];
  let searched = false;

  const scans = new ScanPicker(busy, async (scan) => {
    sheet = new Sheet(scan, [classOf(1)]);
    axis = paintedAxis(scan.shown.spacing);
    base = sheet.labels.slice();
    before = new Set();
    searched = false;
    sheet.onChange(settle);
    const view = await viewer();
    view.show(sheet);
    view.arrange((["sagittal", "coronal", "axial"] as const)[axis]);
    view.drawing.use("brush");
    const last = String(scan.shown.shape[axis]);
    for (const [input, value] of [[first, "1"], [end, last]] as const) Object.assign(input, { max: last, value });
    settle();
  }, { keep: (scan) => examples.some((example) => example.scan === scan) });

  const list = make("p", { className: "note" });
  const find = button("Find it in the whole scan", () => search(), { className: "main wide" });
  const add = button("Add a class", () =>
    attempt(async () => {
      const next = [...sheet!.names, classOf(sheet!.names.length + 1)];
      (await viewer()).rename(next);
      (await viewer()).drawing.value = next.length;
      settle();
    }), { className: "quiet" });
  const threshold = slider("Threshold", { min: "0.05", max: "0.95", step: "0.05", value: "0.5" }, () => relabel());
  const first = make("input", { type: "number", min: "1", value: "1", "aria-label": "First slice" });
  const end = make("input", { type: "number", min: "1", value: "1", "aria-label": "Last slice" });
  for (const input of [first, end]) input.addEventListener("change", () => relabel());
  let near = true;
  let wantsLargest = false;
  const map = select("Probability of", [["", "none"]], (value) => attempt(() => showMap(value)));
  const another = button("Use this as the example for another scan", () => attempt(keepExample));
  const kept = make("ul", { className: "labels" });
  const result = group(
    "3. Result",
    threshold.row,
    make("div", { className: "row range" }, make("span", {}, "Slices"), first, make("span", {}, "to"), end),
    toggle("Near and between painted slices only", true, (on) => {
      near = on;
      relabel();
    }),
    toggle("Largest part of each class", false, (on) => {
      wantsLargest = on;
      relabel();
    }),
    map.row,
    make(
      "p",
      { className: "note" },
      "Correct a slice and find again: it counts as a further example, and stays as it is.",
    ),
    another,
  );
  const save = group("Save", saving.element);

  /** Slices that differ from what was found, and those painted before. */
  function painted(): Set<number> {
    if (!sheet) return before;
    return new Set([...before, ...differingSlices(sheet.labels, base, sheet.edits.shape, axis)]);
  }

  /** What painted slices show, and nothing else. */
  function paintedLabels(slices: ReadonlySet<number>): Uint8Array<ArrayBuffer> {
    const { labels: own, edits: { shape } } = sheet!;
    const stride = stridesOf(shape)[axis];
    return Uint8Array.from(own, (value, i) => (slices.has(Math.floor(i / stride) % shape[axis]) ? value : 0));
  }

  function settle(): void {
    const slices = sheet ? [...painted()].sort((a, b) => a - b) : [];
    const show = slices.slice(0, LISTED).map((slice) => {
      const go = button(`${slice + 1}`, () => viewer().then((view) => view.goTo(axis, slice)), {
        className: "link",
        "aria-label": `Go to slice ${slice + 1}`,
      });
      return go;
    });
    list.replaceChildren(
      slices.length === 0 ? "No slice is painted yet." : "Painted slices: ",
      ...show,
      slices.length > LISTED ? ` and ${slices.length - LISTED} more` : "",
    );
    find.disabled = !sheet || (slices.length === 0 && examples.length === 0);
    find.textContent = searched ? "Find again" : "Find it in the whole scan";
    paint.hidden = !sheet;
    result.hidden = !searched;
    save.hidden = !sheet;
    add.disabled = (sheet?.names.length ?? 8) >= COLORS.length;
    kept.replaceChildren(
      ...examples.map((example) =>
        make(
          "li",
          {},
          make("span", {}),
          make("span", {}, `Example: ${example.name}`),
          button("remove", () => {
            examples = examples.filter((each) => each !== example);
            settle();
          }, { className: "link" }),
        )
      ),
    );
    labels.show(sheet);
    saving.show(sheet);
  }

  async function search(): Promise<void> {
    const own = sheet!;
    const slices = painted();
    if (!encoders.encoder && !(await encoders.own())) return;
    const found = await busy.run("Preparing", async (signal) => {
      const here = paintedLabels(slices);
      const all = here.some((value) => value > 0) ? [{ scan: own.scan.id, labels: here }, ...examples] : examples;
      const input = { encoder: encoders.encoder!.id, scan: own.scan.id, examples: all };
      return compute("one_shot", "find", input, { signal, onEvent: busy.tell });
    });
    if (!found || sheet !== own) return;
    // Slices that were corrected after a search stay in whole: what was taken away there is not there.
    corrected = searched ? [...new Set([...corrected, ...[...slices].filter((slice) => !before.has(slice))])] : [];
    values = found.values;
    before = slices;
    searched = true;
    map.input.replaceChildren(
      make("option", { value: "" }, "none"),
      ...own.names.filter(({ value }) => values.includes(value)).map(({ value, name }) =>
        make("option", { value: String(value) }, name)
      ),
    );
    await label();
    say(`Done in ${duration(found.seconds)}.`);
  }
  let corrected: number[] = [];
  let labeling: Promise<void> | undefined;

  /** Labels again from what was found, at most one run at a time. */
  function relabel(): void {
    if (!searched) return;
    if (painted().size > before.size) return say("Slices were corrected since: press Find again.");
    labeling ??= attempt(label).finally(() => (labeling = undefined)) as Promise<void>;
  }

  async function label(): Promise<void> {
    const own = sheet!;
    const input = {
      scan: own.scan.id,
      threshold: threshold.input.valueAsNumber,
      range: [first.valueAsNumber - 1, end.valueAsNumber - 1] as const,
      near,
      corrected,
    };
    let { labels: next } = await compute("one_shot", "labels", input);
    if (wantsLargest) {
      ({ labels: next } = await compute("labels", "largest", { scan: own.scan.id, labels: next, values }));
    }
    if (sheet !== own) return;
    base = next.slice();
    (await viewer()).replace(next);
    settle();
  }

  async function showMap(value: string): Promise<void> {
    const view = await viewer();
    if (value === "") return view.map(undefined);
    view.map(await compute("one_shot", "likely", { scan: sheet!.scan.id, value: Number(value), near }));
  }

  async function keepExample(): Promise<void> {
    const { scan } = sheet!;
    const slices = painted();
    examples.push({ scan: scan.id, labels: paintedLabels(slices), name: `${scan.name}, ${slices.size} slices` });
    say("Now choose the other scan.");
    settle();
  }

  const paint = group(
    "2. Paint",
    make(
      "p",
      { className: "note" },
      "Go to a slice that shows it well and paint all of it there: what you leave out " +
        "counts as something else. A slice near each end and one in the middle do most.",
    ),
    labels.element,
    make("div", { className: "row" }, add),
    list,
    kept,
    find,
    busy.element,
  );
  const element = make(
    "div",
    {},
    make(
      "p",
      { className: "lead" },
      "Paint what you look for on a slice or a few; it is found in the rest of the scan, " +
        "or in another. It may be anything.",
    ),
    group("1. Scan", scans.element, encoders.element),
    paint,
    result,
    save,
  );
  settle();
  return {
    element,
    shown: () => void showSheet(sheet),
    unsaved: () => sheet?.unsaved ?? false,
    dropped: (files) => scans.open(files),
  };
}
