import { pathToFileURL } from "node:url";
import { platform } from "../node.ts";

/** Errors about what the user gave, by their names: where in the sources they were found says nothing. */
const forUsers = ["PlatformError", "ConfigError", "DatasetError", "NiftiError", "SafetensorsError"];

/**
 * Runs a script in this process, as `node SCRIPT ARGS` would.
 *
 * @returns the exit code
 */
export async function run(script: string, args: readonly string[]): Promise<number> {
  process.argv = [process.argv[0]!, script, ...args];
  try {
    await import(pathToFileURL(script).href);
    return Number(process.exitCode ?? 0);
  } catch (error) {
    if (isHelp(error)) {
      platform.log(error.message);
      return 0;
    }
    // A progress line may stand unfinished on the terminal.
    if (process.stdout.isTTY) process.stdout.write("\n");
    console.error(explain(error));
    return 1;
  } finally {
    platform.closeGpu();
  }
}

/** Scripts answer --help by throwing what they have to say, under this name. */
function isHelp(error: unknown): error is Error {
  return error instanceof Error && error.name === "HelpRequest";
}

/** An error for the terminal. One whose message is meant for the user needs no stack. */
export function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (forUsers.includes(error.name) && !process.env.VOXGRAD_STACK) return `${error.name}: ${error.message}`;
  const cause = error.cause instanceof Error ? `\nCaused by ${explain(error.cause)}` : "";
  return (error.stack ?? error.message) + cause;
}
