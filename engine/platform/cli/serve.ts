import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { basename, extname } from "node:path";
import { fileURLToPath } from "node:url";
import { bundle, bundleApp, Bundler } from "./bundle.ts";
import { ownType } from "../package_root.ts";
import type { Answer, Loopback } from "./loopback.ts";
import { APP_POLICY, POLICY, serveLoopback } from "./loopback.ts";

const usualPort = 8080;

/**
 * Serves a page until the process is stopped: one that runs the script in a Web Worker; without a script the page of
 * all ways to work.
 *
 * @param args arguments of the script; `--port N` and `--private` are removed from them
 * @returns the exit code
 */
export async function serve(script: string | undefined, args: readonly string[]): Promise<number> {
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
  if (script === undefined && rest.length > 0) {
    console.error(`Without a script there are --port and --private, not ${rest.join(" ")}`);
    return 2;
  }
  const start = (port: number): Promise<Loopback> =>
    script === undefined ? startApp(port, { folder }) : startServer(script, rest, port, { folder });
  let server: Loopback;
  try {
    server = await start(port ?? usualPort).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "EADDRINUSE" && port === undefined) return start(0);
      throw error;
    });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    console.error(code === "EADDRINUSE" ? `Port ${port} is in use; name another with --port` : message);
    return 1;
  }
  console.log(
    `${
      script === undefined ? "voxgrad" : basename(script)
    } runs at ${server.url}  (Ctrl+C ends it; a reload takes in changed sources)`,
  );
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
  const page = new Bundler(() => bundle(here(`page.${ownType}`)));
  // The one address that a page may send to is one of its command line: that of a federation.
  const servers = args.flatMap((word) => /^(?:--\w+=)?(wss?:\/\/[\w.:[\]-]+)$/.exec(word)?.[1] ?? []);
  const worker = new Bundler(() => bundle(here(`worker.${ownType}`), script, { nats: servers.length > 0 }));
  // A build error in the page's sources is reported on the first request; here it must only not be unhandled.
  page.get().catch(() => undefined);
  return serveLoopback(port, {
    "/": async () => ({ type: "text/html", body: await readFile(here("page.html")) }),
    "/guard.js": async () => ({ type: "text/javascript", body: await readFile(here("guard.js")) }),
    "/page.js": async () => ({ type: "text/javascript", body: (await page.get()).code }),
    "/page.css": async () => ({ type: "text/css", body: (await page.get()).css }),
    "/run.json": () => ({ type: "application/json", body: JSON.stringify({ script: basename(script), args }) }),
    "/worker.js": async () => ({ type: "text/javascript", body: await workerCode(worker) }),
  }, { ...options, policy: [`${POLICY}; connect-src 'self'`, ...servers].join(" ") });
}

/** The worker's code; if the script cannot be bundled, code that reports the error to the page. */
async function workerCode(worker: Bundler<{ code: string; inputs: readonly string[] }>): Promise<string> {
  try {
    return (await worker.get()).code;
  } catch (error) {
    const message = { type: "error", message: (error as Error).message, stack: "" };
    return `postMessage(${JSON.stringify(message)});`;
  }
}

const TYPES: Readonly<Record<string, Answer["type"]>> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".css": "text/css",
};

/**
 * Serves the page of all ways to work, on this machine only.
 *
 * @param options folder: as of startServer
 * @throws PlatformError without a package that the page needs; Error if its sources cannot be bundled
 */
export async function startApp(port: number, options: { folder?: string } = {}): Promise<Loopback> {
  const app = new Bundler(bundleApp);
  let made = await app.get();
  return serveLoopback(port, async (path) => {
    // A reload takes in changed sources; what a page loads later belongs to those that it began with.
    if (path === "/") made = await app.get();
    const name = path === "/" ? "index.html" : path.slice(1);
    const body = made.files.get(name);
    return body && { type: TYPES[extname(name)] ?? "application/octet-stream", body };
  }, { ...options, policy: APP_POLICY });
}
