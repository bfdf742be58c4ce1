/**
 * The interface between the engine and its host. Each host (node.ts, browser.ts) exports one object of type Platform.
 */

/** Progress of long work. */
export interface Progress {
  /** Completed and total units: steps, cases, files. */
  readonly done: number;
  readonly total: number;
  /** One short, self-contained line: "step 40/200  loss 0.412  dice 0.81  3.1 steps/s  52 s left". */
  readonly text: string;
  /** Values to plot live against `done`, by name: `{ loss: 0.41, dice: 0.8 }`. */
  readonly series?: Readonly<Record<string, number>>;
}

/** A WebGPU adapter and why it was chosen. */
export interface AdapterChoice {
  readonly adapter: GPUAdapter;
  /** "software" for CPU implementations (lavapipe, SwiftShader). */
  readonly kind: "hardware" | "software";
  /** Name of the device and its driver, as reported by the driver. */
  readonly driver: string;
  /** One sentence for the user. */
  readonly reason: string;
  /** Limits requested by the environment, to emulate a smaller adapter. */
  readonly limits?: LimitsMode;
  readonly features?: "none";
  /** Kernels requested by the environment. */
  readonly kernels?: KernelsMode;
}

/**
 * Limits to compute within: everything the adapter supports; what WebGPU guarantees everywhere, without features; or
 * what its compatibility mode guarantees.
 */
export type LimitsMode = "adapter" | "default" | "compatibility";

/** Kernels that suit a CPU implementation (registers), or a GPU (workgroup memory, more and shorter invocations). */
export type KernelsMode = "cpu" | "gpu";

export interface AdapterOptions {
  readonly power?: "high-performance" | "low-power";
  /** Part of the adapter's name (case-insensitive), "#1", "NAME#1", or "hardware", "lavapipe", "swiftshader". */
  readonly adapter?: string;
  /** Use a CPU implementation even if there is a GPU. */
  readonly software?: boolean;
  readonly limits?: LimitsMode;
}

/** Engine options that a user can pass to any script. */
export interface EngineFlags {
  /** `--profile`: prints kernel times at the end; with a name, writes the trace to that file. */
  readonly profile: string | boolean;
  /** `--tune`: compiled functions tune their kernels before use. */
  readonly tune: boolean;
  /** `--print-config`: a script prints its options as JSON instead of running. */
  readonly printConfig: boolean;
}

/** A command of voxgrad that runs in a process of its own. */
export interface RunningCommand {
  /** Resolves when it has ended: its exit code (as of a shell: 128 and more after a signal), and its last lines. */
  readonly ended: Promise<{ readonly code: number; readonly tail: readonly string[] }>;
  /** Asks it to end, with a checkpoint where it trains; `now`: at once. */
  stop(now?: boolean): void;
}

/** Threads that run a module's `run(message)`. */
export interface Workers {
  /**
   * The result of `run` for a message, once a thread is free; messages and results are plain data and typed arrays.
   * Rejects with the error that `run` throws: an Error with the same name, message and fields.
   */
  run(message: unknown): Promise<unknown>;
  /** Ends the threads; running tasks are abandoned. */
  close(): Promise<void>;
}

/** The other end of messages: a thread, or what started this one. */
export interface Port {
  /** Sends plain data, typed arrays, Blobs and the like; the buffers in `transfer` move there. */
  post(message: unknown, transfer?: readonly ArrayBuffer[]): void;
  /** Calls `handler` with each message, those waiting first. */
  listen(handler: (message: unknown) => void): void;
}

/** A thread that runs a module. */
export interface Thread extends Port {
  /** Calls `handler` if the thread cannot start, or ends by itself. */
  onEnd(handler: (error: Error) => void): void;
  /** Ends it. */
  close(): void;
}

export interface Platform {
  readonly name: "node" | "browser" | "deno";
  /**
   * The words of the command line after the script's name, without engine flags. From the first call on, this process
   * is a program of voxgrad: flags hold, lines and progress go to the terminal, and interrupts are handled. Until then,
   * it is a host of the library, which leaves all of these alone.
   */
  readCommandLine(): readonly string[];
  /** Whether the module with this `import.meta.url` is the main script, not an import of it. */
  isMain(url: string): boolean;
  /** The engine flags of a program's command line. */
  readonly flags: EngineFlags;
  /** Calls f once, when the script has ended and the GPU is still available. */
  atEnd(f: () => Promise<void>): void;
  /** The best available adapter. Throws, with the fix, if there is none. */
  openAdapter(options?: AdapterOptions): Promise<AdapterChoice>;
  /** Releases the GPU so that the process can end. Devices must not be used afterwards. */
  closeGpu(): void;
  /** Throws PlatformError if the file is missing or unreadable. */
  readFile(path: string): Promise<Uint8Array>;
  /** Writes a file atomically (temporary file, flush, rename), creating its folders. */
  writeFile(path: string, data: Uint8Array | string): Promise<void>;
  /** Appends to a file, creating it and its folders; a kill can only truncate the end. */
  appendFile(path: string, data: string): Promise<void>;
  /** Removes a file, or a folder with its contents; does nothing if it does not exist. */
  remove(path: string): Promise<void>;
  /**
   * The canonical path of a file or folder, with links resolved; if it does not exist, within the canonical path of
   * its folder.
   */
  realPath(path: string): Promise<string>;
  /**
   * Locks a folder for this process until all functions returned by its calls have been called, or the process ends.
   * The lock of a dead process is taken over.
   *
   * Throws PlatformError, "locked", while another process holds it.
   */
  lockFolder(folder: string): Promise<() => Promise<void>>;
  /**
   * Calls `handler` when the process is asked to end (SIGINT, SIGTERM, SIGHUP). The process ends once the script has
   * ended by throwing the error passed to the handler; a second signal ends it immediately. Returns a function that
   * removes the handler. In a host of the library it is never called.
   */
  onInterrupt(handler: (interrupted: Interrupted) => void): () => void;
  /** Removes files that writeFile left incomplete in a folder and its subfolders when its process was killed. */
  removeRemains(folder: string): Promise<void>;
  /** Names, sorted, of everything directly in a folder. Throws PlatformError if there is no such folder. */
  listFiles(folder: string): Promise<string[]>;
  exists(path: string): Promise<boolean>;
  /** Whether files are stored, and not kept in memory, so that it is worth storing what can be computed again. */
  storesFiles(): boolean;
  /** A cache entry of an earlier run, or undefined; cached data can always be recreated. */
  readCache(name: string): Promise<string | undefined>;
  /** Stores a cache entry for later runs; throws if the host cannot store it. */
  writeCache(name: string, text: string): Promise<void>;
  /**
   * Starts `count` threads that load a module, given by its URL; undefined if the host has no threads, or none that see
   * its files.
   */
  readonly openWorkers?: ((module: string, count: number) => Workers) | undefined;
  /**
   * Starts a thread that runs a module, given by its URL, and waits until it listens; undefined where threads are Web
   * Workers. Rejects with what ends it before.
   */
  openThread?(module: string): Promise<Thread>;
  /** What started this thread, by openThread. */
  parentPort?(): Port | undefined;
  /**
   * Starts a command of voxgrad (the name of a script, or "run FILE", and its words) in a process of its own, which
   * ends with this one, however this one ends. Undefined in a page.
   */
  startCommand?(
    words: readonly string[],
    options: {
      /** What VOXGRAD_ADAPTER is there; default: as here. */
      readonly adapter?: string | undefined;
      readonly onLine?: (line: string) => void;
      readonly onProgress?: (progress: Progress) => void;
    },
  ): RunningCommand;
  /** Program and words that run a command of voxgrad, as startCommand takes it, from any folder. */
  commandLine?(words: readonly string[]): readonly string[];
  /** The output of a program of the machine, such as sbatch. Undefined in a page. Throws PlatformError if it fails. */
  runProgram?(program: string, words: readonly string[]): Promise<string>;
  /** Name of the machine and number of the process, to tell workers apart. Undefined in a page. */
  processName?(): string;
  /**
   * Connects to a server of NATS: a connection, and the packages jetstream, kv and objects, whose types not every
   * project has. Undefined in a page. Throws PlatformError if the server or the packages are missing.
   */
  openNats?(server: string, options?: { readonly token?: string | undefined }): Promise<object>;
  /**
   * The sockets of the package zeromq, and what addresses they take; undefined in a page. Throws PlatformError if it is
   * missing.
   */
  openSockets?(): Promise<object>;
  /** Words of the environment, for programs that are started by another one, such as SLURM_PROCID. */
  environment?(name: string): string | undefined;
  /** A line for the user: see setHost. */
  log(line: string): void;
  /** In a program, a line that is rewritten in place on a terminal, elsewhere an occasional plain line: see setHost. */
  progress(progress: Progress): void;
  /** Memory of the process in bytes, if known. */
  memory(): number | undefined;
  /** Total memory of the machine or the container in bytes, if known. */
  totalMemory(): number | undefined;
}

/** A file, device or package that the host could not provide. `code` is stable; the message says what to do. */
export class PlatformError extends Error {
  readonly code:
    | "no-such-file"
    | "not-a-folder"
    | "file-failed"
    | "locked"
    | "no-adapter"
    | "invalid-argument"
    | "no-package";
  /** The file or folder, if any. */
  readonly path: string | undefined;

  constructor(code: PlatformError["code"], message: string, path?: string, cause?: unknown) {
    super(shortened(message), cause === undefined ? undefined : { cause });
    this.name = "PlatformError";
    this.code = code;
    this.path = path;
  }
}

/** A script that was asked to end and did so once its work was saved. */
export class Interrupted extends Error {
  readonly signal: string;
  readonly exitCode: number;

  constructor(signal: string, exitCode: number, message = `Stopped by ${signal}`) {
    super(message);
    this.name = "Interrupted";
    this.signal = signal;
    this.exitCode = exitCode;
  }
}

/** A message with control characters escaped and the middle of very long paths removed. */
function shortened(message: string): string {
  const text = message.replace(
    /[\p{Cc}\p{Cs}]/gu,
    (c) => (c === "\n" ? c : `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`),
  );
  return new TextEncoder().encode(text).length <= 2000 ? text : `${text.slice(0, 400)} ... ${text.slice(-180)}`;
}
