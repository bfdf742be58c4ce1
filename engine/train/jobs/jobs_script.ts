/** The command `voxgrad jobs`: what to do with the jobs of a queue. */
import { platform } from "#platform";
import { ConfigError } from "../run/config.ts";
import { print } from "../run/logging.ts";
import { splitList } from "../run/script.ts";
import type { JobState } from "./job.ts";
import { jobTable, writeJobPage } from "./job_table.ts";
import { isOpen, type JobQueue, sleep } from "./queue.ts";
import { fetchFiles } from "./work.ts";

export interface JobsOptions {
  readonly act: "show" | "cancel" | "retry" | "logs" | "fetch";
  /** Beginnings of ids with commas, "all" or "failed". */
  readonly ids: string;
  /** Folder of the jobs' own folders. */
  readonly jobs: string;
  readonly watch: boolean;
  /** File of the page; "" for none. */
  readonly html: string;
}

/** The jobs that are meant. */
function chosen(states: readonly JobState[], ids: string): JobState[] {
  if (ids === "all") return [...states];
  if (ids === "failed") return states.filter(({ state }) => state === "failed");
  return splitList(ids).flatMap((start) => {
    const found = states.filter(({ job }) => job.id.startsWith(start));
    if (found.length === 0) throw new ConfigError(`There is no job ${start}; voxgrad jobs lists them`);
    return found;
  });
}

/**
 * Shows the jobs of a queue, or cancels, repeats or fetches some.
 *
 * @throws ConfigError for ids that there are not
 * @example
 * ```ts
 * import { openQueue, runJobs } from "voxgrad/train";
 *
 * const queue = await openQueue({ jobs: "jobs", nats: "", token: "" });
 * await runJobs(queue, { act: "show", ids: "", jobs: "jobs", watch: false, html: "" });
 * ```
 */
export async function runJobs(queue: JobQueue, { act, ids, jobs, watch, html }: JobsOptions): Promise<void> {
  if (act === "show") {
    for (;;) {
      const states = await queue.list();
      print(await jobTable(ids === "" ? states : chosen(states, ids)));
      if (html !== "") await writeJobPage(states, html);
      if (!watch || !states.some(isOpen)) return;
      await sleep(2_000);
    }
  }
  if (ids === "") throw new ConfigError(`Name jobs: voxgrad jobs ${act} all, failed, or beginnings of ids with commas`);
  const found = chosen(await queue.list(), ids);
  if (act === "cancel" || act === "retry") {
    const changed = await queue.change(found.map(({ job }) => job.id), act === "cancel" ? "cancelled" : "waiting");
    const why = act === "cancel" ? "wait or run" : "have ended";
    return print(
      `${changed.length} of ${found.length} jobs are ${act === "cancel" ? "cancelled" : "to run again"}; ${
        changed.length < found.length ? `the others do not ${why}` : "that is all"
      }`,
    );
  }
  for (const { job, results, lines } of found) {
    const folder = `${jobs}/${job.id}`;
    if (act === "logs") {
      const file = `${folder}/log.txt`;
      const text = await platform.exists(file) ? new TextDecoder().decode(await platform.readFile(file)).trimEnd() : "";
      print(`${job.name} (${job.id})\n${text || (lines ?? ["it has said nothing yet"]).join("\n")}\n`);
      continue;
    }
    if (!results) continue;
    const to = job.to ?? `${folder}/run`;
    if (queue.store && job.stored) await fetchFiles(queue.store, results, to);
    print(`${job.name}: ${Object.keys(results).length} files in ${to}`);
  }
}
