import process from "node:process";

let guarded = false;

/**
 * A reader that went away or a full disk behind standard output ends nothing: what is computed is worth more than its
 * log.
 */
export function guardStreams(): void {
  if (guarded) return;
  guarded = true;
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => undefined);
}

/** Writes to the terminal what may fail to be written. */
export function put(text: string, stream: "stdout" | "stderr" = "stdout"): void {
  guardStreams();
  try {
    process[stream].write(text);
  } catch {
    // A file takes its text at once, and says so by throwing when its disk is full.
  }
}

/** Control characters but for line breaks and tabs, and those that turn the direction of writing. */
// deno-lint-ignore no-control-regex
const UNSAFE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g;

/** Text as a terminal may have it: names out of files cannot move its cursor, color it or hide what follows. */
export const printable = (text: string): string =>
  text.replace(UNSAFE, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);
