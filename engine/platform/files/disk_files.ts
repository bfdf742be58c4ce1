import {
  access,
  appendFile,
  constants,
  mkdir,
  open,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  stat,
} from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import process from "node:process";
import { PlatformError } from "../types.ts";
import type { HostFiles } from "./file_system.ts";
import { isRunning, lockFolder } from "./folder_lock.ts";

let temporaries = 0;

/** The disk of Node and Deno. */
export const diskFiles: HostFiles = {
  async read(path: string): Promise<Uint8Array> {
    try {
      const bytes = await readFile(path);
      return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    } catch (error) {
      throw fileError(error, path, "read");
    }
  },

  async write(path: string, data: Uint8Array): Promise<void> {
    const target = resolve(path);
    const temporary = join(dirname(target), `.${process.pid}.${temporaries++}.tmp`);
    try {
      await mkdir(dirname(target), { recursive: true });
      const file = await open(temporary, "w");
      try {
        await file.writeFile(data);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(temporary, target);
    } catch (error) {
      // The original error matters, not a failed cleanup.
      await rm(temporary, { force: true }).catch(() => undefined);
      throw await writeError(error, path);
    }
  },

  async append(path: string, data: Uint8Array): Promise<void> {
    try {
      await mkdir(dirname(resolve(path)), { recursive: true });
      await appendFile(path, data);
    } catch (error) {
      throw await writeError(error, path);
    }
  },

  async remove(path: string): Promise<void> {
    try {
      await rm(path, { recursive: true, force: true });
    } catch (error) {
      throw fileError(error, path, "remove");
    }
  },

  async list(folder: string): Promise<string[]> {
    try {
      return await readdir(folder);
    } catch (error) {
      throw fileError(error, folder, "list");
    }
  },

  exists,

  async realPath(path: string): Promise<string> {
    const whole = resolve(path);
    try {
      return await realpath(whole);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== "ENOENT" || dirname(whole) === whole) throw fileError(error, path, "find");
      return join(await diskFiles.realPath!(dirname(whole)), basename(whole));
    }
  },

  async lock(folder: string): Promise<(() => Promise<void>) | undefined> {
    try {
      return await lockFolder(folder);
    } catch (error) {
      throw error instanceof PlatformError ? error : await writeError(error, folder);
    }
  },

  async removeRemains(folder: string): Promise<void> {
    for (const name of await readdir(folder, { recursive: true }).catch(() => [])) {
      const [, pid] = /(?:^|[\\/])\.(\d+)\.\d+\.tmp$/.exec(name) ?? [];
      if (pid !== undefined && !isRunning(Number(pid))) await rm(join(folder, name), { force: true });
    }
  },
};

function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/** Node's mkdir reports ENOENT for other failures too; the parent folder tells which. */
async function writeError(error: unknown, path: string): Promise<PlatformError> {
  if ((error as NodeJS.ErrnoException).code !== "ENOENT") return fileError(error, path, "write");
  let folder = dirname(resolve(path));
  while (folder !== dirname(folder) && !(await exists(folder))) folder = dirname(folder);
  return access(folder, constants.W_OK).then(
    () => fileError(error, path, "write"),
    (reason: unknown) => fileError(reason, path, "write"),
  );
}

function fileError(error: unknown, path: string, verb: string): PlatformError {
  const { code: reason, message } = error as NodeJS.ErrnoException;
  if (reason === "ENOENT") {
    return new PlatformError("no-such-file", `Cannot ${verb} ${path}: there is no such file or folder`, path, error);
  }
  if (reason === "ENOTDIR" || (reason === "EEXIST" && verb === "write")) {
    return new PlatformError(
      "not-a-folder",
      `Cannot ${verb} ${path}: a file stands where a folder is needed`,
      path,
      error,
    );
  }
  return new PlatformError("file-failed", `Cannot ${verb} ${path}: ${message}`, path, error);
}
