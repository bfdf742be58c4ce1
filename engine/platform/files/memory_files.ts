import type { FileSystem } from "./file_system.ts";

/** The content of a file that is read when it is needed: a Blob or File. */
export interface BlobLike {
  arrayBuffer(): Promise<ArrayBuffer>;
}

/** Files in memory. */
export class MemoryFiles implements FileSystem {
  readonly inMemory = true;
  readonly #files = new Map<string, Uint8Array | BlobLike>();

  async read(path: string): Promise<Uint8Array | undefined> {
    const content = this.#files.get(path);
    return content instanceof Uint8Array ? content.slice() : content && new Uint8Array(await content.arrayBuffer());
  }

  async write(path: string, data: Uint8Array): Promise<void> {
    this.#files.set(path, data.slice());
  }

  async append(path: string, data: Uint8Array): Promise<void> {
    const before = (await this.read(path)) ?? new Uint8Array();
    const joined = new Uint8Array(before.length + data.length);
    joined.set(before);
    joined.set(data, before.length);
    await this.write(path, joined);
  }

  async remove(path: string): Promise<void> {
    for (const each of [...this.#files.keys()]) if (isWithin(each, path)) this.#files.delete(each);
  }

  async list(folder: string): Promise<string[] | undefined> {
    const start = folder === "" ? "" : `${folder}/`;
    const inside = [...this.#files.keys()].filter((path) => path.startsWith(start));
    if (inside.length === 0 && folder !== "") return undefined;
    return [...new Set(inside.map((path) => path.slice(start.length).split("/")[0]))];
  }

  async exists(path: string): Promise<boolean> {
    return path === "" || [...this.#files.keys()].some((each) => isWithin(each, path));
  }

  /** Adds a file that is read only when it is requested. */
  add(path: string, content: BlobLike): void {
    this.#files.set(path, content);
  }
}

const isWithin = (path: string, folder: string): boolean =>
  folder === "" || path === folder || path.startsWith(`${folder}/`);

/**
 * Files in memory, as pages have them by default.
 *
 * @example
 * ```ts
 * import { memoryFiles, setHost } from "voxgrad";
 *
 * setHost({ files: memoryFiles() }); // in Node too: nothing is written to the disk
 * setHost({ files: undefined });
 * ```
 */
export const memoryFiles = (): FileSystem => new MemoryFiles();
