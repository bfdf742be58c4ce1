// A thread of openWorkers: loads a module and answers each message with the result of its `run`.
import { parentPort, workerData } from "node:worker_threads";

// Deno runs .ts sources directly; what is published is JavaScript.
if (workerData.module.endsWith(".ts") && !("Deno" in globalThis)) await import("./cli/register.mjs");
// Messages are queued until there is a listener.
const { run } = await import(workerData.module);

parentPort.on("message", async (message) => {
  try {
    const result = await run(message);
    parentPort.postMessage({ result }, [...buffers(result, new Set())]);
  } catch (error) {
    const { name, message: text, stack, cause: _, ...fields } = error instanceof Error
      ? error
      : new Error(String(error));
    parentPort.postMessage({ error: { name, message: text, stack, fields } });
  }
});

/** The buffers of the arrays in a result, which are transferred instead of copied. */
function buffers(value, result) {
  if (ArrayBuffer.isView(value)) {
    if (value.byteLength === value.buffer.byteLength) result.add(value.buffer);
  } else if (typeof value === "object" && value !== null) {
    for (const each of Object.values(value)) buffers(each, result);
  }
  return result;
}
