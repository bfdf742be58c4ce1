import { mkdir, open, readFile, rename, rm, stat, utimes } from "node:fs/promises";
import { readFileSync, rmdirSync, rmSync } from "node:fs";
import { hostname } from "node:os";
import { join, resolve } from "node:path";
import process from "node:process";
import { PlatformError } from "./types.ts";

/** The file in a folder that names its owner. */
const NAME = ".voxgrad.lock";
/**
 * Milliseconds from one sign of life of an owner to the next, and after which one on another host is taken for dead.
 */
const BEAT = 20_000;
const SILENCE = 300_000;

/** Who holds a folder. A process number alone may be another process's by now: `started` tells them apart. */
interface Owner {
  readonly pid: number;
  readonly host: string;
  /** Boot of the machine and ticks from there to the start of the process, where the system tells. */
  readonly started: string;
}

function startOf(pid: number): string {
  try {
    // The name of the program, in parentheses, may hold spaces; the start is the 20th field behind it.
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*\) /s, "").split(" ");
    return `${readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()} ${fields[19]}`;
  } catch {
    return "";
  }
}

/** Whether there is a process of that number. */
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

/** Whether the owner of a lock is gone. A lock that names nobody was left by a kill between two system calls. */
async function isStale(file: string, owner: Owner | undefined): Promise<boolean> {
  if (owner?.host === hostname()) {
    if (!isRunning(owner.pid)) return true;
    const started = startOf(owner.pid);
    return started !== "" && owner.started !== "" && started !== owner.started;
  }
  // Clocks of hosts differ, so the age is taken by the clock of the file system, from a file that is written now.
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

/** Folders that this process owns, how often, and how each is let go of. */
const held = new Map<string, { count: number; release: () => void }>();

/** See Platform.lockFolder. */
export async function lockFolder(folder: string): Promise<() => Promise<void>> {
  const file = join(resolve(folder), NAME);
  const own = held.get(file) ?? { count: 0, release: await acquire(folder, file) };
  held.set(file, own);
  own.count++;
  let released = false;
  return async () => {
    if (released) return;
    released = true;
    if (--own.count > 0) return;
    held.delete(file);
    own.release();
  };
}

/** Gives the function that lets go of it. */
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
    // Only one of those who find it stale can move it away; whoever moved a newer one puts it back.
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
    // Another's by now, if this process was silent for long.
    try {
      if (readFileSync(file, "utf8") === JSON.stringify(self)) rmSync(file, { force: true });
      // A folder that was made for nothing goes too; one that holds something stays.
      if (made !== undefined) rmdirSync(resolve(folder));
    } catch {
      // The folder holds the run, is gone, or cannot be written any more.
    }
  };
  process.on("exit", release);
  return release;
}
