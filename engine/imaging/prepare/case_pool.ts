/** Runs jobs on cases, sequentially or in worker threads; results are delivered one at a time. */
import { platform } from "#platform";
import { VoxgradError } from "../../core/errors.ts";
import { PlatformError } from "../../platform/types.ts";
import { caseJobsUrl, run } from "./case_jobs.ts";
import type { CaseJob, CaseResult } from "./case_jobs.ts";
import { DatasetError } from "../dataset/finding.ts";
import { NiftiError } from "../nifti/nifti_error.ts";

export interface CasePool {
  /**
   * Runs a job for each item and calls `done` with its result, never concurrently. Errors of a job go to `failed`, and
   * the others continue. If `failed` throws, or without it at the first error, it stops once the running jobs have
   * ended. Error messages begin with the case.
   */
  each<T>(
    items: readonly T[],
    job: (item: T) => CaseJob,
    done: (result: CaseResult) => Promise<void>,
    failed?: (item: T, error: unknown) => void,
  ): Promise<void>;
  close(): Promise<void>;
}

/** Restores the class of errors from threads by name. */
const classes = { DatasetError, NiftiError, PlatformError, VoxgradError };

function revived(error: unknown): unknown {
  if (!(error instanceof Error) || !Object.hasOwn(classes, error.name)) return error;
  return Object.setPrototypeOf(error, classes[error.name as keyof typeof classes].prototype);
}

/** A pool of `workers` threads; with 0, or on a host without threads, the calling thread. */
export function openCasePool(workers: number): CasePool {
  if (!Number.isInteger(workers) || workers < 0) {
    throw new VoxgradError(`workers: an integer >= 0, got ${workers}; 0 works in the thread at hand`);
  }
  const threads = workers > 0 ? platform.openWorkers?.(caseJobsUrl, workers) : undefined;
  const perform = async (job: CaseJob): Promise<CaseResult> => {
    if (!threads) return run(job);
    try {
      return (await threads.run(job)) as CaseResult;
    } catch (error) {
      const { id } = job.item;
      const known = revived(error);
      // Errors that kill a thread, such as out of memory, do not name the case.
      if (!(known instanceof Error) || known.message.startsWith(`case ${id}: `)) throw known;
      const fix = "if memory ran out, try fewer --workers; 0 works in the thread at hand";
      throw new VoxgradError(`case ${id}: the thread that worked on it failed (${known.message}); ${fix}`, {
        cause: known,
      });
    }
  };
  return {
    async each(items, job, done, failed) {
      let next = 0;
      let ended = false;
      let turn: Promise<unknown> = Promise.resolve();
      // A lane requests the next case only after its result has been consumed, so that few results wait in memory.
      const lane = async (): Promise<void> => {
        while (next < items.length && !ended) {
          const item = items[next++]!;
          try {
            let result: CaseResult;
            try {
              result = await perform(job(item));
            } catch (error) {
              if (!failed) throw error;
              failed(item, error);
              continue;
            }
            const mine = turn.then(() => (ended ? undefined : done(result)));
            turn = mine.catch(() => undefined);
            await mine;
          } catch (error) {
            ended = true;
            throw error;
          }
        }
      };
      const lanes = await Promise.allSettled(Array.from({ length: threads ? workers : 1 }, lane));
      const wrong = lanes.find((end) => end.status === "rejected");
      if (wrong) throw (wrong as PromiseRejectedResult).reason;
    },
    async close() {
      await threads?.close();
    },
  };
}
