import { pathToFileURL } from "node:url";
import { platform } from "../node.ts";

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
    // A progress line may stand unfinished on the terminal.
    if (process.stdout.isTTY) process.stdout.write("\n");
    console.error(explain(error));
    return 1;
  } finally {
    platform.closeGpu();
  }
}

/** An error for the terminal. One whose message is meant for the user needs no stack. */
export function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const forUser = ["PlatformError", "ConfigError", "UsageError"].includes(error.name) && !process.env.VOXGRAD_STACK;
  if (forUser) return `${error.name}: ${error.message}`;
  const cause = error.cause instanceof Error ? `\nCaused by ${explain(error.cause)}` : "";
  return (error.stack ?? error.message) + cause;
}
