/** The folder of one run: what it was started with, what it measured, what it made. */
import { platform } from "#platform";
import { VoxgradError } from "../core/errors.ts";

/** A file of every run; a folder that has it holds one. */
const MARK = "config.json";

export class RunFolder {
  readonly path: string;
  readonly #written: string[] = [];
  #outer: RunFolder | undefined;

  constructor(path: string) {
    this.path = path;
  }

  /** Paths of the files written so far, in order. */
  get written(): readonly string[] {
    return this.#written;
  }

  /** The files written so far, one a line; those of a folder inside as one line with their number. */
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

  /** Writes a file of the run, whole or not at all, and gives its path. */
  async write(name: string, data: Uint8Array | string): Promise<string> {
    const path = `${this.path}/${name}`;
    await platform.writeFile(path, data);
    this.#note(path);
    return path;
  }

  /** Adds to the end of a file of the run. */
  async append(name: string, text: string): Promise<void> {
    const path = `${this.path}/${name}`;
    await platform.appendFile(path, text);
    this.#note(path);
  }

  /** A folder inside, whose files count as written here. */
  folder(name: string): RunFolder {
    const inner = new RunFolder(`${this.path}/${name}`);
    inner.#outer = this;
    return inner;
  }

  #note(path: string): void {
    if (this.#outer) this.#outer.#note(path);
    if (!this.#written.includes(path)) this.#written.push(path);
  }

  /** Writes a value as JSON; NaN and infinity, which JSON does not have, become null. */
  writeJson(name: string, value: unknown): Promise<string> {
    return this.write(name, `${JSON.stringify(value, null, 1)}\n`);
  }

  /** Whether the folder has a file or folder of that name. */
  has(name: string): Promise<boolean> {
    return platform.exists(`${this.path}/${name}`);
  }

  /** The text of a file of the run. Throws PlatformError where it cannot be read. */
  async readText(name: string): Promise<string> {
    return new TextDecoder().decode(await platform.readFile(`${this.path}/${name}`));
  }

  /** The value of a JSON file of the run; undefined where there is no such file. */
  async readJson(name: string): Promise<any> {
    const path = `${this.path}/${name}`;
    if (!(await platform.exists(path))) return undefined;
    return readJson(path);
  }
}

/**
 * The value of a JSON file.
 *
 * @throws VoxgradError when it is no JSON; PlatformError when it cannot be read
 */
export async function readJson(path: string): Promise<any> {
  const text = new TextDecoder().decode(await platform.readFile(path));
  try {
    return JSON.parse(text.replace(/^\uFEFF/, ""));
  } catch (cause) {
    throw new VoxgradError(`${path}: it is no JSON (${(cause as Error).message}); correct it or write it anew`, { cause });
  }
}

/**
 * Opens the folder of an earlier run, to go on with it. What a kill left half written is removed.
 *
 * @throws VoxgradError when the folder holds no run
 */
export async function resumeRun(folder: string): Promise<RunFolder> {
  const path = folder.replace(/(?<=.)\/+$/, "");
  if (!(await platform.exists(`${path}/${MARK}`))) {
    throw new VoxgradError(`${path}: it holds no run (there is no ${MARK}); name a folder that a training wrote`);
  }
  await platform.removeRemains(path);
  return new RunFolder(path);
}

/**
 * Opens a new run folder. Nothing is written yet.
 *
 * @param options folder: where; without it the first free of runs/NAME-001, runs/NAME-002 and so on. overwrite: whether
 *   a folder that holds a run already may be used
 * @throws VoxgradError when the folder holds a run and may not be overwritten
 * @example const run = await openRun({ name: "hippocampus" }); await run.writeJson("config.json", options);
 */
export async function openRun(options: { name: string; folder?: string; overwrite?: boolean }): Promise<RunFolder> {
  const { name, folder, overwrite = false } = options;
  if (folder) {
    const path = folder.replace(/(?<=.)\/+$/, "");
    if (!overwrite && (await platform.exists(`${path}/${MARK}`))) {
      const fix = "name another folder, or allow to overwrite it with --overwrite";
      throw new VoxgradError(`${path}: it holds a run already; ${fix}`);
    }
    return new RunFolder(path);
  }
  const stem = `runs/${name.toLowerCase().replace(/[^a-z0-9]+/g, "_").replace(/^_+|_+$/g, "") || "run"}`;
  for (let number = 1; ; number++) {
    const path = `${stem}-${String(number).padStart(3, "0")}`;
    if (!(await platform.exists(path))) return new RunFolder(path);
  }
}
