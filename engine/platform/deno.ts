import process from "node:process";
import { exitCode, formatError, isForUser, isHelp } from "./format_error.ts";
import { openAdapter } from "./adapters/deno_gpu.ts";
import { printable } from "./printable.ts";
import { processHost, programFlags, workersOnDisk } from "./process_host.ts";
import { put } from "./terminal.ts";
import type { Platform } from "./types.ts";

/** Deno on a terminal or a server: Node's modules for files and terminal, Deno's own WebGPU. */
export const platform: Platform = {
  ...processHost,
  name: "deno",
  get flags() {
    return programFlags();
  },
  get openWorkers() {
    return workersOnDisk();
  },
  readCommandLine() {
    reportFailure();
    return processHost.readCommandLine();
  },
  openAdapter: (options = {}) => openAdapter(options),
  // Destroying the device is enough for the process to end.
  closeGpu(): void {},
};

let reports = false;

/** In Node, `voxgrad run` reports why a script failed; in Deno, scripts start without it. */
function reportFailure(): void {
  if (reports) return;
  reports = true;
  addEventListener("unhandledrejection", (event) => {
    if (isHelp(event.reason)) {
      platform.log(event.reason.message);
    } else if (event.reason instanceof Error && isForUser(event.reason)) {
      put(`${process.stdout.isTTY ? "\n" : ""}${printable(formatError(event.reason))}\n`, "stderr");
      process.exitCode = exitCode(event.reason);
    } else {
      return;
    }
    event.preventDefault();
  });
}
