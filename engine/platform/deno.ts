import process from "node:process";
import { explain, isForUser, isHelp } from "./cli/explain.ts";
import { openAdapter } from "./deno_gpu.ts";
import { processHost } from "./process_host.ts";
import type { Platform } from "./types.ts";

/** Deno on a terminal or a server: Node's modules for files and terminal, WebGPU of its own. */
export const platform: Platform = {
  ...processHost,
  name: "deno",
  openAdapter: (options = {}) => openAdapter(options),
  // Destroying the device is enough for the process to end.
  closeGpu(): void {},
};

// `voxgrad run` explains to Node's users why a script ended; here the script was started without it.
addEventListener("unhandledrejection", (event) => {
  if (isHelp(event.reason)) {
    platform.log(event.reason.message);
  } else if (event.reason instanceof Error && isForUser(event.reason)) {
    process.stderr.write(`${process.stdout.isTTY ? "\n" : ""}${explain(event.reason)}\n`);
    process.exitCode = 1;
  } else {
    return;
  }
  event.preventDefault();
});
