import { pathToFileURL } from "node:url";
import { platform } from "../node.ts";
import { endScript } from "../process_host.ts";
import { printable } from "../printable.ts";
import { put } from "../terminal.ts";
import { exitCode, formatError, isHelp } from "../format_error.ts";

/**
 * Runs a script in this process, as `node SCRIPT ARGS` would.
 *
 * @returns the exit code
 */
export async function run(script: string, args: readonly string[]): Promise<number> {
  process.argv = [process.argv[0], script, ...args];
  // Whether or not the script reads it.
  platform.readCommandLine();
  try {
    try {
      if (/\.m?ts$/.test(script)) await import("./register.mjs");
      await import(pathToFileURL(script).href);
    } finally {
      await endScript();
    }
    return Number(process.exitCode ?? 0);
  } catch (error) {
    if (isHelp(error)) {
      platform.log(error.message);
      return 0;
    }
    // A progress line may be unfinished on the terminal.
    if (process.stdout.isTTY) put("\n");
    put(`${printable(formatError(error))}\n`, "stderr");
    return exitCode(error);
  }
  // Do not release Dawn here, only in closeDevice: while a device is alive or compiling, releasing it would segfault,
  // and Node exits without it.
}
