// A federation of a site in Node and one in a page of headless Chromium, which reaches the server by WebSocket.
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { startServer } from "../../engine/platform/cli/serve.ts";
import { sha256 } from "../../engine/core/digest.ts";
import { closeBrowser, sharedBrowser } from "../browser/harness.ts";
import { natsServer, said, scratch, skips, voxgrad } from "./servers.ts";
import { writeSites } from "./sites.ts";

if (!skips(["nats-server"], "apt-get install nats-server")) {
  const folder = await scratch("sites");
  const server = await natsServer(([, port]) => `websocket { listen: "127.0.0.1:${port}", no_tls: true }`);
  test.after(async () => {
    await closeBrowser();
    await server.close();
    await rm(folder, { recursive: true, force: true });
  });

  test("voxgrad serve federate lets a page take part, and its model is that of the server", async () => {
    await writeSites(folder, { organs: ["liver", "spleen"], cases: 3, size: 16 });
    const network = ["--preset", "small", "--patch", "16,16,16", "--features", "2,4"];
    await said(folder, ["plan", "test", "--out", "plan.json", ...network]);
    const words = ["federate", "server", "plan.json", "--sites", "2", "--rounds", "2", "--steps", "2", "--batch", "1"];
    const leader = voxgrad(folder, [...words, "--nats", server.url]);
    const site = voxgrad(
      folder,
      ["federate", "client", "--data", "site_0", "--site", "ward", "--run", "ward"]
        .concat(["--nats", server.url]),
    );

    const script = fileURLToPath(new URL("../../scripts/federate.ts", import.meta.url));
    const page = await (await sharedBrowser()).newPage();
    const pages = await startServer(script, ["client", "--site", "page", "--nats", server.page], 0);
    try {
      await page.goto(pages.url);
      const state = page.locator("#state");
      // Without its scans it says what it lacks.
      await state.filter({ hasText: "failed" }).waitFor();
      assert.match((await page.locator("#errortext").textContent())!, "--site and --data are wanted");
      await page.locator("#folder").setInputFiles(join(folder, "site_1"));
      await page.locator("#again").click();
      await state.filter({ hasText: /done|failed/ }).waitFor({ timeout: 400_000 });
      const log = (await page.locator("#log").textContent())!;
      assert.is(await state.textContent(), "done", `${log}\n${await page.locator("#errortext").textContent()}`);
      assert.match(log, "Site page joined: 2 rounds");
      assert.is(await site.ended, 0, site.output);
      assert.is(await leader.ended, 0, leader.output);
      assert.match(leader.output, "Round 2 of 2: 2 sites; the mean update has norm");

      const download = page.waitForEvent("download");
      await page.locator("#files a", { hasText: "model.safetensors" }).click();
      const digests = await Promise.all(
        [
          await (await download).path(),
          join(folder, "ward/model.safetensors"),
          join(folder, "runs/federation/model.safetensors"),
        ]
          .map(async (path) => sha256(new Uint8Array(await readFile(path)))),
      );
      assert.equal(digests, [digests[0], digests[0], digests[0]]);
    } finally {
      leader.child.kill();
      site.child.kill();
      await page.close();
      await pages.close();
    }
  });

  test("voxgrad serve allows no other address than that of its command line", async () => {
    const script = join(folder, "asks.ts");
    await writeFile(
      script,
      `import { platform } from ${
        JSON.stringify(fileURLToPath(new URL("../../engine/platform/browser.ts", import.meta.url)))
      };
      platform.log(await platform.openNats(${
        JSON.stringify(server.page)
      }).then(() => "reached", ({ message }) => message));`,
    );
    const page = await (await sharedBrowser()).newPage();
    const pages = await startServer(script, ["--nats", "ws://127.0.0.1:1"], 0);
    try {
      await page.goto(pages.url);
      await page.locator("#state").filter({ hasText: /done|failed/ }).waitFor();
      assert.match((await page.locator("#log").textContent())!, "no server of NATS answers");
    } finally {
      await page.close();
      await pages.close();
    }
  });
}

test.run();
