import { realpathSync } from "node:fs";
import {
  access,
  appendFile,
  constants,
  mkdir,
  open,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  stat,
} from "node:fs/promises";
import { totalmem } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { cacheDir } from "./cache_dir.mjs";
import { isRunning, lockFolder } from "./folder_lock.ts";
import { onInterrupt } from "./interrupts.ts";
import { printable, put } from "./terminal.ts";
import type { EngineFlags, Platform, Progress } from "./types.ts";
import { PlatformError } from "./types.ts";
import { splitFlags } from "./engine_flags.ts";
import { openWorkers } from "./worker_threads.ts";

let live = false;
let lastProgress = -Infinity;
let temporaries = 0;
const ends: (() => Promise<void>)[] = [];

/** Runs the callbacks registered for the end of the script. */
export async function endScript(): Promise<void> {
  for (let f = ends.shift(); f; f = ends.shift()) await f();
}

/** Shared by Node and Deno, which provides Node's modules: command line, files, terminal. */
export const processHost: Omit<Platform, "name" | "openAdapter" | "closeGpu"> = {
  get args(): readonly string[] {
    return splitFlags(process.argv.slice(2)).args;
  },

  isMain(url: string): boolean {
    const script = process.argv[1];
    if (script === undefined || !url.startsWith("file:")) return false;
    const real = (path: string): string => {
      try {
        return realpathSync(path);
      } catch {
        return path;
      }
    };
    return real(script) === real(fileURLToPath(url));
  },

  get flags(): EngineFlags {
    return splitFlags(process.argv.slice(2)).flags;
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
      // The original error matters, not a failed cleanup.
      await rm(temporary, { force: true }).catch(() => undefined);
      throw await writeError(error, path);
    }
  },

  async appendFile(path: string, data: string): Promise<void> {
    try {
      await mkdir(dirname(resolve(path)), { recursive: true });
      await appendFile(path, data);
    } catch (error) {
      throw await writeError(error, path);
    }
  },

  async remove(path: string): Promise<void> {
    try {
      await rm(path, { recursive: true, force: true });
    } catch (error) {
      throw fileError(error, path, "remove");
    }
  },

  async realPath(path: string): Promise<string> {
    const whole = resolve(path);
    try {
      return await realpath(whole);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== "ENOENT" || dirname(whole) === whole) throw fileError(error, path, "find");
      return join(await processHost.realPath(dirname(whole)), basename(whole));
    }
  },

  async lockFolder(folder: string): Promise<() => Promise<void>> {
    try {
      return await lockFolder(folder);
    } catch (error) {
      throw error instanceof PlatformError ? error : await writeError(error, folder);
    }
  },

  onInterrupt,

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
    put(`${printable(line)}\n`);
  },

  progress(progress: Progress): void {
    const finished = progress.done >= progress.total;
    const text = printable(progress.text);
    if (process.stdout.isTTY) {
      put(`\r\x1b[2K${text.slice(0, Math.max(20, (process.stdout.columns ?? 80) - 1))}`);
      live = !finished;
      if (finished) put("\n");
      return;
    }
    const now = performance.now();
    if (!finished && now - lastProgress < 10_000) return;
    lastProgress = now;
    put(`${text}\n`);
  },

  memory: (): number => process.memoryUsage.rss(),

  totalMemory(): number {
    // Missing in some versions, and 0 or huge if there is no limit.
    const limit = process.constrainedMemory?.() ?? 0;
    return limit > 0 ? Math.min(limit, totalmem()) : totalmem();
  },
};

function clearLive(): void {
  if (live) put("\r\x1b[2K");
  live = false;
}

/** Node's mkdir reports ENOENT for other failures too; the parent folder tells which. */
async function writeError(error: unknown, path: string): Promise<PlatformError> {
  if ((error as NodeJS.ErrnoException).code !== "ENOENT") return fileError(error, path, "write");
  let folder = dirname(resolve(path));
  while (folder !== dirname(folder) && !(await processHost.exists(folder))) folder = dirname(folder);
  return access(folder, constants.W_OK).then(
    () => fileError(error, path, "write"),
    (reason: unknown) => fileError(reason, path, "write"),
  );
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
