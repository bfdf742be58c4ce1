import { readdir, readFile, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import type { DirectoryHandle } from "../../engine/mod.ts";

/** A folder of the disk as a FileSystemDirectoryHandle that can be read. */
export function handleOf(folder: string): DirectoryHandle {
  const missing = (name: string): Error => new DOMException(`${name} is not there`, "NotFoundError");
  const kindOf = (name: string): Promise<"file" | "directory" | undefined> =>
    stat(join(folder, name)).then((found) => found.isDirectory() ? "directory" : "file", () => undefined);
  const refuse = () => Promise.reject(new DOMException("it can only be read", "NotAllowedError"));
  return {
    kind: "directory",
    name: basename(folder),
    async getDirectoryHandle(name) {
      if (await kindOf(name) !== "directory") throw missing(name);
      return handleOf(join(folder, name));
    },
    async getFileHandle(name) {
      if (await kindOf(name) !== "file") throw missing(name);
      const getFile = async () => new File([await readFile(join(folder, name))], name);
      return { kind: "file", name, getFile, createWritable: refuse };
    },
    removeEntry: refuse,
    async *keys() {
      yield* await readdir(folder);
    },
  };
}
