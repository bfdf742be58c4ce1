import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, rmSync } from "node:fs";
import { mkdir, readdir, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import type { Readable } from "node:stream";
import type { Browser } from "playwright-core";
import { firefox } from "playwright-core";

const inPath = (names: readonly string[]): string | undefined =>
  (process.env.PATH ?? "").split(delimiter)
    .flatMap((folder) => names.map((name) => join(folder, name)))
    .find((path) => existsSync(path));

/** Firefox of this system, or undefined: no package of npm brings one that computes. */
export const firefoxPath = inPath(["firefox-esr", "firefox"]);
const xvfbPath = inPath(["Xvfb"]);

/** Where Firefox saves files. */
const downloads = join(tmpdir(), `voxgrad-firefox-${process.pid}`);

/** Waits for what Firefox saves, of which playwright 1.64 tells nothing where a page made the file itself. */
export async function firefoxSaved(): Promise<{ name: string; bytes: Buffer }> {
  for (let k = 0; k < 300; k++) {
    const names = await readdir(downloads);
    if (names.length === 1 && (await stat(join(downloads, names[0]))).size > 0) {
      const bytes = await readFile(join(downloads, names[0]));
      await rm(join(downloads, names[0]));
      return { name: names[0], bytes };
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`Firefox saved no file within 30 s; there are: ${await readdir(downloads)}`);
}

/**
 * Starts Firefox with WebGPU, which Firefox for Linux has only where these preferences are set, on the GPU or CPU that
 * the system has a Vulkan driver for. Without a display it has no WebGL 2, which the viewer of scans needs, so it runs
 * on a display in memory where Xvfb is installed, and headless elsewhere.
 */
export async function launchFirefox(): Promise<Browser> {
  const screen = xvfbPath === undefined ? undefined : await startXvfb(xvfbPath);
  await mkdir(downloads, { recursive: true });
  const env: Record<string, string> = {};
  for (const [name, value] of Object.entries(process.env)) if (value !== undefined) env[name] = value;
  try {
    const browser = await firefox.launch({
      // By WebDriver BiDi, which the Firefox of a system speaks.
      channel: "moz-firefox",
      executablePath: firefoxPath!,
      headless: screen === undefined,
      env: { ...env, ...(screen && { DISPLAY: screen.display, MOZ_ENABLE_WAYLAND: "0" }) },
      timeout: 120_000,
      downloadsPath: downloads,
      firefoxUserPrefs: {
        "dom.webgpu.enabled": true,
        "gfx.webgpu.ignore-blocklist": true,
        // What shows scans; it is refused where there is no GPU.
        "webgl.force-enabled": true,
      },
    });
    browser.on("disconnected", () => {
      screen?.server.kill();
      rmSync(downloads, { recursive: true, force: true });
    });
    return browser;
  } catch (error) {
    screen?.server.kill();
    throw error;
  }
}

/** A display in memory, of a number that was free. */
async function startXvfb(path: string): Promise<{ display: string; server: ChildProcess }> {
  const server = spawn(path, ["-displayfd", "3", "-screen", "0", "1920x1200x24", "-nolisten", "tcp"], {
    stdio: ["ignore", "ignore", "ignore", "pipe"],
  });
  const told = once(server.stdio[3] as Readable, "data");
  const ended = once(server, "exit").then(([code]) => {
    throw new Error(`Xvfb ended with status ${code} before it had a display`);
  });
  const [number] = await Promise.race([told, ended]);
  ended.catch(() => undefined);
  return { display: `:${String(number).trim()}`, server };
}
