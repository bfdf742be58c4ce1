// A page that segments on its own thread and in a module worker.
import { run } from "./program.js";

const inWorker = new Promise((resolve, reject) => {
  const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  worker.onerror = ({ message }) => reject(new Error(message || "the worker could not be loaded"));
  worker.onmessage = ({ data: { result, error } }) => {
    if (result) resolve(result);
    else if (error) reject(new Error(error));
  };
});
globalThis.results = Promise.all([run(), inWorker]);
