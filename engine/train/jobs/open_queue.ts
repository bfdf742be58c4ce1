/** Where jobs are: in a folder, or at a server of NATS. */
import { platform } from "#platform";
import { type Entries, entry } from "../run/config.ts";
import { folderQueue } from "./folder_queue.ts";
import { natsQueue } from "./nats_queue.ts";
import type { JobQueue } from "./queue.ts";

/** Where jobs are, as commands name it. */
export interface QueueOptions {
  readonly jobs: string;
  readonly nats: string;
  readonly token: string;
}

/** Entries of the commands that work with jobs. */
export const queueEntries: Entries<QueueOptions> = {
  jobs: entry("jobs", "folder of the jobs, their runs and logs"),
  nats: entry("", "server of NATS that keeps the queue, such as nats://HOST:4222; the folder keeps it without"),
  token: entry("", "token of that server; VOXGRAD_NATS_TOKEN without it"),
};

/**
 * Opens the queue of `queueEntries`.
 *
 * @param only ids of the jobs that are taken from a folder; default: all
 * @throws PlatformError if the server or the packages of NATS are missing
 * @example
 * ```ts
 * import { jobTable, openQueue } from "voxgrad/train";
 *
 * const queue = await openQueue({ jobs: "jobs", nats: "", token: "" });
 * console.log(await jobTable(await queue.list()));
 * await queue.close();
 * ```
 */
export const openQueue = async (
  { jobs, nats, token }: QueueOptions,
  only?: ReadonlySet<string>,
): Promise<JobQueue> =>
  nats === "" ? folderQueue(jobs, only) : natsQueue(nats, token || platform.environment?.("VOXGRAD_NATS_TOKEN"));
