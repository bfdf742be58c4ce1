/** What the library says, and the files that it works in: those of its host, unless setHost gives others. */
import { type FileSystem, type HostFiles, normalPath } from "./files/file_system.ts";
import { memoryFiles } from "./files/memory_files.ts";
import { hasMounts, mountOf } from "./files/mounts.ts";
import { printable } from "./printable.ts";
import { type Platform, PlatformError, type Progress } from "./types.ts";

// The engine is type-checked without a host's types.
declare const console: { log(line: string): void };

/** What a page, a service or another program gives the library that it uses; what is undefined is as by default. */
export interface HostOptions {
  /** Takes the lines of trainings and whole predictions, and warnings; default: console.log. */
  readonly log?: ((line: string) => void) | undefined;
  /** Takes the progress of long work; default: nobody. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  /** The files of all functions that take paths; default: the disk in Node and Deno, files in memory in a page. */
  readonly files?: FileSystem | undefined;
}

interface Defaults {
  readonly log: (line: string) => void;
  readonly onProgress: (progress: Progress) => void;
  readonly files: HostFiles;
}

let given: HostOptions = {};
let defaults: Defaults = {
  log: (line) => console.log(printable(line)),
  onProgress: () => undefined,
  files: memoryFiles(),
};

/** Sets what holds where setHost says nothing. */
export function setDefaults(options: Partial<Defaults>): void {
  defaults = { ...defaults, ...options };
}

/**
 * Tells the library where its lines, its progress and its files go. Without it, the library is a silent guest of a
 * program: trainings and warnings say their lines by console.log, and everything else says nothing. It reads no command
 * line, writes no environment variable, and listens to no signals or events; `voxgrad run` and `voxgrad serve` do.
 *
 * @param options replace those set before; `undefined` brings the default back, what is left out stays
 * @throws PlatformError, "invalid-argument", for an unknown option or one of the wrong kind
 * @example
 * ```ts
 * import { setHost } from "voxgrad";
 *
 * setHost({ log: (line) => console.log(`[voxgrad] ${line}`), onProgress: ({ text }) => console.log(text) });
 * setHost({ log: undefined, onProgress: undefined });
 * ```
 */
export function setHost(options: HostOptions): void {
  const fits: Record<keyof HostOptions, (value: unknown) => boolean> = {
    log: (value) => typeof value === "function",
    onProgress: (value) => typeof value === "function",
    files: (value) => typeof (value as FileSystem | null)?.read === "function",
  };
  const wanted = "log(line) and onProgress({ done, total, text }), functions, and files, a FileSystem";
  for (const [key, value] of Object.entries(options)) {
    const fit = Object.hasOwn(fits, key) ? fits[key as keyof HostOptions] : undefined;
    if (!fit) throw new PlatformError("invalid-argument", `setHost: unknown option "${key}"; there are ${wanted}`);
    if (value !== undefined && !fit(value)) {
      throw new PlatformError("invalid-argument", `setHost: ${key} is ${typeof value}; it takes ${wanted}`);
    }
  }
  given = { ...given, ...options };
}

/** Whether the host's own files are a disk, whose paths may lead anywhere. */
const hasDisk = (): boolean => defaults.files.inMemory !== true;

/** Whether all files are on the disk, which worker threads see too. */
export const onDisk = (): boolean => hasDisk() && given.files === undefined && !hasMounts();

/** The files that a path lies in, and its path there. */
function place(path: string): { files: HostFiles; at: string } {
  const mount = mountOf(path);
  if (mount) return mount;
  if (given.files) return { files: given.files, at: normalPath(path) };
  return { files: defaults.files, at: hasDisk() ? path : normalPath(path) };
}

/** Calls a function of the files of a path; what it throws names the path. */
async function attempt<T>(verb: string, path: string, call: (files: HostFiles, at: string) => Promise<T>): Promise<T> {
  const { files, at } = place(path);
  try {
    return await call(files, at);
  } catch (error) {
    if (error instanceof PlatformError) throw error;
    throw new PlatformError("file-failed", `Cannot ${verb} ${path}: ${(error as Error)?.message}`, path, error);
  }
}

function missing(verb: string, path: string, what: string): PlatformError {
  const hint = place(path).files.inMemory ? " (only those exist that were chosen in the page or written here)" : "";
  return new PlatformError("no-such-file", `Cannot ${verb} ${path}: there is no such ${what}${hint}`, path);
}

const encoder = new TextEncoder();
const bytesOf = (data: Uint8Array | string): Uint8Array => typeof data === "string" ? encoder.encode(data) : data;

type Guest =
  | "log"
  | "progress"
  | "readFile"
  | "writeFile"
  | "appendFile"
  | "remove"
  | "realPath"
  | "lockFolder"
  | "removeRemains"
  | "listFiles"
  | "exists"
  | "storesFiles";

/** The part of each platform that setHost decides about. */
export const guest: Pick<Platform, Guest> = {
  log: (line) => (given.log ?? defaults.log)(line),
  progress: (progress) => (given.onProgress ?? defaults.onProgress)(progress),

  async readFile(path) {
    const bytes = await attempt("read", path, (files, at) => files.read(at));
    if (!bytes) throw missing("read", path, "file");
    return bytes;
  },
  writeFile: (path, data) => attempt("write", path, (files, at) => files.write(at, bytesOf(data))),
  appendFile: (path, data) => attempt("write", path, (files, at) => files.append(at, bytesOf(data))),
  remove: (path) => attempt("remove", path, (files, at) => files.remove(at)),

  async listFiles(folder) {
    const names = await attempt("list", folder, (files, at) => files.list(at));
    if (names) return names.sort();
    if (!(await guest.exists(folder))) throw missing("list", folder, "folder");
    throw new PlatformError("not-a-folder", `Cannot list ${folder}: a file stands where a folder is needed`, folder);
  },
  exists: (path) => attempt("find", path, (files, at) => files.exists(at)),

  realPath: (path) =>
    attempt("find", path, async (files, at) => (await files.realPath?.(at)) ?? (mountOf(path) ? normalPath(path) : at)),
  async lockFolder(folder) {
    const unlocked = async (): Promise<void> => undefined;
    const release = await attempt("lock", folder, async (files, at) => files.lock ? await files.lock(at) : unlocked);
    if (release) return release;
    const fix = "stop it there, or name another folder";
    throw new PlatformError("locked", `${folder}: another page or process works in it; ${fix}`, folder);
  },
  removeRemains: (folder) => attempt("tidy", folder, async (files, at) => files.removeRemains?.(at)),
  storesFiles: () => (given.files ?? defaults.files).inMemory !== true,
};
