/** Runs the bundled tests of operators and kernels, each file in processes of its own that may die or hang. */
import { spawn } from "node:child_process";
import { basename } from "node:path";
import { createInterface } from "node:readline";
import { type Command, script } from "../peers/asked.ts";
import { type CheckChoice, type CheckLine, MARK } from "./uvu_lines.ts";

/** The bundled test files, below test/, with what they check. */
export const checkFiles = {
  "ops/golden_ops": "golden operators: values, gradients, derivatives along a direction, second derivatives",
  "ops/vocabulary": "golden operators of the everyday vocabulary",
  "ops/index/golden_indexing": "golden operators that index, sort and count",
  "ops/matrix/matrices": "golden linear algebra of small matrices",
  "nn/golden_losses": "golden losses",
  "ops/geometry": "distance transform, components, holes",
  "shaders/matmul_kernels": "every variant of the matrix product",
  "shaders/cosine_matching_kernels": "every variant of cosine matching",
  "shaders/conv_kernels": "every variant of the convolutions",
  "shaders/geometry_kernels": "kernels on masks",
  "shaders/resize_kernel": "kernels that resample",
  "shaders/random_kernel": "random numbers",
  "shaders/math": "elementary functions",
} as const;
export type CheckFile = keyof typeof checkFiles;

/** Where the bundle of a file lies, below the bundle's folder: all in one place, from which they find golden numbers. */
export const bundleOf = (file: CheckFile): string => `test/checks/${basename(file)}.test`;

/** One test. */
export interface CheckResult {
  readonly file: CheckFile;
  readonly name: string;
  readonly milliseconds: number;
  /** Why it failed. */
  readonly error?: string;
  /** The time was over: it, and what would have followed in its process, was not run. */
  readonly unrun?: true;
}

export interface CheckOptions {
  /** Lower case parts of the names of tests; one of them suffices. */
  readonly words: readonly string[];
  /** Processes for each file, each with its share of the tests. */
  readonly shards: number;
  /** Milliseconds of silence in a test after which a process is taken for hung. */
  readonly silence: number;
  /** Milliseconds left for all. */
  readonly left: () => number;
  /** Told of each test as it ends. */
  readonly found: (result: CheckResult) => void;
  /** The program of a file; default: the bundle. */
  readonly command?: (file: CheckFile) => Command;
}

/** Milliseconds that a process may take until its first test. */
const STARTING = 60_000;

/** Runs the tests of a file in several processes at a time; after a test that kills one, another goes on behind it. */
export async function runChecks(file: CheckFile, options: CheckOptions): Promise<void> {
  const shards = Array.from({ length: options.shards }, (_, shard) => runShard(file, shard, options));
  await Promise.all(shards);
}

async function runShard(file: CheckFile, shard: number, options: CheckOptions): Promise<void> {
  let from = 0;
  while (options.left() > 0) {
    const end = await runFrom(file, { from, shard, shards: options.shards, words: options.words }, options);
    if (end === null) return;
    from = end + 1;
  }
  options.found({ file, name: `the tests from number ${from} on`, milliseconds: 0, unrun: true });
}

/** Gives null after the last test, else the number of the one that ended the process. */
function runFrom(file: CheckFile, choice: CheckChoice, options: CheckOptions): Promise<number | null> {
  const [program, ...args] = options.command?.(file) ?? script(`../${bundleOf(file)}`);
  const env = { ...process.env, VOXGRAD_CHECKS: JSON.stringify(choice) };
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], env });
  let errors = "";
  child.stderr.on("data", (data) => (errors = (errors + data).slice(-1000)));
  return new Promise((resolve) => {
    let begun: CheckLine | null = null;
    let ended: CheckLine | null = null;
    let over = false;
    let heard = false;
    let late = false;
    let reason: string | null = null;
    let since = performance.now();
    const timer = setInterval(() => {
      const silent = performance.now() - since;
      const most = heard ? options.silence : Math.max(options.silence, STARTING);
      if (silent < most && options.left() > 0) return;
      late = silent < most;
      reason = late ? "" : `no answer in ${(silent / 1000).toFixed(0)} s`;
      child.kill("SIGKILL");
    }, 200);
    createInterface({ input: child.stdout }).on("line", (text) => {
      // A process that was killed may have begun the next test.
      if (!text.startsWith(MARK) || reason !== null) return;
      const line = JSON.parse(text.slice(MARK.length)) as CheckLine;
      since = performance.now();
      heard = true;
      if (line.over) over = true;
      else if (line.milliseconds === undefined) begun = line;
      else {
        begun = null;
        ended = line;
        const { name, milliseconds, error } = line;
        options.found({ file, name, milliseconds, ...(error === undefined ? {} : { error }) });
        // Whatever follows on a lost device fails too.
        if (error && /device was lost/i.test(error)) {
          begun = { at: line.at, name };
          reason = "";
          child.kill("SIGKILL");
        }
      }
    });
    child.on("error", (error) => (errors = error.message));
    child.on("close", (code, signal) => {
      clearInterval(timer);
      if (over) return resolve(null);
      const why = reason ?? `its process ended (${signal ?? code}) ${errors.trim().split("\n").at(-1) ?? ""}`.trim();
      // "" where the test has been told of.
      const name = begun?.name ?? (ended ? `behind ${ended.name}` : `the tests from number ${choice.from} on`);
      if (why !== "") options.found({ file, name, milliseconds: performance.now() - since, error: why });
      // What was under way when the time was over is told as not run.
      const last = late ? ended : (begun ?? ended);
      resolve(last?.at ?? (late ? choice.from - 1 : null));
    });
  });
}
