/** The side of the script in the page of `voxgrad serve`: a worker that tells the page all that happens. */
import { platform, setCommandLine } from "../browser.ts";
import { type BlobLike, MemoryFiles } from "../files/memory_files.ts";
import { setDefaults } from "../host.ts";
import type { AdapterChoice, Progress } from "../types.ts";

/** Messages from a script to its page. */
export type Message =
  | { type: "log"; line: string }
  | { type: "progress"; progress: Progress }
  | { type: "adapter"; driver: string; kind: AdapterChoice["kind"]; reason: string }
  | { type: "file"; path: string; content: Blob }
  | { type: "done" }
  | { type: "error"; message: string; stack: string };

/** Start parameters of a worker, passed as JSON in its name; files are sent before the script is loaded. */
export interface Start {
  readonly args: readonly string[];
}

/** Files in memory; those that the script writes are offered by the page. */
class OfferedFiles extends MemoryFiles {
  override async write(path: string, data: Uint8Array): Promise<void> {
    await super.write(path, data);
    send({ type: "file", path, content: new Blob([data as Uint8Array<ArrayBuffer>]) });
  }
}

const files = new OfferedFiles();

/** Sends a message to the page. */
export function send(message: Message): void {
  postMessage(message);
}

/** Makes the platform that of a script whose page listens. */
export function beServed(): void {
  const { name } = globalThis as unknown as { readonly name: string };
  setCommandLine((JSON.parse(name) as Start).args);
  setDefaults({
    log: (line) => send({ type: "log", line }),
    onProgress: (progress) => send({ type: "progress", progress }),
    files,
  });
  const { openAdapter } = platform;
  Object.assign(platform, {
    async openAdapter(...options: Parameters<typeof openAdapter>): Promise<AdapterChoice> {
      const choice = await openAdapter(...options);
      send({ type: "adapter", driver: choice.driver, kind: choice.kind, reason: choice.reason });
      return choice;
    },
  });
}

/** Adds files of the visitor's disk, which are read only when the script requests them. */
export function addFiles(added: Iterable<readonly [path: string, content: BlobLike]>): void {
  for (const [path, content] of added) files.add(path, content);
}
