// The page in Firefox, where there is one: a first visitor's segmentation, painted on and saved.
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeDevice } from "../../../engine/mod.ts";
import { metrics, phantomCase, readVolume } from "../../../engine/imaging/mod.ts";
import { startApp } from "../../../engine/platform/cli/serve.ts";
import { openModel } from "../../../models/mod.ts";
import { firefoxPath, launchFirefox } from "../firefox.ts";

test.after(closeDevice);

const name = "Segment in Firefox finds in a synthetic scan what openModel finds in Node";
if (firefoxPath === undefined) {
  console.log(`Skipped: ${name}: there is no firefox-esr or firefox in PATH; install one`);
} else {
  test(name, async () => {
    const folder = await mkdtemp(join(tmpdir(), "voxgrad-firefox-"));
    const server = await startApp(0);
    const browser = await launchFirefox(folder);
    try {
      const page = await browser.newPage();
      if (!(await page.evaluate(() => document.createElement("canvas").getContext("webgl2") !== null))) {
        return console.log(`Skipped: ${name}: Firefox has no WebGL 2 here; install Mesa's drivers of OpenGL`);
      }
      await page.goto(server.url);
      const press = async (label: string): Promise<void> => {
        const button = await page.waitForSelector(`button ::-p-text(${label})`, { visible: true, timeout: 60_000 });
        await button!.click();
      };
      await press("Try it on a synthetic scan");
      const told = await page.waitForFunction(() => {
        const problem = document.getElementById("problem")!;
        const said = document.getElementById("said")!.textContent!;
        return problem.hidden ? (said.startsWith("Done in") ? said : false) : problem.textContent;
      }, { timeout: 400_000 });
      const text = (await told.jsonValue()) as string;
      assert.ok(text.startsWith("Done in"), text);
      await press("Save labels");
      let files: string[] = [];
      for (let k = 0; k < 100 && !files.some((file) => file.endsWith(".nii.gz")); k++) {
        await new Promise((resolve) => setTimeout(resolve, 200));
        files = await readdir(folder);
      }
      const found = await readVolume(await readFile(join(folder, files.find((file) => file.endsWith(".nii.gz"))!)));
      const model = await openModel(await readFile("scripts/app/first/segmenter.safetensors"));
      const { labels } = await model.segment(phantomCase({ seed: 7 }).image);
      model.dispose();
      for (const label of [1, 2, 3]) {
        assert.ok(metrics.dice(found.data, labels.data, { label })! > 0.999, `class ${label}`);
      }
    } finally {
      await browser.close();
      await server.close();
      await rm(folder, { recursive: true, force: true });
    }
  });
}

test.run();
