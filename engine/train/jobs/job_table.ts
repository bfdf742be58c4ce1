/** Jobs as a table on the terminal, and as a page. */
import { platform } from "#platform";
import { page, section, table } from "../report/report_page.ts";
import { duration, formatTable } from "../run/logging.ts";
import { valueDigest } from "../run/provenance.ts";
import type { JobState } from "./job.ts";

const STATES = ["running", "waiting", "failed", "cancelled", "done"] as const;

/** Seconds that are left at the pace so far. */
function left({ progress, started, updated }: JobState): string {
  if (!progress?.done || started === undefined || updated === undefined) return "";
  const seconds = (updated - started) / 1000;
  return `${(progress.done / seconds).toPrecision(2)} a second, ${
    duration(seconds * (progress.total / progress.done - 1))
  } left`;
}

async function rowOf(state: JobState): Promise<string[]> {
  const { job, attempts, worker = "", progress, error = "", results } = state;
  const about = state.state === "running"
    ? [progress ? `${progress.done}/${progress.total}` : "", left(state)].filter(Boolean).join(", ")
    : state.state === "done"
    ? `results ${(await valueDigest(results)).slice(0, 12)}`
    : error.split("\n").at(-1) ?? "";
  return [job.id, job.name, state.state, String(attempts), state.state === "waiting" ? "" : worker, about];
}

const HEADINGS = ["job", "name", "state", "begun", "worker", ""];

const sorted = (states: readonly JobState[]): JobState[] =>
  STATES.flatMap((name) => states.filter(({ state }) => state === name));

/** "3 running, 20 waiting, 1 failed, 16 done". */
export const jobCounts = (states: readonly JobState[]): string =>
  STATES.map((name) => [states.filter(({ state }) => state === name).length, name] as const)
    .filter(([count]) => count > 0)
    .map(([count, name]) => `${count} ${name}`)
    .join(", ") || "no jobs";

/**
 * Jobs as a table for the terminal: running ones first, with rate and time left.
 *
 * @example
 * ```ts
 * import { jobTable } from "voxgrad/train";
 *
 * await jobTable([]); // "no jobs"
 * ```
 */
export async function jobTable(states: readonly JobState[]): Promise<string> {
  const rows = await Promise.all(sorted(states).map(rowOf));
  return rows.length === 0 ? jobCounts(states) : `${formatTable(HEADINGS, rows)}\n${jobCounts(states)}`;
}

/** Writes the page. */
export async function writeJobPage(states: readonly JobState[], file: string): Promise<void> {
  const rows = await Promise.all(sorted(states).map(rowOf));
  const errors = states.filter(({ error }) => error !== undefined).map(({ job, error }) => [job.id, job.name, error!]);
  const shown = rows.map((row) => [...row.slice(0, 3), Number(row[3]), ...row.slice(4)]);
  const sections = [section(jobCounts(states), table(HEADINGS, shown))];
  if (errors.length > 0) sections.push(section("Errors", table(["job", "name", "error"], errors)));
  await platform.writeFile(file, await page("Jobs", sections, { width: 80 }));
}
