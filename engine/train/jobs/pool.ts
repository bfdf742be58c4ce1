/** Workers of this process, one a device. */
import { platform } from "#platform";
import { closeDevice, openDevice } from "../../gpu/mod.ts";
import type { Interrupted } from "../../platform/types.ts";
import { print } from "../run/logging.ts";
import type { JobQueue } from "./queue.ts";
import { work } from "./work.ts";

export interface PoolOptions {
  /** Folder of the jobs' own folders. */
  readonly folder: string;
  /** Devices as VOXGRAD_ADAPTER takes them, a worker each; default: the one that is best. */
  readonly devices?: readonly string[];
  /** Ends once nothing is left to do. */
  readonly untilDone?: boolean;
}

/**
 * Works on the jobs of a queue, one at a time on each device. When the process is asked to end, the jobs under way
 * write checkpoints and go back to the queue.
 *
 * @returns how many jobs were done, and how many failed
 * @throws Interrupted once all have gone back
 * @example
 * ```ts
 * import { openQueue, runPool } from "voxgrad/train";
 *
 * const work = async () => {
 *   const queue = await openQueue({ jobs: "jobs", nats: "", token: "" });
 *   return runPool(queue, { folder: "jobs", untilDone: true }); // { done, failed }
 * };
 * ```
 */
export async function runPool(
  queue: JobQueue,
  { folder, devices = [], untilDone = false }: PoolOptions,
): Promise<{ done: number; failed: number }> {
  const adapters: (string | undefined)[] = devices.length === 0 ? [undefined] : [...devices];
  const names: string[] = [];
  for (const adapter of adapters) {
    const { name } = await openDevice(adapter === undefined ? {} : { adapter });
    names.push(name);
    await closeDevice();
  }
  print(`Jobs of ${queue.place} on ${names.join(", ")}`);
  let interrupted: Interrupted | undefined;
  const stop = new AbortController();
  const off = platform.onInterrupt((asked) => {
    interrupted = asked;
    print(`${asked.message}: jobs write checkpoints and go back; asked again, it ends at once`);
    stop.abort();
  });
  const own = adapters.map((adapter, k) =>
    work(queue, { folder, adapter, device: names[k], untilDone, signal: stop.signal })
  );
  const counts = await Promise.all(own).finally(off);
  if (interrupted) throw interrupted;
  return { done: counts.reduce((sum, each) => sum + each.done, 0), failed: counts.reduce((s, e) => s + e.failed, 0) };
}
