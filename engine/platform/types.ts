/** What the engine asks of its host. Each host (node.ts, browser.ts) offers one object of type Platform. */

/** State of long work. */
export interface Progress {
  /** Units done and in all: steps, cases, files. */
  readonly done: number;
  readonly total: number;
  /** One short line, complete in itself: "step 40/200  loss 0.412  dice 0.81  3.1 steps/s  52 s left". */
  readonly text: string;
  /** Values to plot live against `done`, by name: `{ loss: 0.41, dice: 0.8 }`. */
  readonly series?: Readonly<Record<string, number>>;
}

/** A WebGPU adapter and why it was chosen. */
export interface AdapterChoice {
  readonly adapter: GPUAdapter;
  /** "software" when the CPU does the work (lavapipe, SwiftShader). */
  readonly kind: "hardware" | "software";
  /** Name of the device and its driver, as the driver gives it. */
  readonly driver: string;
  /** One sentence for the user. */
  readonly reason: string;
  /** What the environment asks for, to act as a smaller adapter. */
  readonly limits?: LimitsMode;
  readonly features?: "none";
}

/**
 * Limits to compute within: all that the adapter has; what WebGPU promises everywhere, without any feature; or what its
 * compatibility mode promises.
 */
export type LimitsMode = "adapter" | "default" | "compatibility";

export interface AdapterOptions {
  readonly power?: "high-performance" | "low-power";
  /** Part of the adapter's name (any case), or "hardware", "lavapipe", "swiftshader". */
  readonly adapter?: string;
  /** Ask for a CPU implementation although there is a GPU. */
  readonly software?: boolean;
  readonly limits?: LimitsMode;
}

/** What a user may ask of the engine beside any script's own options. */
export interface EngineFlags {
  /** `--profile`: where the time went, printed at the end; with a name, the trace goes to that file. */
  readonly profile: string | boolean;
  /** `--tune`: compiled functions measure which variants of their kernels are fastest. */
  readonly tune: boolean;
}

/** Threads that run a module's `run(message)`. */
export interface Workers {
  /**
   * What `run` gives for a message, once a thread is free; messages and results are plain data and typed arrays.
   * Rejects with what it throws: an Error of that name, message and fields.
   */
  run(message: unknown): Promise<unknown>;
  /** Ends the threads; what still runs is given up. */
  close(): Promise<void>;
}

/**
 * What a script asks of the visitor of its page: files, marks on the slices of scans, and when to go on. All texts are
 * for the visitor.
 */
export interface PanelForm {
  readonly title: string;
  /** What is to be done, in a sentence or two. */
  readonly about: string;
  /** Files to choose, by name: a field opens once those before it are filled that are not optional. */
  readonly files: Readonly<Record<string, PanelFiles>>;
  /** Scans to scroll through, by name, side by side. */
  readonly views: Readonly<Record<string, PanelSlices>>;
  /** Colors of labels from 1 on, as #rrggbb; that many classes can be marked. */
  readonly colors: readonly string[];
}

/** A field for files. */
export interface PanelFiles {
  readonly label: string;
  readonly about: string;
  /** Endings, with commas between: ".nii,.gz". */
  readonly accept: string;
  readonly multiple?: boolean;
  /** May stay empty, and be emptied again. */
  readonly optional?: boolean;
}

/** A place for the slices of a scan. */
export interface PanelSlices {
  readonly label: string;
  readonly about: string;
  /** What stands there while there is no scan. */
  readonly empty: string;
  /** Whether the visitor may paint labels on it. */
  readonly paint?: boolean;
  /** A button below it, for what is done with it. */
  readonly button?: string;
}

/** What a visitor did: chose files, none to empty a field, or pressed the button of a view. */
export type PanelAct =
  | { readonly type: "files"; readonly name: string; readonly paths: readonly string[] }
  | {
    readonly type: "press";
    readonly name: string;
    /** Labels of the voxels of each view that may be painted and shows a scan. */
    readonly marks: Readonly<Record<string, Uint8Array<ArrayBuffer>>>;
  };

/** Slices as they stand on the screen. */
export interface PanelScan {
  readonly name: string;
  /** Gray values of [slices, rows, columns], and of further channels, which are not shown. */
  readonly data: ArrayLike<number>;
  readonly shape: readonly [slices: number, rows: number, columns: number];
  /** mm from row to row, and from column to column. */
  readonly pixel: readonly [down: number, across: number];
  /** The values that are black and white at first. */
  readonly window: readonly [black: number, white: number];
}

/** What is new in a view; what is left out stays, but a scan comes without labels and file. */
export interface PanelContent {
  readonly scan?: PanelScan;
  /** Class of each voxel of the scan. */
  readonly labels?: Uint8Array<ArrayBuffer>;
  /** A file that the script has written, to be saved by a button. */
  readonly file?: string;
}

/** How a script speaks in its panel. */
export interface PagePanel {
  /** What is being done, or was. */
  say(text: string): void;
  /** What a field holds; "" for nothing. */
  note(field: string, text: string): void;
  /** Shows the same in one view or several; without content they become empty. */
  show(views: readonly string[], content?: PanelContent): void;
}

export interface Platform {
  readonly name: "node" | "browser" | "deno";
  /** The words after the script's name on the command line, without those that are for the engine. */
  readonly args: readonly string[];
  /** Whether the module with this `import.meta.url` is the script that the user runs, not one that it imports. */
  isMain(url: string): boolean;
  /** What the command line asks of the engine, whatever the script. */
  readonly flags: EngineFlags;
  /** Calls f once, when the script has ended and the GPU is still there. */
  atEnd(f: () => Promise<void>): void;
  /** The best adapter here. Throws, with the fix, when there is none. */
  openAdapter(options?: AdapterOptions): Promise<AdapterChoice>;
  /** Lets go of the GPU so that the process can end. Devices must not be used afterwards. */
  closeGpu(): void;
  /** Throws PlatformError when the file is missing or cannot be read. */
  readFile(path: string): Promise<Uint8Array>;
  /** Writes the whole file or nothing (temporary file, flush, rename), making its folders. */
  writeFile(path: string, data: Uint8Array | string): Promise<void>;
  /** Adds to the end of a file, making it and its folders; what a kill cuts off is at the end. */
  appendFile(path: string, data: string): Promise<void>;
  /** Removes a file, or a folder with all that is in it; nothing happens where there is none. */
  remove(path: string): Promise<void>;
  /**
   * The one name of a file or folder, whatever links lead to it; of one that does not exist, below that of its folder.
   */
  realPath(path: string): Promise<string>;
  /**
   * Makes this process the owner of a folder, until the functions that its calls give are called or the process ends.
   * The lock of a process that is gone is taken over.
   *
   * Throws PlatformError, "locked", while another process holds it.
   */
  lockFolder(folder: string): Promise<() => Promise<void>>;
  /**
   * Calls `handler` when the process is asked to end (SIGINT, SIGTERM, SIGHUP), which then does so when the script has
   * ended by throwing what it is given; asked a second time it ends at once. Gives a function that takes the handler
   * off.
   */
  onInterrupt(handler: (interrupted: Interrupted) => void): () => void;
  /** Removes what writeFile left half written in a folder, and those inside, when its process was killed. */
  removeRemains(folder: string): Promise<void>;
  /** Names, sorted, of all that lies directly in a folder. Throws PlatformError when there is no such folder. */
  listFiles(folder: string): Promise<string[]>;
  exists(path: string): Promise<boolean>;
  /** What was kept under a name by an earlier run, if anything; what is kept can always be made again. */
  readCache(name: string): Promise<string | undefined>;
  /** Keeps a text for later runs; throws where the host has no place for it. */
  writeCache(name: string, text: string): Promise<void>;
  /** Starts `count` threads that load a module, given by its URL; missing where the host has no threads to give. */
  openWorkers?(module: string, count: number): Workers;
  /**
   * Puts a panel into the page and answers what the visitor does in it, one thing after another, until the page is
   * closed. Chosen files lie in a folder of their field's name. What `answer` throws is told to the visitor, who may go
   * on. Missing where there is no page.
   */
  openPanel?(form: PanelForm, answer: (act: PanelAct, panel: PagePanel) => Promise<void>): Promise<never>;
  log(line: string): void;
  /** A line that rewrites itself on a terminal; elsewhere a plain line now and then. */
  progress(progress: Progress): void;
  /** Bytes of memory that the process holds, where the host tells. */
  memory(): number | undefined;
  /** Bytes of memory that the machine, or the container, has in all, where the host tells. */
  totalMemory(): number | undefined;
}

/** A file or a device that the host could not provide. `code` is stable; the message says what to do. */
export class PlatformError extends Error {
  readonly code: "no-such-file" | "not-a-folder" | "file-failed" | "locked" | "no-adapter";
  /** The file or folder, where there is one. */
  readonly path: string | undefined;

  constructor(code: PlatformError["code"], message: string, path?: string, cause?: unknown) {
    super(shortened(message), cause === undefined ? undefined : { cause });
    this.name = "PlatformError";
    this.code = code;
    this.path = path;
  }
}

/** A script that was asked to end, and did so once its work was safe. */
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

/** A message with what a terminal would obey written out, and without the middle of a very long path. */
function shortened(message: string): string {
  const text = message.replace(
    /[\p{Cc}\p{Cs}]/gu,
    (c) => (c === "\n" ? c : `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`),
  );
  return new TextEncoder().encode(text).length <= 2000 ? text : `${text.slice(0, 400)} ... ${text.slice(-180)}`;
}
