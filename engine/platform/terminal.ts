import process from "node:process";

let guarded = false;

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

/** Control characters except line breaks and tabs, and characters that change the text direction. */
// deno-lint-ignore no-control-regex
const UNSAFE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g;

/** Sanitizes text for a terminal: names from files cannot move its cursor, color it or hide what follows. */
export const printable = (text: string): string =>
  text.replace(UNSAFE, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);
