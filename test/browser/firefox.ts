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
 *
 * @param downloads where files are saved without a question
 */
export const launchFirefox = (downloads?: string): Promise<Browser> =>
  puppeteer.launch({
    browser: "firefox",
    executablePath: firefoxPath!,
    headless: true,
    protocolTimeout: 600_000,
    extraPrefsFirefox: {
      "dom.webgpu.enabled": true,
      "gfx.webgpu.ignore-blocklist": true,
      // What shows scans; it is refused where there is no GPU.
      "webgl.force-enabled": true,
      ...(downloads !== undefined && {
        "browser.download.folderList": 2,
        "browser.download.dir": downloads,
        "browser.download.useDownloadDir": true,
        "browser.helperApps.neverAsk.saveToDisk": "application/octet-stream",
      }),
    },
  });
