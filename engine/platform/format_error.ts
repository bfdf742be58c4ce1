import process from "node:process";
import { fileURLToPath } from "node:url";
import { Interrupted } from "./types.ts";

/** Errors about what the user gave, by their names, beside those of the engine. */
const forUsers = ["PlatformError", "ConfigError", "Interrupted"];
/** Errors of the engine say so by this, whatever their class is called. */
const FOR_USER = Symbol.for("voxgrad.forUser");
const root = fileURLToPath(new URL("../../", import.meta.url));

/** Scripts answer --help by throwing what they have to say, under this name. */
export function isHelp(error: unknown): error is Error {
  return error instanceof Error && error.name === "HelpRequest";
}

/** The exit code of a script that threw: 130 or 143 where it was asked to end, as a shell has them, else 1. */
export const exitCode = (error: unknown): number => (error instanceof Interrupted ? error.exitCode : 1);

/** Whether an error's message says all, so that it needs no stack. VOXGRAD_STACK=1 shows it all the same. */
export function isForUser(error: Error): boolean {
  return (forUsers.includes(error.name) || (error as { [FOR_USER]?: boolean })[FOR_USER] === true) &&
    !process.env.VOXGRAD_STACK;
}

/** An error for the terminal. */
export function formatError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (isForUser(error)) return [`${error.name}: ${error.message}`, ...ownLines(error)].join("\n");
  const cause = error.cause instanceof Error ? `\nCaused by ${formatError(error.cause)}` : "";
  return (error.stack ?? error.message) + cause;
}

/** Where the user's own code asked for what an operator refused: the lines of a stack outside of this package. */
function ownLines({ name, stack = "" }: Error): string[] {
  // The others name a file.
  if (name !== "VoxgradError") return [];
  const lines = stack.split("\n").filter((line) => /^ +at /.test(line));
  return lines.filter((line) => !line.includes(root) && !/node:|node_modules|\(<anonymous>\)$|native code/.test(line))
    .slice(0, 3);
}
