import { PlatformError } from "../types.ts";
import { directoryFiles, type DirectoryHandle } from "./directory_files.ts";
import { type FileSystem, normalPath } from "./file_system.ts";
import { MemoryFiles } from "./memory_files.ts";

/** What is used of a File, of an `<input type="file" webkitdirectory>`, of a drop, or of `node:buffer`. */
export interface FolderFile {
  readonly name: string;
  /** Its path in the chosen folder, that folder first; else `name` is its path. */
  readonly webkitRelativePath?: string;
  arrayBuffer(): Promise<ArrayBuffer>;
}

/** A folder that has no path: a FileSystemDirectoryHandle, Files (an array or a FileList), or a FileSystem. */
export type FolderSource = DirectoryHandle | Iterable<FolderFile> | FileSystem;

const PREFIX = "mounted:";
const mounts = new Map<string, { readonly files: FileSystem; readonly source: object }>();
const known = new WeakMap<object, string>();

/**
 * Gives a folder a path, by which all functions find its files.
 *
 * @param name what the path consists of: a training that is resumed, after a reload too, finds its data once it is
 *   mounted by the same name, which takes the place of what had it before. Default: the name of the folder, with a
 *   number if another one is mounted by it
 * @returns "mounted:NAME"; the same for the same source
 * @throws PlatformError, "invalid-argument", for something else, and for two files of one path
 * @example
 * ```ts
 * import { mountFiles } from "voxgrad";
 * import { openDataset } from "voxgrad/imaging";
 *
 * declare const input: { files: Iterable<File> }; // <input type="file" webkitdirectory>
 * const dataset = await openDataset(mountFiles(input.files, "data"));
 * ```
 */
export function mountFiles(source: FolderSource, name?: string): string {
  const before = typeof source === "object" && source !== null ? known.get(source) : undefined;
  if (name === undefined && before !== undefined && mounts.get(before)?.source === source) return before;
  const { files, called } = opened(source);
  const first = `${PREFIX}${(name ?? called).replaceAll("/", "_")}`;
  let path = first;
  if (name === undefined) { for (let number = 2; mounts.has(path); number++) path = `${first}-${number}`; }
  mounts.set(path, { files, source });
  known.set(source, path);
  return path;
}

/**
 * Takes away what `mountFiles` gave a path: nothing finds the files any more, and what held them is freed.
 *
 * @param path "mounted:NAME"
 * @throws PlatformError, "no-such-file", if nothing is mounted there
 * @example
 * ```ts
 * import { mountFiles, unmountFiles } from "voxgrad";
 * import { readVolume } from "voxgrad/imaging";
 *
 * declare const input: { files: Iterable<File> }; // <input type="file" multiple>
 * const folder = mountFiles(input.files, "scans");
 * const image = await readVolume(`${folder}/scan.nii.gz`);
 * unmountFiles(folder);
 * ```
 */
export function unmountFiles(path: string): void {
  if (mounts.delete(path)) return;
  const all = [...mounts.keys()].join(", ") || "nothing";
  throw new PlatformError("no-such-file", `unmountFiles: ${path} is not mounted; there is ${all}`, path);
}

/** The path of a folder: itself, or that of its mount. */
export const folderPath = (folder: string | FolderSource): string =>
  typeof folder === "string" ? folder : mountFiles(folder);

/** Whether anything is mounted. */
export const hasMounts = (): boolean => mounts.size > 0;

/** The mounted files that a path lies in, and its path there; undefined for other paths. */
export function mountOf(path: string): { files: FileSystem; at: string } | undefined {
  if (!path.startsWith(PREFIX)) return undefined;
  const [mount] = path.split("/", 1);
  const files = mounts.get(mount)?.files;
  if (files) return { files, at: normalPath(path.slice(mount.length)) };
  throw new PlatformError(
    "no-such-file",
    `${path}: ${mount} is not mounted here; mount its folder first, by mountFiles`,
    path,
  );
}

function opened(source: FolderSource): { called: string; files: FileSystem } {
  if (typeof source !== "object" || source === null) throw unfit(source);
  if ("kind" in source && source.kind === "directory") {
    return { called: source.name || "folder", files: directoryFiles(source) };
  }
  if (Symbol.iterator in source) return ofFiles([...source]);
  if (!("read" in source && typeof source.read === "function")) throw unfit(source);
  return { called: "files", files: source };
}

const unfit = (source: unknown): PlatformError =>
  new PlatformError(
    "invalid-argument",
    `mountFiles: got ${source === null ? "null" : typeof source}, ` +
      "wanted a FileSystemDirectoryHandle, Files, or a FileSystem; for a folder of the disk, use its path as it is",
  );

/** Files of one folder, if all of them have it, or of none. */
function ofFiles(list: readonly FolderFile[]): { called: string; files: FileSystem } {
  const files = new MemoryFiles();
  const odd = list.find((file) => typeof file?.name !== "string" || typeof file.arrayBuffer !== "function");
  if (odd !== undefined) throw unfit(odd);
  const paths = list.map((file) => normalPath(file.webkitRelativePath || file.name).split("/"));
  const [top] = paths[0] ?? [];
  const inFolder = paths.length > 0 && paths.every((parts) => parts.length > 1 && parts[0] === top);
  const seen = new Set<string>();
  for (const [k, parts] of paths.entries()) {
    const path = (inFolder ? parts.slice(1) : parts).join("/");
    if (seen.has(path)) {
      throw new PlatformError(
        "invalid-argument",
        `mountFiles: two files are ${path}; choose their folder as a whole`,
        path,
      );
    }
    seen.add(path);
    files.add(path, list[k]);
  }
  return { called: inFolder ? top : "files", files };
}
