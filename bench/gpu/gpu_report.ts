/** Results of gpu.ts as Markdown. */
import { median, names, type Result, type Row } from "../peers/bench.ts";
import type { EngineId } from "../peers/asked.ts";
import type { AdapterFacts } from "./gpu_child.ts";
import { digits, table } from "../peers/report.ts";

type Opened = { version: string; device: string };

export interface GpuRun {
  readonly date: string;
  readonly size: string;
  readonly node: string;
  readonly cpu: string;
  readonly rounds: number;
  readonly engines: Partial<Record<EngineId, Opened>> & { ours?: Opened & AdapterFacts };
  readonly rows: readonly Row[];
  readonly problems: readonly string[];
}

/** Each PyTorch precision and its counterpart. */
const pairs = [
  ["torch", "ours"],
  ["tf32", "ours"],
  ["amp", "mixed"],
] as const satisfies [EngineId, EngineId][];
const order: readonly EngineId[] = ["ours", "mixed", "torch", "tf32", "amp"];

const times = (result: Result | undefined): readonly number[] => (result?.cannot ? [] : (result?.times ?? []));

/** Adapter, roofs, versions. */
export function head(run: GpuRun): string {
  const { ours } = run.engines;
  const lines = [`${run.date}, ${run.size} sizes, ${run.rounds} rounds, Node ${run.node}, ${run.cpu}`];
  if (ours) {
    const { adapter, features, subgroupMatrixConfigs, roofs, toggles, webgpu } = ours;
    const has = (name: string): string => `${name} ${features.includes(name) ? "yes" : "no"}`;
    const looked = ["shader-f16", "subgroups", "timestamp-query", "chromium-experimental-subgroup-matrix"];
    lines.push(
      `Adapter: ${ours.device}; ${
        Object.entries(adapter)
          .map(([key, value]) => `${key} ${value}`)
          .join(", ")
      }`,
      `voxgrad ${ours.version}, Dawn of webgpu ${webgpu}, created with ${toggles.join(" ")}`,
      `Features: ${looked.map(has).join(", ")}; all: ${features.join(" ")}`,
      `Subgroup matrices: ${subgroupMatrixConfigs.map((config) => JSON.stringify(config)).join(" ") || "none"}`,
      "error" in roofs
        ? `Roofs: ${roofs.error}`
        : `Roofs, measured: copy ${digits(roofs.gigabytesPerSecond)} GB/s, f32 multiply-adds ${
          digits(roofs.gigaflopsPerSecond)
        } GFLOP/s`,
    );
  }
  for (const id of ["torch", "tf32", "amp"] as const) {
    const engine = run.engines[id];
    if (engine) lines.push(`${names[id]} ${engine.version} on ${engine.device}`);
  }
  return lines.map((line) => `- ${line}`).join("\n");
}

export function gpuReport(run: GpuRun): string {
  const ids = order.filter((id) => run.engines[id]);
  const against = pairs.filter(([peer, own]) => run.engines[peer] && run.engines[own]);
  const footnotes: string[] = [];
  const noted = (text: string): string => {
    if (!footnotes.includes(text)) footnotes.push(text);
    return `[${footnotes.indexOf(text) + 1}]`;
  };
  const time = (row: Row, id: EngineId): string => {
    const list = times(row.results[id]);
    if (list.length > 0) return `${digits(Math.min(...list))} / ${digits(median(list))}`;
    return `- ${noted(`${names[id]}: ${row.results[id]?.cannot ?? "not run"}`)}`;
  };
  const ratio = (row: Row, peer: EngineId, own: EngineId): string => {
    const [theirs, ours] = [times(row.results[peer]), times(row.results[own])];
    return theirs.length > 0 && ours.length > 0 ? digits(median(theirs) / median(ours)) : "-";
  };
  const first = table(
    [
      "ms, minimum / median",
      ...ids.map((id) => names[id]),
      ...against.map(([peer, own]) => `${names[peer]} / ${names[own]}`),
    ],
    run.rows.map((row) => [
      row.name,
      ...ids.map((id) => time(row, id)),
      ...against.map(([peer, own]) => ratio(row, peer, own)),
    ]),
  );

  const facts = run.rows.flatMap((row) =>
    (["ours", "mixed"] as const).flatMap((own) => {
      const list = times(row.results[own]);
      const f = row.facts[own];
      if (list.length === 0 || !f) return [];
      const middle = median(list);
      const number = (x: number | undefined, scale = 1): string => (x === undefined ? "-" : digits(x * scale));
      const part = (x: number | undefined): string => (x === undefined ? "-" : `${((100 * x) / middle).toFixed(0)}%`);
      const peer = own === "ours" ? row.facts.torch : row.facts.amp;
      const off = (id: EngineId): string => row.results[id]?.distance?.toExponential(0) ?? "-";
      return [
        [
          row.name,
          own === "ours" ? "f32" : "mixed",
          number(f.flops, 1 / middle / 1e6),
          number(f.bytes, 1 / middle / 1e6),
          part(f.leastMs),
          number(f.kernelMs),
          number(f.first),
          String(f.dispatches ?? "-"),
          number(f.peakBytes, 1e-6),
          number(peer?.peakBytes, 1e-6),
          own === "ours" ? off("torch") : `${off("mixed")} (AMP ${off("amp")})`,
        ],
      ];
    })
  );
  const second = table(
    [
      "voxgrad",
      "precision",
      "GFLOP/s",
      "GB/s",
      "of roof",
      "kernels ms",
      "first call ms",
      "dispatches",
      "peak MB",
      "PyTorch peak MB",
      "difference",
    ],
    facts,
  ).replace("| --: |", "| --- |");

  return [
    head(run),
    "",
    first,
    "",
    "Ratios of medians, above 1 where voxgrad is faster. Times are of calls queued in a row, inputs on the device.",
    ...footnotes.map((text, k) => `- [${k + 1}] ${text}`),
    "",
    second,
    "",
    "Rates are over the median time, of what the kernels say of themselves: floating-point operations, and bytes " +
    "of all " +
    "that they bind. Of roof: the time at the nearer of the two roofs (f32 multiply-adds, in mixed precision " +
    "too), over " +
    "the median. Kernels: the sum by timestamps, each in a pass of its own. Peak: planned by voxgrad, allocated by " +
    "PyTorch. Difference: of PyTorch from voxgrad in f32, by the largest value; of mixed precision and AMP from " +
    "the same.",
    "",
    "In f16 a network's gradients are some per cent off, single ones more; those of a bias before a norm are " +
    "rounding errors.",
    ...run.problems.map((text) => `- ${text}`),
    "",
  ].join("\n");
}
