/** The final table as Markdown. */
import type { EngineId } from "./asked.ts";
import { median, names, type Result, type Row, TOLERANCE } from "./bench.ts";

export interface Machine {
  readonly date: string;
  readonly node: string;
  readonly cpu: string;
  /** Load average before the run, from other processes. */
  readonly load: number;
  readonly rounds: number;
  readonly engines: Partial<Record<EngineId, { version: string; device: string }>>;
}

/** Three digits, without an exponent. */
export const digits = (x: number): string => (x >= 100 ? x.toFixed(0) : x >= 10 ? x.toFixed(1) : x.toFixed(2));

const isWrong = (result: Result | undefined): boolean =>
  result?.distance !== undefined && !(result.distance <= TOLERANCE);

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map((_, k) => (k === 0 ? "---" : "--:"))), ...rows.map(line)].join("\n");
}

/** Two tables, times and details of our programs, with notes below. */
export function report(rows: readonly Row[], machine: Machine, problems: readonly string[]): string {
  const ids = (Object.keys(names) as EngineId[]).filter((id) => machine.engines[id]);
  const peers = ids.filter((id) => id !== "ours");
  const footnotes: string[] = [];
  const noted = (text: string): string => {
    if (!footnotes.includes(text)) footnotes.push(text);
    return `[${footnotes.indexOf(text) + 1}]`;
  };

  const time = (id: EngineId, result: Result | undefined): string => {
    if (!result) return "-";
    if (result.times.length === 0) return `- ${noted(`${names[id]}: ${result.cannot ?? "no time"}`)}`;
    const mark = isWrong(result) ? ` ${noted(`${names[id]}: numbers differ from ours, so no ratio`)}` : "";
    return `${digits(Math.min(...result.times))} / ${digits(median(result.times))}${mark}`;
  };
  const ratio = (row: Row, id: EngineId): string => {
    const [us, them] = [row.results.ours?.times ?? [], row.results[id]?.times ?? []];
    if (us.length === 0 || them.length === 0 || isWrong(row.results[id])) return "-";
    const value = median(them) / median(us);
    const goal = row.goal[names[id]];
    const text = value >= 10 ? value.toFixed(0) : value.toFixed(2);
    return goal === undefined ? text : value >= goal ? `**${text}**` : `${text} (< ${goal})`;
  };

  const head = ["ms, minimum / median", ...ids.map((id) => names[id]), ...peers.map((id) => `${names[id]} / ours`)];
  const times = rows.map((row) => [
    row.name,
    ...ids.map((id) => time(id, row.results[id])),
    ...peers.map((id) => ratio(row, id)),
  ]);

  const facts = rows.flatMap((row) => {
    const us = row.facts.ours;
    if (!us || row.name.includes(":")) return [];
    const middle = median(row.results.ours!.times);
    const rate = (amount: number | undefined): string => (amount ? digits(amount / middle / 1e6) : "-");
    const whole = (n: number | undefined): string => (n === undefined ? "-" : String(n));
    const peak = us.peakBytes === undefined ? "-" : (us.peakBytes / 1e6).toFixed(1);
    const ofRoof = us.floors ? `${((100 * us.floors.total) / middle).toFixed(0)}%` : "-";
    const counts = [us.dispatches, us.submits, us.pipelines, us.buffers].map(whole);
    return [[row.name, rate(us.flops), rate(us.bytes), ofRoof, ...counts, peak]];
  });
  const factsHead = [
    "voxgrad",
    "GFLOP/s",
    "GB/s",
    "of roof",
    "dispatches",
    "submits",
    "pipelines",
    "new buffers",
    "peak MB",
  ];

  const peerFacts = rows.flatMap((row) =>
    peers.flatMap((id) => {
      const f = row.facts[id];
      return f?.dispatches === undefined || !row.name.startsWith("U-Net") || row.name.includes(":")
        ? []
        : [`${names[id]}, ${row.name}: ${f.dispatches} dispatches, ${f.submits} submits, ${f.buffers} new buffers`];
    })
  );

  const engines = ids.map((id) => `${names[id]} ${machine.engines[id]!.version} on ${machine.engines[id]!.device}`);
  return [
    `${machine.date}, ${machine.cpu}, Node ${machine.node}, ${machine.rounds} ${
      machine.rounds === 1 ? "round" : "rounds"
    }, load average of other work before the run ${machine.load.toFixed(1)}.`,
    ...engines.map((line) => `- ${line}`),
    "",
    table(head, times),
    "",
    "Ratios of medians, above 1 where voxgrad is faster; bold where at least what is aimed at, which else stands " +
    "beside. " +
    `Numbers of all engines agree within ${TOLERANCE} of each output's largest value${
      problems.length ? ", but for what is named below" : ""
    }.`,
    ...footnotes.map((text, k) => `- [${k + 1}] ${text}`),
    ...[...peerFacts, ...problems].map((text) => `- ${text}`),
    "",
    ...(facts.length > 0 ? [table(factsHead, facts), ""] : []),
  ].join("\n");
}
