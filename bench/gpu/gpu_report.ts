/** Results of gpu.ts as Markdown, in the form of RESULTS.md. */
import { describeRoofs } from "../../engine/gpu/kernel_table.ts";
import type { EngineId } from "../peers/asked.ts";
import { median, names, type Row } from "../peers/bench.ts";
import { digits, table } from "../peers/report.ts";
import { type CheckFile, checkFiles, type CheckResult } from "./checks.ts";
import { epochSeconds, goalsOf, goalState, medianOf, ratioOf, sharesOf, timesOf } from "./figures.ts";
import type { GpuRun } from "./gpu_run.ts";

/** Each PyTorch precision and its counterpart. */
const pairs = [
  ["torch", "ours"],
  ["tf32", "ours"],
  ["amp", "mixed"],
  ["last", "mixed"],
] as const satisfies [EngineId, EngineId][];
const order: readonly EngineId[] = ["ours", "mixed", "torch", "tf32", "amp", "last"];
const precisions = ["ours", "mixed"] as const;
const precisionOf = (id: EngineId): string => (id === "ours" ? "f32" : id);

const number = (x: number | undefined, scale = 1): string => (x === undefined ? "-" : digits(x * scale));
const percent = (x: number | undefined): string => (x === undefined ? "-" : `${(100 * x).toFixed(0)}%`);
/** A table whose first two columns are words. */
const wordy = (columns: readonly string[], rows: readonly (readonly string[])[]): string =>
  table(columns, rows).replace("| --: |", "| --- |");

/** Collects explanations of what is missing; equal ones share a number. */
class Notes {
  readonly #texts: string[] = [];

  of(text: string): string {
    if (!this.#texts.includes(text)) this.#texts.push(text);
    return `- [${this.#texts.indexOf(text) + 1}]`;
  }

  lines(): string[] {
    return this.#texts.map((text, k) => `- [${k + 1}] ${text}`);
  }
}

/** Adapter, roofs, versions. */
export function head(run: GpuRun): string {
  const { adapter, device } = run.facts;
  const forced = run.kernels ? `, kernels for a ${run.kernels.toUpperCase()} by VOXGRAD_KERNELS` : "";
  const lines = [
    `${run.date}, ${run.small ? "small" : "full"} sizes${forced}; Node ${run.node}, ${run.cpu}; ${
      run.took.toFixed(1)
    } of ${run.minutes} minutes`,
    `Adapter: ${device}; ${Object.entries(adapter).map(([key, value]) => `${key} ${value}`).join(", ")}`,
    "error" in run.roofs ? `Roofs: ${run.roofs.error}` : `Roofs, measured: ${describeRoofs(run.roofs)}`,
  ];
  for (const id of order) {
    const engine = run.engines[id];
    if (engine) lines.push(`${names[id]} ${engine.version} on ${engine.device}`);
  }
  if (run.noTorch) lines.push(`PyTorch is not measured: ${run.noTorch}`);
  return lines.map((line) => `- ${line}`).join("\n");
}

function goals(run: GpuRun): string {
  const rows = goalsOf(run).map((goal) => {
    const state = goalState(goal);
    const aim = `${goal.above ? "at least" : "at most"} ${goal.aim}`;
    return state
      ? [goal.text, aim, `${state.met} of ${state.of}`, `${state.worst.toFixed(2)} (${state.name})`]
      : [goal.text, aim, "-", "not measured here"];
  });
  return table(["goal", "aim", "met", "farthest from it"], rows).replaceAll("--:", "---");
}

/** What a test belongs to: its file, and for golden operators the precision. */
function groupOf({ file, name }: CheckResult, all: readonly CheckResult[]): string {
  const of = (text: string): string | undefined => /\bin (f32|mixed)\b/.exec(text)?.[1];
  // What was not run follows what was.
  const last = all.filter((each) => each.file === file && of(each.name) !== undefined).at(-1);
  const precision = of(name) ?? (last && of(last.name));
  return precision ? `${checkFiles[file]}, ${precision}` : checkFiles[file];
}

function checks(run: GpuRun): string {
  const groups = new Map<string, CheckResult[]>();
  for (const result of run.checks) {
    const group = groupOf(result, run.checks);
    groups.set(group, [...(groups.get(group) ?? []), result]);
  }
  const rows = [...groups].map(([group, results]) => {
    const ended = results.filter(({ unrun }) => !unrun);
    const failed = ended.filter(({ error }) => error !== undefined).length;
    const seconds = ended.reduce((sum, { milliseconds }) => sum + milliseconds, 0) / 1000;
    const rest = ended.length === results.length ? "-" : ended.length === 0 ? "all: time over" : "some: time over";
    return [group, String(ended.length), String(ended.length - failed), String(failed), rest, digits(seconds)];
  });
  const missing = (Object.keys(checkFiles) as CheckFile[]).filter((file) => !run.checks.some((c) => c.file === file));
  const half = run.facts.features.includes("shader-f16");
  const lines = [
    ...run.checks.flatMap(({ name, error }) => (error === undefined ? [] : [`Failed: ${name}: ${error}`])),
    ...(half ? [] : ["The adapter has no shader-f16, so nothing is computed in mixed precision."]),
    ...(missing.length > 0 ? [`Not run: ${missing.map((file) => checkFiles[file]).join("; ")}`] : []),
  ];
  if (rows.length === 0) return "Not run.";
  const { subgroupMinSize: least, subgroupMaxSize: most } = run.facts.adapter;
  return [
    table([
      "checked, subgroups of " + (least === most ? least : `${least} to ${most}`),
      "tests",
      "passed",
      "failed",
      "not run",
      "s",
    ], rows),
    ...(lines.length > 0 ? ["", ...lines.map((line) => `- ${line}`)] : []),
  ].join("\n");
}

/** Limits that compute kernels meet. */
const computes = /^max(Buffer|Compute|StorageBuffer(Binding|sPerShader))/;

function offers({ facts }: GpuRun): string {
  const has = (name: string): string => `${name} ${facts.features.includes(name) ? "yes" : "no"}`;
  const looked = ["shader-f16", "subgroups", "timestamp-query", "chromium-experimental-subgroup-matrix"];
  const configs = facts.subgroupMatrixConfigs.map((config) =>
    Object.entries(config).map(([key, value]) => `${key} ${value}`).join(" ")
  );
  return [
    `Dawn of webgpu ${facts.webgpu}, created with ${facts.toggles.join(" ")}`,
    `Features: ${looked.map(has).join(", ")}; all: ${facts.features.join(" ")}`,
    `Subgroup matrices: ${configs.join("; ") || "none"}`,
    `Limits: ${
      Object.entries(facts.limits).flatMap(([key, value]) => (computes.test(key) ? [`${key} ${value}`] : [])).join(", ")
    }`,
  ].map((line) => `- ${line}`).join("\n");
}

/** Times of all engines, and ratios. */
function times(run: GpuRun, rows: readonly Row[], notes: Notes): string {
  const ids = order.filter((id) => run.engines[id]);
  const against = pairs.filter(([peer, own]) => run.engines[peer] && run.engines[own]);
  const time = (row: Row, id: EngineId): string => {
    const list = timesOf(row.results[id]);
    if (list.length > 0) return `${digits(Math.min(...list))} / ${digits(median(list))}`;
    return notes.of(`${names[id]}: ${row.results[id]?.cannot ?? "not run"}`);
  };
  return table(
    [
      "ms, minimum / median",
      ...ids.map((id) => names[id]),
      ...against.map(([p, own]) => `${names[p]} / ${names[own]}`),
    ],
    rows.map((row) => [
      row.name,
      ...ids.map((id) => time(row, id)),
      ...against.map(([peer, own]) => number(ratioOf(row, peer, own))),
    ]),
  );
}

/** Each row of a list in each precision that has times. */
const measured = (rows: readonly Row[]) =>
  rows.flatMap((row) =>
    precisions.flatMap((id) => {
      const middle = medianOf(row, id);
      return middle === undefined ? [] : [{ row, id, middle, facts: row.facts[id] ?? {} }];
    })
  );

/** What the kernels reach of the roofs. */
function rates(run: GpuRun, rows: readonly Row[]): string {
  const lines = measured(rows).map(({ row, id, middle, facts }) => {
    const shares = sharesOf(facts, middle, run.roofs);
    const off = (each: EngineId): string => row.results[each]?.distance?.toExponential(0) ?? "-";
    return [
      row.name,
      precisionOf(id),
      number(shares?.gigaflopsPerSecond),
      percent(shares?.arithmetic),
      percent(id === "mixed" ? shares?.matrices : undefined),
      number(shares?.gigabytesPerSecond),
      percent(shares?.bandwidth),
      percent(shares?.floors),
      number(facts.kernelMs),
      number(facts.first),
      id === "ours" ? off("torch") : `${off("mixed")} (AMP ${off("amp")})`,
    ];
  });
  const of = "of the roof";
  return wordy(
    [
      "voxgrad",
      "precision",
      "GFLOP/s",
      `${of}, f32`,
      `${of}, matrices`,
      "GB/s",
      of,
      "floors / time",
      "kernels ms",
      "first call ms",
      "difference",
    ],
    lines,
  );
}

/** Steps: floors, memory, JavaScript. */
function steps(run: GpuRun): string {
  const lines = measured(run.networks).map(({ row, id, middle, facts }) => {
    const peer = row.facts[id === "ours" ? "torch" : "amp"]?.peakBytes;
    const { floors, peakBytes } = facts;
    return [
      row.name,
      precisionOf(id),
      number(middle),
      number(facts.script),
      number(facts.kernelMs),
      number(floors?.total),
      floors ? [floors.memory, floors.arithmetic, floors.matrices].map(digits).join(" + ") : "-",
      percent(floors && floors.total / middle),
      String(facts.dispatches ?? "-"),
      String(facts.pipelines ?? "-"),
      number(facts.first),
      number(peakBytes, 1e-6),
      number(peer, 1e-6),
      peer && peakBytes ? (peakBytes / peer).toFixed(2) : "-",
    ];
  });
  return wordy(
    [
      "voxgrad",
      "precision",
      "step ms",
      "JavaScript ms",
      "kernels ms",
      "sum of floors ms",
      "memory + f32 + matrices",
      "floors / time",
      "dispatches",
      "pipelines",
      "first call ms",
      "peak MB",
      "PyTorch peak MB",
      "peak / PyTorch",
    ],
    lines,
  );
}

/** Lines of a profile in the report. */
const SHOWN = 11;

/** The kernels of each network that take most time. */
function slowest(run: GpuRun): string[] {
  return measured(run.networks).flatMap(({ row, id, facts }) => {
    if (!facts.profile) return [];
    const lines = facts.profile.split("\n");
    const shown = lines.length <= SHOWN + 1 ? lines : [...lines.slice(0, SHOWN), "...", lines.at(-1)!];
    return ["", `${row.name}, ${precisionOf(id)}; all kernels in profiles.txt:`, "", "```text", ...shown, "```"];
  });
}

/** The profiles of all rows, whole. */
export const profiles = (run: GpuRun): string =>
  measured([...run.networks, ...run.operators])
    .flatMap(({ row, id, facts }) => (facts.profile ? [`${row.name}, ${precisionOf(id)}\n${facts.profile}\n`] : []))
    .join("\n");

function epochs(run: GpuRun, notes: Notes): string {
  const rows = run.epochs.map((each) => {
    const seconds = epochSeconds(each);
    const part = (result: (typeof each)["train"]): string => {
      const list = timesOf(result);
      return list.length > 0
        ? `${digits(median(list))} (${list.length})`
        : notes.of(`${names[each.id]}: ${result.cannot}`);
    };
    return [
      names[each.id],
      part(each.train),
      part(each.validation),
      number(seconds?.epoch),
      number(seconds?.all),
      seconds ? (seconds.whole ? "measured" : "extrapolated") : "-",
    ];
  });
  if (rows.length === 0) return "Not run.";
  return table(
    ["nnU-Net's benchmark", "training ms (iterations)", "validation ms (iterations)", "epoch s", "5 epochs s", "whole"],
    rows,
  );
}

function tuned(run: GpuRun, notes: Notes): string {
  const rows = run.tunings.flatMap(({ id, works, cannot }) => {
    if (works.length === 0) {
      return [[precisionOf(id), notes.of(`${names[id]}: ${cannot ?? "no kernel has variants here"}`)]];
    }
    return works.map(({ work, dispatches, milliseconds, kernel, cannot: why }) => {
      const all = kernel && Object.entries(kernel.milliseconds).sort((a, b) => a[1] - b[1]);
      return [
        `${work} (${precisionOf(id)} step)`,
        `${dispatches}`,
        digits(milliseconds),
        kernel ? `${kernel.default} ${number(kernel.milliseconds[kernel.default])}` : notes.of(`${names[id]}: ${why}`),
        kernel ? `${kernel.variant} ${number(kernel.milliseconds[kernel.variant])}` : "-",
        all ? all.map(([variant, ms]) => `${variant} ${digits(ms)}`).join(", ") : "-",
      ];
    });
  });
  if (rows.length === 0) return "Not run.";
  const steps = run.tunings.flatMap(({ id, item, before, after, cannot }) =>
    before === undefined ? [] : [
      `- ${item}, ${precisionOf(id)}: ${digits(before)} ms before, ${
        after === undefined ? (cannot ?? "-") : digits(after)
      } after`,
    ]
  );
  return [
    table(
      ["kernel with variants", "dispatches", "ms in a step", "default ms", "fastest ms", "all ms"],
      rows.map((row) => Array.from({ length: 6 }, (_, k) => row[k] ?? "-")),
    ),
    ...(steps.length > 0 ? ["", ...steps] : []),
  ].join("\n");
}

export function gpuReport(run: GpuRun): string {
  const notes = new Notes();
  const section = (title: string, ...texts: string[]): string[] => ["", `### ${title}`, "", ...texts];
  const rowsOr = (rows: readonly Row[], text: () => string): string => (rows.length > 0 ? text() : "Not run.");
  const body = [
    ...section("Operators and kernels", checks(run)),
    ...section("What Dawn offers", offers(run)),
    ...section(
      "Operators",
      rowsOr(run.operators, () => times(run, run.operators, notes)),
      "",
      rowsOr(run.operators, () => rates(run, run.operators)),
    ),
    ...section(
      "Networks",
      rowsOr(run.networks, () => times(run, run.networks, notes)),
      "",
      rowsOr(run.networks, () => steps(run)),
      ...slowest(run),
    ),
    ...section("Epochs of nnU-Net on data that lie on the device", epochs(run, notes)),
    ...section("Tuning the slowest kernels of nnU-Net's step", tuned(run, notes)),
  ];
  const notLines = [...notes.lines(), ...run.problems.map((text) => `- ${text}`)];
  return [
    `## On a GPU: ${run.date.slice(0, 10)}, ${run.facts.device}`,
    "",
    head(run),
    "",
    goals(run),
    ...body,
    ...(notLines.length > 0 ? ["", "### What is missing or wrong", "", ...notLines] : []),
    "",
  ].join("\n");
}
