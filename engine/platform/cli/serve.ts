import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { Bundler } from "./bundle.ts";
import { ownType } from "../package_root.ts";
import type { Loopback } from "./loopback.ts";
import { serveLoopback } from "./loopback.ts";

const usualPort = 8080;

/**
 * Serves a page that runs the script in a Web Worker, until the process is stopped.
 *
 * @param args arguments of the script; `--port N` and `--private` are removed from them
 * @returns the exit code
 */
export async function serve(script: string, args: readonly string[]): Promise<number> {
  const rest = [...args];
  let port: number | undefined;
  const at = rest.findIndex((word) => word === "--port" || word.startsWith("--port="));
  if (at >= 0) {
    const word = rest[at].startsWith("--port=") ? rest.splice(at, 1)[0].slice(7) : rest.splice(at, 2)[1];
    port = Number(word);
    if (!word || !Number.isInteger(port) || port < 0 || port > 65_535) {
      console.error(`--port is ${word ?? "missing"}; it must be a number from 0 to 65535`);
      return 2;
    }
  }
  const hidden = rest.indexOf("--private");
  if (hidden >= 0) rest.splice(hidden, 1);
  const folder = hidden >= 0 ? `/${randomBytes(16).toString("hex")}/` : "/";
  let server: Loopback;
  try {
    server = await startServer(script, rest, port ?? usualPort, { folder }).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "EADDRINUSE" && port === undefined) return startServer(script, rest, 0, { folder });
      throw error;
    });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    console.error(code === "EADDRINUSE" ? `Port ${port} is in use; name another with --port` : message);
    return 1;
  }
  console.log(`${basename(script)} runs at ${server.url}  (Ctrl+C ends it; a reload takes in changed sources)`);
  await new Promise<void>((resolve) => {
    process.once("SIGINT", resolve);
    process.once("SIGTERM", resolve);
  });
  await server.close();
  return 0;
}

/**
 * Serves the page of a script, on this machine only.
 *
 * @param options folder: path prefix; an unguessable one keeps other users of the machine out
 */
export async function startServer(
  script: string,
  args: readonly string[],
  port: number,
  options: { folder?: string } = {},
): Promise<Loopback> {
  const here = (name: string): string => fileURLToPath(new URL(`../page/${name}`, import.meta.url));
  const page = new Bundler(here(`page.${ownType}`));
  const worker = new Bundler(here(`worker.${ownType}`), script);
  // A build error in the page's sources is reported on the first request; here it must only not be unhandled.
  page.code().catch(() => undefined);
  return serveLoopback(port, {
    "/": async () => ({ type: "text/html", body: await readFile(here("page.html")) }),
    "/guard.js": async () => ({ type: "text/javascript", body: await readFile(here("guard.js")) }),
    "/page.js": async () => ({ type: "text/javascript", body: (await page.code()).code }),
    "/page.css": async () => ({ type: "text/css", body: (await page.code()).css }),
    "/run.json": () => ({ type: "application/json", body: JSON.stringify({ script: basename(script), args }) }),
    "/worker.js": async () => ({ type: "text/javascript", body: await workerCode(worker) }),
  }, options);
}

/** The worker's code; if the script cannot be bundled, code that reports the error to the page. */
async function workerCode(worker: Bundler): Promise<string> {
  try {
    return (await worker.code()).code;
  } catch (error) {
    const message = { type: "error", message: (error as Error).message, stack: "" };
    return `postMessage(${JSON.stringify(message)});`;
  }
}
