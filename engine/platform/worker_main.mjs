// A thread of openWorkers: loads a module and answers each message with what its `run` gives.
import { parentPort, workerData } from "node:worker_threads";

// Deno runs the .ts sources as they are.
if (!("Deno" in globalThis)) await import("./cli/register.mjs");
// Messages wait until there is a listener.
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

/** The memory of the arrays in a result, which goes over without a copy. */
function buffers(value, found) {
  if (ArrayBuffer.isView(value)) {
    if (value.byteLength === value.buffer.byteLength) found.add(value.buffer);
  } else if (typeof value === "object" && value !== null) {
    for (const each of Object.values(value)) buffers(each, found);
  }
  return found;
}
