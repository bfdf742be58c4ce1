/** The folder of one run: its settings, metrics and results. */
import { trimSlashes } from "../../core/paths.ts";
import { platform } from "#platform";
import { isPlain, show, VoxgradError } from "../../core/errors.ts";
import { parseJson } from "../../core/json.ts";
import { type Interrupted, PlatformError } from "../../platform/types.ts";

/** A file of every run, which identifies run folders. */
const MARK = "config.json";

/** Files of trainings, the checkpoint first: without it a run cannot be resumed. */
const OWN = [
  "checkpoint.safetensors",
  "model.safetensors",
  "model_best.safetensors",
  "generator.safetensors",
  "log.jsonl",
  "chain.jsonl",
  "epochs.jsonl",
  "progress.svg",
  "watched.svg",
];
/** Files derived from the weights. */
const MEASURED = [
  "predictions",
  "references",
  "summary.json",
  "metrics.csv",
  "overlay.svg",
  "postprocessing.json",
  "figures",
  "tables",
  "report.html",
  "tensorboard",
];
/** Files written at the start. */
const DESCRIBED = ["splits.json", "plan.json", MARK];
/** Milliseconds between attempts to write to a full disk. */
const PATIENCE = 2_000;
/**
 * The path of a name in a folder. The name may have untrusted parts and never leads out of the folder.
 *
 * @throws VoxgradError for a name with an empty part, ".", "..", "\\" or control characters
 */
export function pathInside(folder: string, name: string): string {
  const odd = name.split("/").find((part) =>
    // deno-lint-ignore no-control-regex
    part === "" || part === "." || part === ".." || /[\\\u0000-\u001f\u007f]/.test(part)
  );
  if (odd !== undefined) {
    throw new VoxgradError(
      `${folder}: ${show(name)} is no name of a file in it, for ${show(odd)} is no part of one; rename the case`,
    );
  }
  return `${folder}/${name}`;
}

/** Fold folders of a cross-validation. */
const FOLD = /^fold_\d+$/;

export class RunFolder {
  readonly path: string;
  /** Whether an earlier run is resumed; its checkpoint is only read then. */
  readonly resumed: boolean;
  /** Digests of the run's inputs, stored in checkpoints. */
  identity: Readonly<Record<string, string>> | undefined;
  readonly #written: string[] = [];
  readonly #signal: AbortSignal | undefined;
  #outer: RunFolder | undefined;
  #release: (() => Promise<void>) | undefined;

  /** @param options signal: see there */
  constructor(path: string, { resumed = false, signal }: { resumed?: boolean; signal?: AbortSignal | undefined } = {}) {
    this.path = path;
    this.resumed = resumed;
    this.#signal = signal;
  }

  /** When it is aborted, a training in this folder stops with its reason, after a checkpoint. */
  get signal(): AbortSignal | undefined {
    return this.root.#signal;
  }

  /**
   * Makes this process the folder's owner until `unlock` or exit.
   *
   * @throws PlatformError if another process is
   */
  async lock(): Promise<void> {
    this.#release = await platform.lockFolder(this.path);
  }

  async unlock(): Promise<void> {
    await this.#release?.();
    this.#release = undefined;
  }

  /** Whether it holds a run; checks the content of config.json, which is a common name. */
  async holdsRun(): Promise<boolean> {
    if (!(await this.has(MARK))) return false;
    const config = await this.readJson(MARK).catch(() => undefined);
    return isPlain(config) && isPlain(config.options);
  }

  /** Removes only the files of an earlier training; nothing if there was none. */
  async clear(): Promise<void> {
    if (!(await this.holdsRun())) return;
    const folds = (await platform.listFiles(this.path)).filter((name) => FOLD.test(name));
    // config.json goes last: until then the folder counts as a run and can be cleared again.
    for (const place of [...folds.map((fold) => `${this.path}/${fold}`), this.path]) {
      for (const name of [...OWN, ...MEASURED, ...DESCRIBED]) await platform.remove(`${place}/${name}`);
    }
  }

  /** Removes metrics of weights that are about to be replaced. */
  async clearMeasured(): Promise<void> {
    for (const name of MEASURED) await platform.remove(`${this.path}/${name}`);
  }

  /** Paths of the files written so far, in order. */
  get written(): readonly string[] {
    return this.#written;
  }

  /** The files written so far, one per line; a subfolder is one line with its number of files. */
  listing(): string {
    const counts = new Map<string, number>();
    for (const path of this.#written) {
      const [first, ...rest] = path.slice(this.path.length + 1).split("/");
      const key = rest.length > 0 ? `${this.path}/${first}/` : path;
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    const line = ([key, n]: [string, number]) => (key.endsWith("/") ? `${key} (${n} file${n === 1 ? "" : "s"})` : key);
    return [...counts].map(line).join("\n");
  }

  /** Writes a file of the run atomically and returns its path. */
  async write(name: string, data: Uint8Array | string): Promise<string> {
    const path = this.#inside(name);
    await platform.writeFile(path, data);
    this.#note(path);
    return path;
  }

  /**
   * As write, for essential results: if it fails, for example on a full disk, it reports that and retries until it
   * succeeds.
   *
   * @throws Interrupted if the process is interrupted meanwhile, and the reason of an aborted signal
   */
  async writeWhenRoom(name: string, data: Uint8Array | string): Promise<string> {
    let interrupted: Interrupted | undefined;
    const off = platform.onInterrupt((asked) => (interrupted = asked));
    try {
      for (let tries = 0;; tries++) {
        try {
          const path = await this.write(name, data);
          if (tries > 0) platform.log(`${path} is written now`);
          return path;
        } catch (error) {
          if (!(error instanceof PlatformError)) throw error;
          if (tries === 0) {
            platform.log(`${error.message}. It is tried again every ${PATIENCE / 1000} s: make room for it`);
          }
        }
        for (let waited = 0; waited < PATIENCE && !interrupted && !this.signal?.aborted; waited += 200) {
          await new Promise<void>((resolve) => setTimeout(resolve, 200));
        }
        if (interrupted) throw interrupted;
        this.signal?.throwIfAborted();
      }
    } finally {
      off();
    }
  }

  /** Appends to a file of the run. */
  async append(name: string, text: string): Promise<void> {
    const path = this.#inside(name);
    await platform.appendFile(path, text);
    this.#note(path);
  }

  /** The folder of the whole run, if this is a fold. */
  get root(): RunFolder {
    return this.#outer?.root ?? this;
  }

  /** A subfolder, whose files count as written here. */
  folder(name: string): RunFolder {
    const inner = new RunFolder(this.#inside(name), { resumed: this.resumed });
    inner.#outer = this;
    return inner;
  }

  #inside(name: string): string {
    return pathInside(this.path, name);
  }

  #note(path: string): void {
    if (this.#outer) this.#outer.#note(path);
    if (!this.#written.includes(path)) this.#written.push(path);
  }

  /** Writes a value as JSON; NaN and infinity, which JSON lacks, become null. */
  writeJson(name: string, value: unknown): Promise<string> {
    return this.write(name, `${JSON.stringify(value, null, 1)}\n`);
  }

  /** Whether the folder has a file or folder of that name. */
  has(name: string): Promise<boolean> {
    return platform.exists(`${this.path}/${name}`);
  }

  /** The text of a file of the run. Throws PlatformError if it cannot be read. */
  async readText(name: string): Promise<string> {
    return new TextDecoder().decode(await platform.readFile(`${this.path}/${name}`));
  }

  /** The value of a JSON file of the run; undefined if the file does not exist. */
  async readJson(name: string): Promise<unknown> {
    const path = `${this.path}/${name}`;
    if (!(await platform.exists(path))) return undefined;
    return readJson(path);
  }
}

/**
 * The value of a JSON file.
 *
 * @throws VoxgradError if it is not JSON; PlatformError if it cannot be read
 * @example
 * ```ts
 * import { readJson } from "voxgrad/train";
 *
 * const settings = await readJson("runs/liver/config.json");
 * ```
 */
export async function readJson(path: string): Promise<unknown> {
  return parseJson(await platform.readFile(path), path);
}

/**
 * Opens the folder of an earlier run to resume it. Removes partially written files.
 *
 * @param options signal: stops a training in it
 * @throws VoxgradError if the folder holds no run; PlatformError while another process uses it
 */
export async function resumeRun(
  folder: string,
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<RunFolder> {
  const path = trimSlashes(folder);
  if (!(await platform.exists(`${path}/${MARK}`))) {
    throw new VoxgradError(`${path}: it holds no run (there is no ${MARK}); name a folder that a training wrote`);
  }
  const run = new RunFolder(path, { ...options, resumed: true });
  await run.lock();
  await platform.removeRemains(path);
  return run;
}

/**
 * Opens a new run folder, locked by this process. Nothing is written yet: files of an earlier run are removed by
 * `clear`.
 *
 * @param options folder: path; default the first free of runs/NAME-001, runs/NAME-002 and so on. overwrite: whether a
 *   folder that already holds a run may be used. signal: stops a training in it, see `train`
 * @throws VoxgradError if the folder holds a run and may not be overwritten; PlatformError while another process uses
 *   it
 * @example
 * ```ts
 * import { openRun } from "voxgrad/train";
 *
 * const run = await openRun({ name: "hippocampus" });
 * await run.writeJson("notes.json", { steps: 100 });
 * ```
 */
export async function openRun(
  options: { name: string; folder?: string; overwrite?: boolean; signal?: AbortSignal | undefined },
): Promise<RunFolder> {
  const { name, folder, overwrite = false, signal } = options;
  if (folder) {
    const run = new RunFolder(trimSlashes(folder), { signal });
    await run.lock();
    const taken = (await run.has(MARK)) && (!overwrite || !(await run.holdsRun()));
    if (!taken) return run;
    const isRun = await run.holdsRun();
    await run.unlock();
    throw new VoxgradError(
      isRun
        ? `${run.path}: it holds a run already; name another folder, go on with it by --resume, or begin it again ` +
          "with --overwrite"
        : `${run.path}: its ${MARK} is not that of a run, and a run would write over it; name another folder`,
    );
  }
  const stem = `runs/${name.toLowerCase().replace(/[^a-z0-9]+/g, "_").replace(/^_+|_+$/g, "") || "run"}`;
  for (let number = 1;; number++) {
    const run = new RunFolder(`${stem}-${String(number).padStart(3, "0")}`, { signal });
    if (await platform.exists(run.path)) continue;
    try {
      await run.lock();
    } catch (error) {
      // Another process got there first.
      if (!(error instanceof PlatformError && error.code === "locked")) throw error;
      continue;
    }
    return run;
  }
}
