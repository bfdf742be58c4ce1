import process from "node:process";
import { printable } from "./printable.ts";
import type { Progress } from "./types.ts";

let guarded = false;
let live = false;
let lastProgress = -Infinity;

/**
 * Ignores errors of standard output, such as a closed pipe or a full disk: the computation is worth more than its log.
 */
export function guardStreams(): void {
  if (guarded) return;
  guarded = true;
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => undefined);
}

/** Writes to the terminal, ignoring failures. */
export function put(text: string, stream: "stdout" | "stderr" = "stdout"): void {
  guardStreams();
  try {
    process[stream].write(text);
  } catch {
    // Writes to a file are synchronous, and throw if its disk is full.
  }
}

/** See Platform.log. */
export function putLine(line: string): void {
  if (live) put("\r\x1b[2K");
  live = false;
  put(`${printable(line)}\n`);
}

/** See Platform.progress. */
export function putProgress(progress: Progress): void {
  const finished = progress.done >= progress.total;
  const text = printable(progress.text);
  if (process.stdout.isTTY) {
    put(`\r\x1b[2K${text.slice(0, Math.max(20, (process.stdout.columns ?? 80) - 1))}`);
    live = !finished;
    if (finished) put("\n");
    return;
  }
  const now = performance.now();
  if (!finished && now - lastProgress < 10_000) return;
  lastProgress = now;
  put(`${text}\n`);
}
