import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import type { Browser } from "puppeteer-core";
import puppeteer from "puppeteer-core";

/** Firefox of this system, or undefined: no package of npm brings one that computes. */
export const firefoxPath: string | undefined = (process.env.PATH ?? "").split(delimiter)
  .flatMap((folder) => ["firefox-esr", "firefox"].map((name) => join(folder, name)))
  .find((path) => existsSync(path));

/**
 * Starts headless Firefox with WebGPU, which Firefox for Linux has only where these preferences are set, on the GPU or
 * CPU that the system has a Vulkan driver for.
 */
export const launchFirefox = (): Promise<Browser> =>
  puppeteer.launch({
    browser: "firefox",
    executablePath: firefoxPath!,
    headless: true,
    protocolTimeout: 600_000,
    extraPrefsFirefox: { "dom.webgpu.enabled": true, "gfx.webgpu.ignore-blocklist": true },
  });
