import { appendFile, mkdir, open, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { totalmem } from "node:os";
import { dirname, join, resolve } from "node:path";
import process from "node:process";
import { cacheDir } from "./cli/cache_dir.mjs";
import type { Platform, Progress, Wishes } from "./types.ts";
import { PlatformError } from "./types.ts";
import { splitWords } from "./words.ts";
import { openWorkers } from "./worker_threads.ts";

let live = false;
let lastProgress = -Infinity;
let temporaries = 0;
const ends: (() => Promise<void>)[] = [];

/** Runs what waits for the end of the script. */
export async function endScript(): Promise<void> {
  for (let f = ends.shift(); f; f = ends.shift()) await f();
}

/** What is the same in Node and in Deno, which has Node's modules: the command line, files, the terminal. */
export const processHost: Omit<Platform, "name" | "openAdapter" | "closeGpu"> = {
  get args(): readonly string[] {
    return splitWords(process.argv.slice(2)).args;
  },

  get wishes(): Wishes {
    return splitWords(process.argv.slice(2)).wishes;
  },

  atEnd(f: () => Promise<void>): void {
    if (ends.length === 0) process.once("beforeExit", () => void endScript());
    ends.push(f);
  },

  async readFile(path: string): Promise<Uint8Array> {
    try {
      const bytes = await readFile(path);
      return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    } catch (error) {
      throw fileError(error, path, "read");
    }
  },

  async writeFile(path: string, data: Uint8Array | string): Promise<void> {
    const target = resolve(path);
    const temporary = join(dirname(target), `.${process.pid}.${temporaries++}.tmp`);
    try {
      await mkdir(dirname(target), { recursive: true });
      const file = await open(temporary, "w");
      try {
        await file.writeFile(data);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(temporary, target);
    } catch (error) {
      // What went wrong is what counts, not that its remains could not be removed.
      await rm(temporary, { force: true }).catch(() => undefined);
      throw fileError(error, path, "write");
    }
  },

  async appendFile(path: string, data: string): Promise<void> {
    try {
      await mkdir(dirname(resolve(path)), { recursive: true });
      await appendFile(path, data);
    } catch (error) {
      throw fileError(error, path, "write");
    }
  },

  async removeRemains(folder: string): Promise<void> {
    for (const name of await readdir(folder, { recursive: true }).catch(() => [])) {
      const [, pid] = /(?:^|[\\/])\.(\d+)\.\d+\.tmp$/.exec(name) ?? [];
      if (pid !== undefined && !isRunning(Number(pid))) await rm(join(folder, name), { force: true });
    }
  },

  async listFiles(folder: string): Promise<string[]> {
    try {
      return (await readdir(folder)).sort();
    } catch (error) {
      throw fileError(error, folder, "list");
    }
  },

  exists: (path: string): Promise<boolean> =>
    stat(path).then(
      () => true,
      () => false,
    ),

  readCache: (name: string): Promise<string | undefined> =>
    readFile(join(cacheDir(), name), "utf8").catch(() => undefined),

  writeCache: (name: string, text: string): Promise<void> => processHost.writeFile(join(cacheDir(), name), text),

  openWorkers,

  log(line: string): void {
    clearLive();
    process.stdout.write(line + "\n");
  },

  progress(progress: Progress): void {
    const finished = progress.done >= progress.total;
    if (process.stdout.isTTY) {
      const text = progress.text.slice(0, Math.max(20, (process.stdout.columns ?? 80) - 1));
      process.stdout.write(`\r\x1b[2K${text}`);
      live = !finished;
      if (finished) process.stdout.write("\n");
      return;
    }
    const now = performance.now();
    if (!finished && now - lastProgress < 10_000) return;
    lastProgress = now;
    process.stdout.write(progress.text + "\n");
  },

  memory: (): number => process.memoryUsage.rss(),

  totalMemory(): number {
    // Not in every version, and 0 or huge where nothing constrains.
    const limit = process.constrainedMemory?.() ?? 0;
    return limit > 0 ? Math.min(limit, totalmem()) : totalmem();
  },
};

/** Whether there is a process of that number. */
function isRunning(pid: number): boolean {
  if (pid === process.pid) return true;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}

function clearLive(): void {
  if (live) process.stdout.write("\r\x1b[2K");
  live = false;
}

function fileError(error: unknown, path: string, verb: string): PlatformError {
  const { code: reason, message } = error as NodeJS.ErrnoException;
  if (reason === "ENOENT") {
    return new PlatformError("no-such-file", `Cannot ${verb} ${path}: there is no such file or folder`, path, error);
  }
  if (reason === "ENOTDIR" || (reason === "EEXIST" && verb === "write")) {
    return new PlatformError(
      "not-a-folder",
      `Cannot ${verb} ${path}: a file stands where a folder is needed`,
      path,
      error,
    );
  }
  return new PlatformError("file-failed", `Cannot ${verb} ${path}: ${message}`, path, error);
}
