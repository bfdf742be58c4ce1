import { mkdir, open, readFile, rename, rm, stat, utimes } from "node:fs/promises";
import { readFileSync, rmdirSync, rmSync } from "node:fs";
import { hostname } from "node:os";
import { join, resolve } from "node:path";
import process from "node:process";
import { program } from "../program.ts";
import { PlatformError } from "../types.ts";
import { CountedLocks } from "./counted_locks.ts";

/** The file in a folder that names its owner. */
const NAME = ".voxgrad.lock";
/**
 * Heartbeat interval of an owner in milliseconds, and the time without a heartbeat after which an owner on another
 * host is considered dead.
 */
const BEAT = 20_000;
const SILENCE = 300_000;

/** The owner of a folder. Process IDs are reused: `started` distinguishes processes. */
interface Owner {
  readonly pid: number;
  readonly host: string;
  /** Boot ID of the machine and ticks from boot to the start of the process, if available. */
  readonly started: string;
}

function startOf(pid: number): string {
  try {
    // The program name, in parentheses, may contain spaces; the start time is the 20th field after it.
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*\) /s, "").split(" ");
    return `${readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()} ${fields[19]}`;
  } catch {
    return "";
  }
}

/** Whether a process with that ID exists. */
export function isRunning(pid: number): boolean {
  if (pid === process.pid) return true;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}

function ownerIn(text: string): Owner | undefined {
  try {
    const { pid, host, started } = JSON.parse(text);
    return Number.isSafeInteger(pid) && pid > 0 && typeof host === "string" && typeof started === "string"
      ? { pid, host, started }
      : undefined;
  } catch {
    return undefined;
  }
}

/** Whether the owner of a lock is gone. A lock without an owner was left by a kill between two system calls. */
async function isStale(file: string, owner: Owner | undefined): Promise<boolean> {
  if (owner?.host === hostname()) {
    if (!isRunning(owner.pid)) return true;
    const started = startOf(owner.pid);
    return started !== "" && owner.started !== "" && started !== owner.started;
  }
  // Host clocks differ, so the age is measured by the clock of the file system, with a file written now.
  const probe = `${file}.${process.pid}`;
  try {
    await (await open(probe, "w")).close();
    const [now, then] = await Promise.all([stat(probe), stat(file)]);
    return now.mtimeMs - then.mtimeMs > (owner ? SILENCE : BEAT);
  } catch {
    return false;
  } finally {
    await rm(probe, { force: true }).catch(() => undefined);
  }
}

const locks = new CountedLocks();

/** See Platform.lockFolder. */
export function lockFolder(folder: string): Promise<(() => Promise<void>) | undefined> {
  const file = join(resolve(folder), NAME);
  return locks.take(file, () => acquire(folder, file));
}

/** Returns the function that releases the lock. */
async function acquire(folder: string, file: string): Promise<() => void> {
  const self: Owner = { pid: process.pid, host: hostname(), started: startOf(process.pid) };
  const made = await mkdir(resolve(folder), { recursive: true });
  for (let tries = 0;; tries++) {
    try {
      const handle = await open(file, "wx");
      await handle.writeFile(JSON.stringify(self));
      await handle.close();
      break;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
    const text = await readFile(file, "utf8").catch(() => "");
    const owner = ownerIn(text);
    if (tries > 5 || !(await isStale(file, owner))) {
      const who = owner ? `process ${owner.pid} on ${owner.host}` : "another process";
      const fix =
        `wait until it has ended, stop it, or name another folder (where it is surely gone, remove ${folder}/${NAME})`;
      throw new PlatformError("locked", `${folder}: ${who} works in it; ${fix}`, folder);
    }
    // Only one of the processes that find it stale can move it away; one that moved a newer lock puts it back.
    const aside = `${file}.${process.pid}.stale`;
    try {
      await rename(file, aside);
      if ((await readFile(aside, "utf8")) !== text) await rename(aside, file);
      else await rm(aside, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    }
  }
  const beat = setInterval(() => {
    const now = new Date();
    utimes(file, now, now).catch(() => undefined);
  }, BEAT);
  beat.unref();
  const release = (): void => {
    clearInterval(beat);
    process.off("exit", release);
    // Another process may own it now, if this process was silent for long.
    try {
      if (readFileSync(file, "utf8") === JSON.stringify(self)) rmSync(file, { force: true });
      // Also remove the folder if this lock created it and it is empty.
      if (made !== undefined) rmdirSync(resolve(folder));
    } catch {
      // The folder is not empty, is gone, or is no longer writable.
    }
  };
  // A host of the library is left alone: what it does not release is taken over when its process has ended.
  if (program.runs) process.on("exit", release);
  return release;
}
