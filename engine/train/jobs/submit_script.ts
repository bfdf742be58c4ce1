/** The command `voxgrad submit`: its own options beside those of the script that it submits. */
import { platform } from "#platform";
import { config, ConfigError, entry } from "../run/config.ts";
import { print } from "../run/logging.ts";
import { splitList } from "../run/script.ts";
import { digestsOf, type Job, type JobInput } from "./job.ts";
import { openQueue, queueEntries } from "./open_queue.ts";
import { runPool } from "./pool.ts";
import type { JobQueue } from "./queue.ts";
import { readProfile, submitArray } from "./slurm.ts";
import { jobsOf, seedRange, type Submission } from "./submit.ts";
import { putFiles } from "./work.ts";

const own = {
  ...queueEntries,
  upload: entry(false, "with --nats: store inputs and results at the server, for workers that share no folder"),
  slurm: entry("", "profile file: submits an array to Slurm"),
  grid: entry("", 'JSON file of lists of values by option, each combination a job: { "rate": [0.001, 0.003] }'),
  seeds: entry("", "first and last seed, as 1..3: a job each"),
  devices: entry("", "without --nats and --slurm: devices of this machine, as VOXGRAD_ADAPTER takes them, with commas"),
  needsDevice: entry("", "part of the name of the device that the jobs need"),
  needsMemory: entry(0, "GiB of memory that they need", { min: 0 }),
  only: entry(false, "submit alone, and leave the work to voxgrad worker"),
};

/** The words for `submit` itself, and those for the script. */
function divide(words: readonly string[]): { mine: string[]; rest: string[] } {
  const [mine, rest]: [string[], string[]] = [[], []];
  for (let k = 0; k < words.length; k++) {
    const [, name, value] = /^--(?:no-)?([^=]+)(?:=(.*))?$/s.exec(words[k]) ?? [];
    const key = name?.replace(/-([a-z])/g, (_, letter) => letter.toUpperCase()) ?? "";
    const isOwn = Object.hasOwn(own, key);
    const isFlag = isOwn && typeof own[key as keyof typeof own].value === "boolean";
    const next = value ?? words[k + 1] ?? "";
    // Experiments have a number of seeds.
    if (!isOwn || (key === "seeds" && seedRange(next) === undefined)) rest.push(words[k]);
    else if (value !== undefined || isFlag) mine.push(words[k]);
    else mine.push(words[k], words[++k] ?? "");
  }
  return { mine, rest };
}

/** Stores the inputs of jobs at the server. */
async function upload(jobs: readonly Job[], store: NonNullable<JobQueue["store"]>): Promise<Job[]> {
  const stored = new Map<string, JobInput>();
  for (const { inputs } of jobs) {
    for (const input of Object.values(inputs)) {
      if (stored.has(input.path)) continue;
      const files = await putFiles(store, input.path, Object.keys(await digestsOf(input.path)));
      stored.set(input.path, { ...input, files });
    }
  }
  return jobs.map((job) => ({
    ...job,
    stored: true,
    inputs: Object.fromEntries(Object.entries(job.inputs).map(([key, { path }]) => [key, stored.get(path)!])),
  }));
}

/**
 * Runs `voxgrad submit`: makes the jobs of a script's command line, and puts them on a queue of NATS, into an array of
 * Slurm, or runs them here, one at a time on each device.
 *
 * @param scans the scans of an input of predict, for the network of a run
 * @throws ConfigError for what the script or the command refuses
 * @example
 * ```ts
 * import { findImages, runSubmit } from "voxgrad/train";
 *
 * const submit = () => runSubmit((run, input) => findImages(input, 1)); // reads the command line
 * ```
 */
export async function runSubmit(scans: Submission["scans"]): Promise<void> {
  const [script, ...words] = platform.readCommandLine();
  if (script === undefined || script.startsWith("-")) {
    config(own, script === undefined ? [] : [script, ...words]);
    throw new ConfigError("Name a script: voxgrad submit train_unet DATA --fold each");
  }
  const { mine, rest } = divide(words);
  const options = config(own, rest.includes("--help") ? [...mine, "--help"] : mine);
  const { nats, slurm, grid, needsDevice, needsMemory } = options;
  if (nats !== "" && slurm !== "") throw new ConfigError("--nats and --slurm: name one of them");
  if (options.upload && nats === "") throw new ConfigError("--upload has no effect: it is of --nats");
  if (options.devices !== "" && nats + slurm !== "") {
    throw new ConfigError("--devices has no effect: workers have devices of their own");
  }
  const needs = {
    ...(needsDevice !== "" && { device: needsDevice }),
    ...(needsMemory > 0 && { memory: needsMemory }),
  };
  let jobs = await jobsOf({ script, words: rest, seeds: seedRange(options.seeds), grid, needs, scans });
  const queue = await openQueue({ ...options, jobs: await platform.realPath(options.jobs) });
  try {
    if (options.upload) jobs = await upload(jobs, queue.store!);
    const added = await queue.submit(jobs);
    const before = jobs.length - added;
    print(`${jobs.length} jobs: ${added} submitted to ${queue.place}${before > 0 ? `, ${before} there already` : ""}`);
    if (slurm !== "") {
      const ids = new Set(jobs.map(({ id }) => id));
      const open = (await queue.list()).filter(({ state, job }) => state === "waiting" && ids.has(job.id));
      if (open.length === 0) return print("None of them waits, so nothing is left for Slurm");
      const command = platform.commandLine!(["worker"]);
      const array = { folder: queue.place, ids: open.map(({ job }) => job.id), command };
      print(await submitArray(await readProfile(slurm), array));
    } else if (nats === "" && !options.only) {
      const { failed } = await runPool(queue, {
        folder: queue.place,
        devices: splitList(options.devices),
        untilDone: true,
      });
      if (failed > 0) throw new ConfigError(`${failed} jobs failed; voxgrad jobs --jobs ${options.jobs} says why`);
    }
  } finally {
    await queue.close();
  }
}
