/**
 * Files that the library works in. Paths are relative to a root folder, have "/" between their parts and neither "."
 * nor ".." in them; "" is the root.
 */
export interface FileSystem {
  /** The bytes of a file, which the caller may change; undefined if there is no such file. */
  read(path: string): Promise<Uint8Array | undefined>;
  /** Writes a file, whole or not at all, creating its folders. The caller may change the bytes afterwards. */
  write(path: string, data: Uint8Array): Promise<void>;
  /** Appends to a file, creating it and its folders. */
  append(path: string, data: Uint8Array): Promise<void>;
  /** Removes a file, or a folder with its contents; does nothing if it does not exist. */
  remove(path: string): Promise<void>;
  /** Names of everything directly in a folder, in any order; undefined if there is no such folder. */
  list(folder: string): Promise<string[] | undefined>;
  /** Whether there is a file or folder of that path. */
  exists(path: string): Promise<boolean>;
  /** Whether files live in memory: what can be computed again is not stored in them then. */
  readonly inMemory?: boolean;
  /**
   * Locks a folder until the returned function is called; undefined while another process or page holds it. Without
   * this function, it is the user's concern that two trainings do not write into one folder.
   */
  lock?(folder: string): Promise<(() => Promise<void>) | undefined>;
}

/** The host's own files, which are not confined to a folder: their paths are those of the host. */
export interface HostFiles extends FileSystem {
  /** See Platform.realPath and Platform.removeRemains. */
  realPath?(path: string): Promise<string>;
  removeRemains?(folder: string): Promise<void>;
}

/** Normalizes a path: "./a//b/../c" becomes "a/c"; there is one root folder without a parent. */
export function normalPath(path: string): string {
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "." && part !== "") parts.push(part);
  }
  return parts.join("/");
}
