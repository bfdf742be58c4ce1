import type {
  AdapterChoice,
  AdapterOptions,
  PagePanel,
  PanelAct,
  PanelContent,
  PanelForm,
  Platform,
  Progress,
} from "./types.ts";
import { PlatformError } from "./types.ts";
import { splitFlags } from "./engine_flags.ts";
import { SCRIPT_MARK } from "./script_mark.ts";

/** Messages from a script to its page. In the page itself they are "voxgrad" events of the window. */
export type Message =
  | { type: "log"; line: string }
  | { type: "progress"; progress: Progress }
  | { type: "adapter"; driver: string; kind: AdapterChoice["kind"]; reason: string }
  | { type: "file"; path: string; content: Blob }
  | { type: "panel"; form: PanelForm }
  | { type: "say"; text: string }
  | { type: "note"; field: string; text: string }
  | { type: "view"; views: readonly string[]; content: PanelContent | undefined }
  /** The visitor's last action was handled; `problem` says why it failed. */
  | { type: "answered"; problem: string | undefined }
  | { type: "done" }
  | { type: "error"; message: string; stack: string };

/** Start parameters of a worker, passed as JSON in its name; files are sent before the script is loaded. */
export interface Start {
  readonly args: readonly string[];
}

/** An action of the visitor in the panel, with the chosen files. */
export interface ActMessage {
  readonly act: PanelAct;
  readonly files: readonly (readonly [path: string, content: Blob])[];
}

interface Host {
  readonly name: string;
  readonly document?: unknown;
  postMessage(message: unknown): void;
  dispatchEvent(event: Event): boolean;
}

const host = globalThis as unknown as Host;
const inWorker = host.document === undefined;
/** Whether the page of `voxgrad serve` started this worker. */
const served = inWorker && host.name.startsWith("{");
let takeAct: ((act: PanelAct) => void) | undefined;
const ends: (() => Promise<void>)[] = [];
const files = new Map<string, Uint8Array | Blob>();

/** A web page or one of its workers: the browser's WebGPU, files in memory. */
export const platform: Platform = {
  name: "browser",
  ...splitFlags(startArguments()),

  isMain: (url: string): boolean => url.endsWith(SCRIPT_MARK),

  atEnd(f: () => Promise<void>): void {
    ends.push(f);
  },

  async openAdapter(options: AdapterOptions = {}): Promise<AdapterChoice> {
    const { gpu } = navigator as { gpu?: GPU };
    if (!gpu) {
      throw new PlatformError(
        "no-adapter",
        "This browser offers no WebGPU here: use Chrome or Edge 113, Firefox 141, Safari 26 or later, " +
          "and open the page from localhost or over https",
      );
    }
    const adapter = await gpu.requestAdapter({
      powerPreference: options.power ?? "high-performance",
      forceFallbackAdapter: options.software ?? false,
    });
    if (!adapter) {
      throw new PlatformError("no-adapter", "The browser has WebGPU but no GPU for it: its page chrome://gpu says why");
    }
    const { vendor, architecture, device, description } = adapter.info;
    const driver = [description || device || vendor, architecture].filter((part) => part !== "").join(", ") || "GPU";
    const software = adapter.info.isFallbackAdapter || /swiftshader|llvmpipe|basic render/i.test(vendor + driver);
    const kind = software ? "software" : "hardware";
    const choice: AdapterChoice = { adapter, kind, driver, reason: "the browser chose it" };
    send({ type: "adapter", driver, kind, reason: choice.reason });
    return choice;
  },

  closeGpu(): void {},

  async readFile(path: string): Promise<Uint8Array> {
    const content = files.get(normal(path));
    if (!content) {
      const hint = "in a page only files that were chosen there or written by the script exist";
      throw new PlatformError("no-such-file", `Cannot read ${path}: there is no such file (${hint})`, path);
    }
    return content instanceof Uint8Array ? content.slice() : new Uint8Array(await content.arrayBuffer());
  },

  async writeFile(path: string, data: Uint8Array | string): Promise<void> {
    const bytes = typeof data === "string" ? new TextEncoder().encode(data) : data.slice();
    files.set(normal(path), bytes);
    send({ type: "file", path: normal(path), content: new Blob([bytes as Uint8Array<ArrayBuffer>]) });
  },

  async appendFile(path: string, data: string): Promise<void> {
    const before = (await platform.exists(path)) ? await platform.readFile(path) : new Uint8Array();
    const added = new TextEncoder().encode(data);
    const joined = new Uint8Array(before.length + added.length);
    joined.set(before);
    joined.set(added, before.length);
    await platform.writeFile(path, joined);
  },

  async remove(path: string): Promise<void> {
    const wanted = normal(path);
    for (const each of [...files.keys()]) if (each === wanted || each.startsWith(`${wanted}/`)) files.delete(each);
  },

  realPath: async (path: string): Promise<string> => normal(path),

  // Files belong to the page, and closing the page ends its work.
  lockFolder: async (): Promise<() => Promise<void>> => async () => undefined,
  onInterrupt: (): () => void => () => undefined,

  async removeRemains(): Promise<void> {},

  async listFiles(folder: string): Promise<string[]> {
    const start = normal(folder) === "" ? "" : `${normal(folder)}/`;
    const names = new Set<string>();
    for (const path of files.keys()) {
      if (path.startsWith(start)) names.add(path.slice(start.length).split("/")[0]);
    }
    if (names.size > 0) return [...names].sort();
    if (files.has(normal(folder))) {
      throw new PlatformError("not-a-folder", `Cannot list ${folder}: a file stands where a folder is needed`, folder);
    }
    throw new PlatformError(
      "no-such-file",
      `Cannot list ${folder}: there is no such folder; choose it in the page`,
      folder,
    );
  },

  async exists(path: string): Promise<boolean> {
    const wanted = normal(path);
    if (files.has(wanted)) return true;
    for (const each of files.keys()) if (each.startsWith(`${wanted}/`)) return true;
    return false;
  },

  readCache: async (name: string): Promise<string | undefined> =>
    (await caches.open("voxgrad").then((cache) => cache.match(`/voxgrad/${name}`)).catch(() => undefined))?.text(),

  writeCache: async (name: string, text: string): Promise<void> =>
    (await caches.open("voxgrad")).put(`/voxgrad/${name}`, new Response(text)),

  ...(served && { openPanel }),

  log: (line: string): void => send({ type: "log", line }),
  progress: (progress: Progress): void => send({ type: "progress", progress }),

  totalMemory: (): undefined => undefined,

  memory(): number | undefined {
    return (performance as { memory?: { usedJSHeapSize: number } }).memory?.usedJSHeapSize;
  },
};

/** Runs the callbacks registered for the end of the script. */
export async function endScript(): Promise<void> {
  for (let f = ends.shift(); f; f = ends.shift()) await f();
}

/** Sends a message to the page. */
export function send(message: Message): void {
  if (inWorker) host.postMessage(message);
  else host.dispatchEvent(new CustomEvent("voxgrad", { detail: message }));
}

/** Adds files of the visitor's disk, which are read only when the script requests them. */
export function addFiles(added: Iterable<readonly [path: string, content: Blob]>): void {
  for (const [path, content] of added) files.set(normal(path), content);
}

/** Handles an action of the visitor. The page sends no other action until this one is answered. */
export function receiveAct({ act, files: chosen }: ActMessage): void {
  if (act.type === "files") {
    for (const path of files.keys()) if (path.startsWith(`${act.name}/`)) files.delete(path);
    addFiles(chosen);
  }
  takeAct!(act);
}

async function openPanel(form: PanelForm, answer: (act: PanelAct, panel: PagePanel) => Promise<void>): Promise<never> {
  const panel: PagePanel = {
    say: (text) => send({ type: "say", text }),
    note: (field, text) => send({ type: "note", field, text }),
    show: (views, content) => send({ type: "view", views, content }),
  };
  send({ type: "panel", form });
  for (;;) {
    const act = await new Promise<PanelAct>((resolve) => (takeAct = resolve));
    let problem: string | undefined;
    try {
      await answer(act, panel);
    } catch (error) {
      problem = error instanceof Error ? error.message : String(error);
      send({ type: "log", line: (error instanceof Error && error.stack) || problem });
    }
    send({ type: "answered", problem });
  }
}

function startArguments(): readonly string[] {
  if (!served) return [];
  return (JSON.parse(host.name) as Start).args;
}

/** Normalizes a path: "./a//b/../c" becomes "a/c"; there is one root folder without a parent. */
function normal(path: string): string {
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "." && part !== "") parts.push(part);
  }
  return parts.join("/");
}
