import { fileURLToPath } from "node:url";
import type { Browser } from "playwright-core";
import { bundle } from "../../engine/platform/cli/bundle.ts";
import type { Loopback } from "../../engine/platform/cli/loopback.ts";
import { serveLoopback } from "../../engine/platform/cli/loopback.ts";
import { launchChromium } from "./chromium.ts";
import { launchFirefox } from "./firefox.ts";

export type BrowserName = "Chromium" | "Firefox";

const launch = { Chromium: launchChromium, Firefox: launchFirefox };
const browsers = new Map<BrowserName, Promise<Browser>>();

/** The one browser of its name in this test file. */
export function sharedBrowser(name: BrowserName = "Chromium"): Promise<Browser> {
  if (!browsers.has(name)) browsers.set(name, launch[name]());
  return browsers.get(name)!;
}

const newPage = async (): Promise<ScriptPage> => (await sharedBrowser()).newPage() as unknown as ScriptPage;

/** Ends the browsers: `test.after(closeBrowser)`. */
export async function closeBrowser(): Promise<void> {
  const open = [...browsers.values()];
  browsers.clear();
  for (const each of open) await (await each).close();
}

/** What is used of a page. */
export interface ScriptPage {
  goto(url: string): Promise<unknown>;
  evaluate<A, R>(call: (argument: A) => R | Promise<R>, argument: A): Promise<R>;
  close(): Promise<unknown>;
}

export interface RunOptions {
  /** Opens a page. Default that of the shared Chromium. */
  readonly open?: () => Promise<ScriptPage>;
  /** Where the module runs. Default "worker". */
  readonly where?: "worker" | "page";
  /** Handed to the module's default export; must survive JSON. */
  readonly input?: unknown;
  /** Milliseconds until it fails. Default two minutes. */
  readonly timeout?: number;
}

/**
 * Bundles a TypeScript module, runs its default export in a browser, and gives what it returns (as JSON keeps it).
 *
 * @param file of the module, whose `export default` is `(input) => result or promise of it`
 * @throws Error with the browser's message and stack when the module cannot be bundled or throws
 * @example
 * ```ts
 * const losses = await runInBrowser<number[]>(new URL("./train_in_page.ts", import.meta.url), { input: { steps: 20 } });
 * ```
 */
export async function runInBrowser<T>(file: URL | string, options: RunOptions = {}): Promise<T> {
  const { open = newPage, where = "worker", input = null, timeout = 120_000 } = options;
  const path = file instanceof URL ? fileURLToPath(file) : file;
  const { code } = await bundle(fileURLToPath(new URL("./entry.ts", import.meta.url)), path);
  let server: Loopback | undefined;
  const page = await open();
  try {
    server = await serveLoopback(0, {
      "/": () => ({ type: "text/html", body: "<!doctype html><title>test</title>" }),
      "/module.js": () => ({ type: "text/javascript", body: code }),
    });
    await page.goto(server.url);
    const answer = await page.evaluate(
      ([where, input, timeout]) =>
        new Promise<{ result?: string; error?: string }>((resolve) => {
          setTimeout(() => resolve({ error: `No answer within ${timeout / 1000} s` }), timeout);
          if (where === "worker") {
            const worker = new Worker("/module.js", { type: "module" });
            worker.onmessage = ({ data }) => {
              if (data !== null && typeof data === "object" && ("result" in data || "error" in data)) resolve(data);
            };
            worker.onerror = ({ message }) => resolve({ error: message || "The worker could not be loaded" });
            worker.postMessage({ input });
          } else {
            addEventListener("message", ({ data }) => {
              if ("result" in data || "error" in data) resolve(data);
            });
            const script = document.createElement("script");
            script.type = "module";
            script.src = "/module.js";
            script.onload = () => postMessage({ input });
            script.onerror = () => resolve({ error: "The module could not be loaded" });
            document.head.append(script);
          }
        }),
      [where, input, timeout] as const,
    );
    if (answer.error !== undefined) throw new Error(`In the browser: ${answer.error}`);
    return JSON.parse(answer.result!) as T;
  } finally {
    await page.close();
    await server?.close();
  }
}
