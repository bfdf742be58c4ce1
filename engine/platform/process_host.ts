import { realpathSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { totalmem } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { cacheDir } from "./cache_dir.mjs";
import { commandLine, followParent, processName, runProgram, startCommand } from "./remote/command.ts";
import { NO_FLAGS, splitFlags } from "./engine_flags.ts";
import { diskFiles } from "./files/disk_files.ts";
import { guest, onDisk, setDefaults } from "./host.ts";
import { onInterrupt } from "./interrupts.ts";
import { openNats } from "./remote/nats.ts";
import { openSockets } from "./remote/sockets.ts";
import { program } from "./program.ts";
import { putLine, putProgress } from "./terminal.ts";
import type { EngineFlags, Platform } from "./types.ts";
import { openThread, parent } from "./thread.ts";
import { openWorkers } from "./worker_threads.ts";

setDefaults({ files: diskFiles });

const ends: (() => Promise<void>)[] = [];

/** Runs the callbacks registered for the end of the script. */
export async function endScript(): Promise<void> {
  for (let f = ends.shift(); f; f = ends.shift()) await f();
}

/** See Platform.readCommandLine. */
function readCommandLine(): readonly string[] {
  program.runs = true;
  setDefaults({ log: putLine, onProgress: followParent() ?? putProgress });
  return splitFlags(process.argv.slice(2)).args;
}

/** The flags of a program's command line, for the getter of each platform. */
export const programFlags = (): EngineFlags => program.runs ? splitFlags(process.argv.slice(2)).flags : NO_FLAGS;

/** The threads of a platform, for the getter of each: they see the disk and no other files. */
export const workersOnDisk = (): Platform["openWorkers"] => onDisk() ? openWorkers : undefined;

/** Shared by Node and Deno, which provides Node's modules: command line, files, terminal. */
export const processHost: Omit<Platform, "name" | "flags" | "openAdapter" | "closeGpu"> = {
  ...guest,
  readCommandLine,

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

  atEnd(f: () => Promise<void>): void {
    if (ends.length === 0) process.once("beforeExit", () => void endScript());
    ends.push(f);
  },

  onInterrupt,

  readCache: (name: string): Promise<string | undefined> =>
    readFile(join(cacheDir(), name), "utf8").catch(() => undefined),

  writeCache: (name: string, text: string): Promise<void> =>
    diskFiles.write(join(cacheDir(), name), new TextEncoder().encode(text)),

  openThread,
  parentPort: () => parent,

  commandLine,
  startCommand,
  runProgram,
  processName,
  openNats,
  openSockets,
  environment: (name) => process.env[name],

  memory: (): number => process.memoryUsage.rss(),

  totalMemory(): number {
    // Missing in some versions, and 0 or huge if there is no limit.
    const limit = process.constrainedMemory?.() ?? 0;
    return limit > 0 ? Math.min(limit, totalmem()) : totalmem();
  },
};
