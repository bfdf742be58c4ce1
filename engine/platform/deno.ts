import process from "node:process";
import { exitCode, formatError, isForUser, isHelp } from "./format_error.ts";
import { openAdapter } from "./adapters/deno_gpu.ts";
import { processHost } from "./process_host.ts";
import { printable, put } from "./terminal.ts";
import type { Platform } from "./types.ts";

/** Deno on a terminal or a server: Node's modules for files and terminal, Deno's own WebGPU. */
export const platform: Platform = {
  ...processHost,
  name: "deno",
  openAdapter: (options = {}) => openAdapter(options),
  // Destroying the device is enough for the process to end.
  closeGpu(): void {},
};

// In Node, `voxgrad run` reports why a script failed; in Deno, scripts start without it.
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
