import process from "node:process";
import { Interrupted } from "../types.ts";

/** Errors about what the user gave, by their names: where in the sources they were found says nothing. */
const forUsers = ["PlatformError", "ConfigError", "DatasetError", "NiftiError", "PlanError", "SafetensorsError", "Interrupted"];

/** Scripts answer --help by throwing what they have to say, under this name. */
export function isHelp(error: unknown): error is Error {
  return error instanceof Error && error.name === "HelpRequest";
}

/** The exit code of a script that threw: 130 or 143 where it was asked to end, as a shell has them, else 1. */
export const exitCode = (error: unknown): number => (error instanceof Interrupted ? error.exitCode : 1);

/** Whether an error's message says all, so that it needs no stack. VOXGRAD_STACK=1 shows it all the same. */
export function isForUser(error: Error): boolean {
  return forUsers.includes(error.name) && !process.env.VOXGRAD_STACK;
}

/** An error for the terminal. */
export function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (isForUser(error)) return `${error.name}: ${error.message}`;
  const cause = error.cause instanceof Error ? `\nCaused by ${explain(error.cause)}` : "";
  return (error.stack ?? error.message) + cause;
}
