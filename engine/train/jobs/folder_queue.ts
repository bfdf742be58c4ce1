/** A queue in a folder, which all workers see: those of a machine, of Slurm, or of machines that share a disk. */
import { platform } from "#platform";
import { trimSlashes } from "../../core/paths.ts";
import { PlatformError } from "../../platform/types.ts";
import { readJson } from "../run/run_folder.ts";
import { checkedState, type Job, type JobState } from "./job.ts";
import { type Claim, isOpen, type JobChange, type JobQueue, MOST_ATTEMPTS } from "./queue.ts";

/** Of each job: what it is, its state, and a mark that it was cancelled. */
const [JOB, STATE, CANCEL] = ["job.json", "state.json", "cancelled"];

/**
 * @param only ids of the jobs that it shows and gives; default: all
 */
export function folderQueue(given: string, only?: ReadonlySet<string>): JobQueue {
  const place = trimSlashes(given);
  const folderOf = (id: string): string => `${place}/${id}`;
  // Locks of a folder are counted within a process, so workers of one process tell each other apart by this.
  const mine = new Set<string>();
  const write = (state: JobState): Promise<void> =>
    platform.writeFile(`${folderOf(state.job.id)}/${STATE}`, `${JSON.stringify(state, null, 1)}\n`);
  const isCancelled = (id: string): Promise<boolean> => platform.exists(`${folderOf(id)}/${CANCEL}`);
  const read = async (id: string): Promise<JobState | undefined> => {
    const file = `${folderOf(id)}/${STATE}`;
    if (!(await platform.exists(file))) return undefined;
    const state = checkedState(await readJson(file) as JobState, id);
    return isOpen(state) && state.state === "waiting" && await isCancelled(id)
      ? { ...state, state: "cancelled" }
      : state;
  };
  const list = async (): Promise<JobState[]> => {
    const names = await platform.exists(place) ? await platform.listFiles(place) : [];
    const ids = names.filter((name) => /^[0-9a-f]{16}$/.test(name) && (only?.has(name) ?? true));
    const states = await Promise.all(ids.map(read));
    return states.filter((state) => state !== undefined).sort((a, b) => a.submitted - b.submitted);
  };
  /** Locks the folder of a job; undefined while another process has it. */
  const lock = async (id: string): Promise<(() => Promise<void>) | undefined> => {
    try {
      return await platform.lockFolder(folderOf(id));
    } catch (error) {
      if (error instanceof PlatformError && error.code === "locked") return undefined;
      throw error;
    }
  };

  const claim = (taken: JobState, unlock: () => Promise<void>): Claim => {
    let state = taken;
    const { id } = state.job;
    const put = (change: JobChange): Promise<void> => {
      state = { ...state, ...change, updated: Date.now() };
      return write(state);
    };
    return {
      state,
      async report(change) {
        if (await isCancelled(id)) return false;
        await put(change);
        return true;
      },
      async release(change) {
        await put(await isCancelled(id) && change.state !== "done" ? { ...change, state: "cancelled" } : change);
        mine.delete(id);
        await unlock();
      },
    };
  };

  return {
    place,
    list,
    async submit(jobs: readonly Job[]) {
      let added = 0;
      for (const job of jobs) {
        if (await read(job.id)) continue;
        await platform.writeFile(`${folderOf(job.id)}/${JOB}`, `${JSON.stringify(job, null, 1)}\n`);
        await write({ job, state: "waiting", attempts: 0, submitted: Date.now() + added });
        added++;
      }
      return added;
    },
    async take(worker, fits) {
      for (const { job: { id, needs }, job } of (await list()).filter(isOpen)) {
        if (mine.has(id) || !(await fits(needs, job))) continue;
        if (mine.has(id)) continue;
        mine.add(id);
        const unlock = await lock(id);
        const state = unlock && await read(id);
        if (!unlock || !state || !isOpen(state)) {
          mine.delete(id);
          await unlock?.();
          continue;
        }
        const attempts = state.attempts + 1;
        const { error: _, progress: __, ...rest } = state;
        const taken: JobState = {
          ...rest,
          state: "running",
          attempts,
          worker,
          started: Date.now(),
          updated: Date.now(),
        };
        const own = claim(taken, unlock);
        if (attempts > MOST_ATTEMPTS) {
          await own.release({ state: "failed", error: `${attempts - 1} workers ended while they ran it` });
          continue;
        }
        await write(taken);
        return own;
      }
      return undefined;
    },
    async change(ids, to) {
      const changed: JobState[] = [];
      for (const id of ids) {
        const state = await read(id);
        if (!state || (to === "cancelled" ? !isOpen(state) : isOpen(state))) continue;
        if (to === "cancelled") await platform.writeFile(`${folderOf(id)}/${CANCEL}`, "");
        else {
          await platform.remove(`${folderOf(id)}/${CANCEL}`);
          const { error: _, results: __, ...rest } = state;
          await write({ ...rest, state: "waiting", attempts: 0 });
        }
        changed.push(state);
      }
      return changed;
    },
    close: async () => undefined,
  };
}
