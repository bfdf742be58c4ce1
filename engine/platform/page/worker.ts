// First module of the worker: receives the visitor's files, then runs the script, which the bundler substitutes for
// "voxgrad:script". "voxgrad:nats" is empty unless the script's arguments name a server of NATS.
import "voxgrad:nats";
import { endScript } from "../browser.ts";
import { addFiles, beServed, send } from "./served.ts";

beServed();

addEventListener("message", (event: MessageEvent<{ files: [string, Blob][] }>) => {
  addFiles(event.data.files);
  import("voxgrad:script").finally(endScript).then(
    () => send({ type: "done" }),
    (error: unknown) => {
      const { name, message, stack } = error instanceof Error ? error : { name: "", message: String(error), stack: "" };
      if (name === "HelpRequest") {
        send({ type: "log", line: message });
        return send({ type: "done" });
      }
      send({ type: "error", message, stack: stack ?? "" });
    },
  );
}, { once: true });
