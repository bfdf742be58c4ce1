// A thread of openThread: runs a module, which speaks to what started it by platform.parentPort.
import { workerData } from "node:worker_threads";

// Deno runs .ts sources directly; what is published is JavaScript.
if (workerData.module.endsWith(".ts") && !("Deno" in globalThis)) await import("./cli/register.mjs");
await import(workerData.module);
