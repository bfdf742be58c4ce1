import { CountedLocks } from "./counted_locks.ts";
import type { HostFiles } from "./file_system.ts";

/**
 * What is used of a FileSystemDirectoryHandle: `await navigator.storage.getDirectory()` (OPFS) or, in Chrome and Edge,
 * `await showDirectoryPicker({ mode: "readwrite" })`.
 */
export interface DirectoryHandle {
  readonly kind: "directory";
  readonly name: string;
  getDirectoryHandle(name: string, options?: { create?: boolean }): Promise<DirectoryHandle>;
  getFileHandle(name: string, options?: { create?: boolean }): Promise<WritableHandle>;
  removeEntry(name: string, options?: { recursive?: boolean }): Promise<void>;
  keys(): AsyncIterable<string>;
}

/** What is used of a FileSystemFileHandle. */
interface WritableHandle {
  readonly kind: "file";
  readonly name: string;
  getFile(): Promise<{ readonly size: number; readonly lastModified: number; arrayBuffer(): Promise<ArrayBuffer> }>;
  createWritable(options?: { keepExistingData?: boolean }): Promise<{
    write(data: Uint8Array<ArrayBuffer>): Promise<void>;
    seek(position: number): Promise<void>;
    close(): Promise<void>;
    abort(): Promise<void>;
  }>;
  /** Of the browsers that have it, in OPFS. */
  move?(folder: DirectoryHandle, name: string): Promise<void>;
}

// The engine is type-checked without the DOM's types.
declare const crypto: { randomUUID(): string };
declare const navigator: {
  readonly locks: {
    request(
      name: string,
      options: { ifAvailable: true },
      granted: (lock: object | null) => Promise<void> | void,
    ): Promise<void>;
  };
};

/** Files whose writing was not finished, an hour after it began. */
const REMAINS = /^\.voxgrad-[0-9a-f-]+\.tmp$/;
const HOUR = 3_600_000;

/**
 * Files in a FileSystemDirectoryHandle of a browser: OPFS, which keeps them for the next visit of the site, or a folder
 * that the visitor chose.
 *
 * @example
 * ```ts
 * import { directoryFiles, type DirectoryHandle, setHost } from "voxgrad";
 *
 * declare const navigator: { storage: { getDirectory(): Promise<DirectoryHandle> } }; // as lib "DOM" declares it
 * const root = await navigator.storage.getDirectory();
 * setHost({ files: directoryFiles(await root.getDirectoryHandle("runs", { create: true })) });
 * ```
 */
export function directoryFiles(root: DirectoryHandle): HostFiles {
  /** A folder; undefined if it does not exist. */
  const folderAt = async (path: string, create = false): Promise<DirectoryHandle | undefined> => {
    let folder: DirectoryHandle | undefined = root;
    for (const part of path.split("/").filter((part) => part !== "")) {
      const next: Promise<DirectoryHandle> = folder.getDirectoryHandle(part, { create });
      folder = create ? await next : await found(next);
      if (!folder) return undefined;
    }
    return folder;
  };
  const fileAt = async (path: string): Promise<WritableHandle | undefined> => {
    const { folder, name } = split(path);
    return found((await folderAt(folder))?.getFileHandle(name));
  };
  const namesIn = async (path: string): Promise<string[] | undefined> => {
    const folder = await folderAt(path);
    if (!folder) return undefined;
    const names: string[] = [];
    for await (const name of folder.keys()) names.push(name);
    return names;
  };

  const files: HostFiles = {
    async read(path) {
      const handle = await fileAt(path);
      return handle && new Uint8Array(await (await handle.getFile()).arrayBuffer());
    },

    async write(path, data) {
      const { folder, name } = split(path);
      const outer = (await folderAt(folder, true))!;
      const before = await found(outer.getFileHandle(name));
      if (before) return put(before, data);
      // A new file is empty until its content is swapped in. Where files can move, it gets its name once it is whole.
      const temporary = `.voxgrad-${crypto.randomUUID()}.tmp`;
      try {
        const handle = await outer.getFileHandle(temporary, { create: true });
        await put(handle, data);
        const moved = await handle.move?.(outer, name).then(() => true, () => false);
        if (!moved) await putNew(outer, name, data);
      } finally {
        await outer.removeEntry(temporary).catch(() => undefined);
      }
    },

    async append(path, data) {
      const handle = await fileAt(path);
      if (!handle) return files.write(path, data);
      await put(handle, data, (await handle.getFile()).size);
    },

    async remove(path) {
      const { folder, name } = split(path);
      await found((await folderAt(folder))?.removeEntry(name, { recursive: true }));
    },

    list: async (path) => (await namesIn(path))?.filter((name) => !REMAINS.test(name)),

    exists: async (path) => (await folderAt(path)) !== undefined || (await fileAt(path)) !== undefined,

    lock: (folder) => {
      const name = `voxgrad ${root.name}/${folder}`;
      return locks.take(name, () => acquire(name));
    },

    async removeRemains(path) {
      for (const name of (await namesIn(path)) ?? []) {
        const inner = path === "" ? name : `${path}/${name}`;
        if (!REMAINS.test(name)) await files.removeRemains!(inner);
        else if (Date.now() - ((await (await fileAt(inner))?.getFile())?.lastModified ?? 0) > HOUR) {
          await files.remove(inner);
        }
      }
    },
  };
  return files;
}

/** Writes a file that does not exist yet; if that fails, nothing of it stays. */
async function putNew(folder: DirectoryHandle, name: string, data: Uint8Array): Promise<void> {
  try {
    await put(await folder.getFileHandle(name, { create: true }), data);
  } catch (error) {
    await folder.removeEntry(name).catch(() => undefined);
    throw error;
  }
}

function split(path: string): { folder: string; name: string } {
  const at = path.lastIndexOf("/");
  return { folder: path.slice(0, Math.max(0, at)), name: path.slice(at + 1) };
}

/** What a handle gives; undefined if there is no such file or folder, or the other of the two. */
async function found<T>(asked: Promise<T> | undefined): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    const { name } = error as Error;
    if (name === "NotFoundError" || name === "TypeMismatchError") return undefined;
    throw error;
  }
}

/** Writes a file from a position on; what was there stays until the new content is whole. */
async function put(handle: WritableHandle, data: Uint8Array, from = 0): Promise<void> {
  const file = await handle.createWritable({ keepExistingData: from > 0 });
  try {
    if (from > 0) await file.seek(from);
    await file.write(data as Uint8Array<ArrayBuffer>);
    await file.close();
  } catch (error) {
    await file.abort().catch(() => undefined);
    throw error;
  }
}

const locks = new CountedLocks();

/** Takes a lock of the Web Locks API, which a page loses when it is closed; undefined if another has it. */
function acquire(name: string): Promise<(() => void) | undefined> {
  return new Promise((resolve, reject) => {
    navigator.locks.request(name, { ifAvailable: true }, (granted) => {
      if (granted) return new Promise<void>((release) => resolve(release));
      resolve(undefined);
    }).catch(reject);
  });
}
