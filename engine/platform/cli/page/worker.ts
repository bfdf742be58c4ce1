// First module of the worker: takes the visitor's files, then runs the script, which the bundler puts in the place of
// "voxgrad:script".
import { addFiles, send } from "../../browser.ts";

addEventListener("message", (event: MessageEvent<{ files: [string, Blob][] }>) => {
  addFiles(event.data.files);
  import("voxgrad:script").then(
    () => send({ type: "done" }),
    (error: unknown) => {
      const { message, stack } = error instanceof Error ? error : { message: String(error), stack: "" };
      send({ type: "error", message, stack: stack ?? "" });
    },
  );
}, { once: true });
