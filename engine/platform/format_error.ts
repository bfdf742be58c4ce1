import process from "node:process";
import { fileURLToPath } from "node:url";
import { packageRoot } from "./package_root.ts";
import { Interrupted } from "./types.ts";

/** Names of errors caused by user input, besides those of the engine. */
const forUsers = ["PlatformError", "ConfigError", "Interrupted"];
/** Marks errors of the engine, whatever their class is called. */
const FOR_USER = Symbol.for("voxgrad.forUser");
const root = fileURLToPath(packageRoot);

/** Scripts answer --help by throwing an error with this name and the help as its message. */
export function isHelp(error: unknown): error is Error {
  return error instanceof Error && error.name === "HelpRequest";
}

/** The exit code of a script that threw: 130 or 143 if it was interrupted, as in shells, otherwise 1. */
export const exitCode = (error: unknown): number => (error instanceof Interrupted ? error.exitCode : 1);

/** Whether an error's message is sufficient without a stack. VOXGRAD_STACK=1 always shows the stack. */
export function isForUser(error: Error): boolean {
  return (forUsers.includes(error.name) || (error as { [FOR_USER]?: boolean })[FOR_USER] === true) &&
    !process.env.VOXGRAD_STACK;
}

/** Formats an error for the terminal. */
export function formatError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (isForUser(error)) return [`${error.name}: ${error.message}`, ...ownLines(error)].join("\n");
  const cause = error.cause instanceof Error ? `\nCaused by ${formatError(error.cause)}` : "";
  return (error.stack ?? error.message) + cause;
}

/** The stack frames outside this package: the user's code that called the failing operator. */
function ownLines({ name, stack = "" }: Error): string[] {
  // Other errors name a file.
  if (name !== "VoxgradError") return [];
  const lines = stack.split("\n").filter((line) => /^ +at /.test(line));
  return lines.filter((line) => !line.includes(root) && !/node:|node_modules|\(<anonymous>\)$|native code/.test(line))
    .slice(0, 3);
}
