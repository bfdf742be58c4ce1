/** Commands of voxgrad in processes of their own, and what such a process does for the one that started it. */
import { execFile, spawn } from "node:child_process";
import { hostname } from "node:os";
import process from "node:process";
import { createInterface } from "node:readline";
import { setInterval } from "node:timers";
import { fileURLToPath } from "node:url";
import { ownType, packageRoot } from "../package_root.ts";
import { PlatformError, type Progress, type RunningCommand } from "../types.ts";

/** Set in a process that another process of voxgrad started. */
const STARTED = "VOXGRAD_STARTED";
/** Begins a line of standard output that is progress, as JSON. */
const PROGRESS = "\x1e";
/** Milliseconds from one such line to the next, and the lines that are kept for an error. */
const EVERY = 500;
const TAIL = 40;

const inDeno = "Deno" in globalThis;
const pathOf = (file: string): string => fileURLToPath(new URL(file, packageRoot));

/** See Platform.commandLine. */
export function commandLine(words: readonly string[]): readonly string[] {
  if (!inDeno) return [process.execPath, pathOf("engine/platform/cli/voxgrad.mjs"), ...words];
  const [name, ...others] = words;
  const [first, ...rest] = name === "run" ? others : [pathOf(`scripts/${name}.${ownType}`), ...others];
  return [process.execPath, "run", "-A", "--config", pathOf("deno.json"), first, ...rest];
}

/** See Platform.startCommand. */
export function startCommand(
  words: readonly string[],
  { adapter, onLine, onProgress }: {
    adapter?: string | undefined;
    onLine?: (line: string) => void;
    onProgress?: (progress: Progress) => void;
  },
): RunningCommand {
  const [program, ...args] = commandLine(words);
  const env = { ...process.env, [STARTED]: "1", ...(adapter !== undefined && { VOXGRAD_ADAPTER: adapter }) };
  // Standard input stays open as long as this process lives; the other one ends when it closes.
  // In a group of its own, so that Ctrl+C reaches it once: by stop().
  const child = spawn(program, args, { env, stdio: ["pipe", "pipe", "pipe"], detached: true });
  child.stdin.on("error", () => undefined);
  const tail: string[] = [];
  const take = (line: string): void => {
    if (line.startsWith(PROGRESS)) return onProgress?.(JSON.parse(line.slice(1)));
    // Dawn says this of every software driver.
    if (/^Warning: maxDynamic.*limit\.$/.test(line)) return;
    tail.push(line);
    if (tail.length > TAIL) tail.shift();
    onLine?.(line);
  };
  const ended = new Promise<{ code: number; tail: readonly string[] }>((resolve) => {
    for (const stream of [child.stdout, child.stderr]) createInterface({ input: stream }).on("line", take);
    child.on("error", ({ message }) => resolve({ code: 1, tail: [message] }));
    const numbers: Record<string, number> = { SIGHUP: 1, SIGINT: 2, SIGKILL: 9, SIGTERM: 15 };
    child.on("close", (code, signal) => resolve({ code: code ?? 128 + (numbers[signal ?? ""] ?? 0), tail }));
  });
  return { ended, stop: (now = false) => void child.kill(now ? "SIGKILL" : "SIGTERM") };
}

/**
 * In a process that another one started: ends with it, and gives the function that tells it of progress. Undefined in
 * others.
 */
export function followParent(): ((progress: Progress) => void) | undefined {
  if (process.env[STARTED] === undefined) return undefined;
  // Waiting for the end of the other process keeps this one from nothing. Deno always waits for its standard input.
  if (inDeno) {
    const parent = process.ppid;
    setInterval(() => process.ppid !== parent && process.exit(1), EVERY).unref();
  } else {
    process.stdin.on("end", () => process.exit(1)).on("error", () => process.exit(1)).resume();
    (process.stdin as { unref?(): void }).unref?.();
  }
  let last = -Infinity;
  return (progress) => {
    const now = performance.now();
    if (progress.done < progress.total && now - last < EVERY) return;
    last = now;
    process.stdout.write(`${PROGRESS}${JSON.stringify(progress)}\n`);
  };
}

/** See Platform.runProgram. */
export function runProgram(program: string, words: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(program, words, (error, stdout, stderr) => {
      if (!error) return resolve(stdout);
      const said = (error as NodeJS.ErrnoException).code === "ENOENT"
        ? "there is no such program; install it, or leave it to another machine"
        : stderr.trim() || error.message;
      reject(new PlatformError("file-failed", `${program}: ${said}`, program, error));
    });
  });
}

/** See Platform.processName. */
export const processName = (): string => `${hostname()}-${process.pid}`;
