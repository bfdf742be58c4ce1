/** A worker: takes jobs, runs each in a process of its own, and hands in what it made. */
import { platform } from "#platform";
import { VoxgradError } from "../../core/errors.ts";
import { PlatformError, type Progress } from "../../platform/types.ts";
import { valueDigest } from "../run/provenance.ts";
import { print } from "../run/logging.ts";
import { pathInside } from "../run/run_folder.ts";
import { commandOf } from "../run/script.ts";
import { filesBelow, inputDigest, type Job, type JobInput, type JobNeeds, resultsIn } from "./job.ts";
import { type Claim, type JobQueue, sleep } from "./queue.ts";
import { sha256 } from "../../core/digest.ts";

export interface WorkOptions {
  /** Folder of the jobs' own folders, which hold runs and logs. */
  readonly folder: string;
  /** What VOXGRAD_ADAPTER is for the jobs; default: as here. */
  readonly adapter?: string | undefined;
  /** The name of that device, to compare with what jobs need. */
  readonly device: string;
  /** Ends once nothing is left to do, instead of waiting for more. */
  readonly untilDone?: boolean;
  /** Aborted: the job under way writes a checkpoint and goes back to the queue. */
  readonly signal: AbortSignal;
}

/** Milliseconds from one report to the next. */
const REPORT = 2_000;
/** Lines of a job that a queue without a shared folder keeps. */
const LINES = 40;

/** Digests of inputs that this process has compared. */
const compared = new Map<string, Promise<string>>();

/** Whether this machine has an input of a job, with the same content. */
async function isHere(key: string, { path, digest }: JobInput): Promise<boolean> {
  if (!(await platform.exists(path))) return false;
  const own = compared.get(`${key} ${path}`) ?? inputDigest(key, path);
  compared.set(`${key} ${path}`, own);
  return (await own) === digest;
}

/** Whether this worker has the inputs of a job, or can fetch them. */
async function hasData({ inputs }: Job): Promise<boolean> {
  for (const [key, input] of Object.entries(inputs)) if (!input.files && !(await isHere(key, input))) return false;
  return true;
}

const GIB = 2 ** 30;

/** Runs jobs until there are none, or until the signal. Returns how many of them were done and failed. */
export async function work(queue: JobQueue, options: WorkOptions): Promise<{ done: number; failed: number }> {
  const { untilDone = false, signal, device } = options;
  const worker = `${platform.processName!()} ${device}`;
  const refused = new Set<string>();
  const fits = async ({ device: wanted, memory = 0 }: JobNeeds, job: Job): Promise<boolean> => {
    const total = platform.totalMemory() ?? Infinity;
    const why = wanted !== undefined && !device.toLowerCase().includes(wanted.toLowerCase())
      ? `it needs the device ${wanted}`
      : memory * GIB > total
      ? `it needs ${memory} GiB of memory`
      : await hasData(job)
      ? undefined
      : "its data is not here, or is another";
    if (why === undefined) return true;
    if (!refused.has(job.id)) print(`${job.name}: left to others, for ${why}`);
    refused.add(job.id);
    return false;
  };
  const counts = { done: 0, failed: 0 };
  while (!signal.aborted) {
    const claim = await queue.take(worker, fits);
    if (claim) {
      const end = await runJob(queue, claim, options);
      if (end === "done") counts.done++;
      if (end === "failed") counts.failed++;
      continue;
    }
    if (untilDone) {
      const open = (await queue.list()).filter(({ state, job }) =>
        /waiting|running/.test(state) && !refused.has(job.id)
      );
      if (open.length === 0) break;
    }
    await sleep(500);
  }
  return counts;
}

/** Runs one job to its end, or until it goes back. */
async function runJob(queue: JobQueue, claim: Claim, options: WorkOptions): Promise<string> {
  const { job, attempts } = claim.state;
  const { signal, adapter } = options;
  const own = `${options.folder}/${job.id}`;
  const run = `${own}/run`;
  const again = attempts > 1 ? `, begun ${attempts} times` : "";
  print(`${job.name}: begins (${job.id}${again})`);
  let progress: Progress | undefined;
  const lines: string[] = [];
  let fresh: string[] = [];
  let owned = true;
  try {
    await waitForRun(run);
    if (queue.store && claim.state.partial && !(await platform.exists(run))) {
      await fetchFiles(queue.store, claim.state.partial, run);
    }
    const words = await wordsOf(job, run, queue, options.folder);
    const command = platform.startCommand!(words, {
      adapter,
      onLine(line) {
        lines.push(line);
        fresh.push(line);
        if (lines.length > LINES) lines.shift();
      },
      onProgress: (now) => void (progress = now),
    });
    let ended: { code: number; tail: readonly string[] } | undefined;
    const end = command.ended.then((value) => void (ended = value));
    const keepLog = async (): Promise<void> => {
      if (fresh.length === 0) return;
      const text = fresh.map((line) => `${line}\n`).join("");
      fresh = [];
      await platform.appendFile(`${own}/log.txt`, text);
    };
    let asked = false;
    while (!ended) {
      await Promise.race([end, sleep(REPORT)]);
      await keepLog();
      if (ended) break;
      if (signal.aborted && !asked) command.stop();
      asked ||= signal.aborted;
      owned = await claim.report({
        ...(progress && { progress }),
        ...(queue.store && { lines: [...lines] }),
      });
      if (!owned) {
        command.stop(true);
        await end;
      }
    }
    await keepLog();
    if (!owned) {
      print(`${job.name}: stopped, for it was cancelled or is another worker's`);
      await claim.release({ state: "cancelled" });
      return "cancelled";
    }
    return await handIn(queue, claim, { run, ended: ended!, lines });
  } catch (error) {
    // What this worker cannot do, such as a full disk, another one may.
    const { message } = error as Error;
    print(`${job.name}: given back: ${message}`);
    await claim.release({ state: "waiting", error: message });
    await sleep(REPORT);
    return "waiting";
  }
}

/** Ends a claim by the exit code of its process: 0 done; above 128 ended from outside, so another worker goes on. */
async function handIn(
  queue: JobQueue,
  claim: Claim,
  { run, ended: { code, tail }, lines }: {
    run: string;
    ended: { code: number; tail: readonly string[] };
    lines: readonly string[];
  },
): Promise<string> {
  const { job } = claim.state;
  const shown = queue.store && { lines: [...lines] };
  if (code === 0) {
    const results = await resultsIn(run);
    if (queue.store && job.stored) await putFiles(queue.store, run, Object.keys(results));
    if (job.to !== undefined) {
      for (const name of Object.keys(results)) {
        await platform.writeFile(pathInside(job.to, name), await platform.readFile(`${run}/${name}`));
      }
    }
    await claim.release({ state: "done", results, ...shown });
    print(`${job.name}: done, results ${(await valueDigest(results)).slice(0, 12)}`);
    return "done";
  }
  if (code > 128) {
    const partial = queue.store && job.stored &&
      await putFiles(queue.store, run, await filesBelow(run).catch(() => []));
    await claim.release({ state: "waiting", ...(partial && { partial }), ...shown });
    print(`${job.name}: stopped by a signal (${code - 128}), and given back`);
    return "waiting";
  }
  const error = tail.filter((line) => line.trim() !== "").slice(-6).join("\n");
  await claim.release({ state: "failed", error, ...shown });
  print(`${job.name}: failed: ${error}`);
  return "failed";
}

/** Waits for the process of a worker that died to leave the run's folder. */
async function waitForRun(run: string): Promise<void> {
  if (!(await platform.exists(run))) return;
  for (let tries = 0;; tries++) {
    try {
      return await (await platform.lockFolder(run))();
    } catch (error) {
      // Of another machine it counts as dead after five minutes.
      if (!(error instanceof PlatformError && error.code === "locked") || tries > 400) throw error;
      await sleep(1_000);
    }
  }
}

/** The command line of a job, which goes on with what an earlier worker began. */
async function wordsOf(job: Job, run: string, queue: JobQueue, folder: string): Promise<string[]> {
  const begun = job.resumes && await platform.exists(`${run}/config.json`);
  if (begun) return [...commandOf(job.script), `--resume=${run}`];
  const words = Object.entries(job.given).map(([key, value]) =>
    `--${key}=${typeof value === "object" ? value.join(",") : value}`
  );
  for (const [key, input] of Object.entries(job.inputs)) {
    const { path, digest, files } = input;
    if (!files || await isHere(key, input)) {
      words.push(`--${key}=${path}`);
      continue;
    }
    if (!queue.store) throw new VoxgradError(`${path}: it is not here, and ${queue.place} stores no files`);
    const copy = pathInside(`${folder}/inputs`, `${digest.slice(0, 16)}/${path.split("/").at(-1)}`);
    if ("" in files) await platform.writeFile(copy, await queue.store.get(files[""]));
    else await fetchFiles(queue.store, files, copy);
    words.push(`--${key}=${copy}`);
  }
  return [...commandOf(job.script), ...words, `--${job.output}=${run}`, ...(job.resumes ? ["--overwrite=true"] : [])];
}

type Store = NonNullable<JobQueue["store"]>;

/** Puts files of a folder into the object store; returns their digests. */
export async function putFiles(
  store: Store,
  folder: string,
  names: readonly string[],
): Promise<Record<string, string>> {
  const digests: Record<string, string> = {};
  for (const name of names) {
    const bytes = await platform.readFile(name === "" ? folder : `${folder}/${name}`);
    digests[name] = await sha256(bytes);
    await store.put(digests[name], bytes);
  }
  return digests;
}

/** Writes files of the object store into a folder; those that are there already stay. */
export async function fetchFiles(
  store: Store,
  files: Readonly<Record<string, string>>,
  folder: string,
): Promise<void> {
  for (const [name, digest] of Object.entries(files)) {
    const path = pathInside(folder, name);
    if (await platform.exists(path) && (await sha256(await platform.readFile(path))) === digest) continue;
    await platform.writeFile(path, await store.get(digest));
  }
}
