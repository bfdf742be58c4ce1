import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeBrowser, runInBrowser } from "./harness.ts";
import train from "./modules/training.ts";

test.after(closeBrowser);

let inNode: number[];

test("compile() in Node lowers the loss over twenty steps, with the same bits twice", async () => {
  inNode = await train();
  assert.is(inNode.length, 20);
  assert.ok(inNode.at(-1)! < 0.8 * inNode[0], `losses ${inNode.join(", ")}`);
  assert.equal(await train(), inNode);
});

test("compile() in Chromium gives the losses of Node within 1e-4 over twenty steps", async () => {
  const inChromium = await runInBrowser<number[]>(new URL("./modules/training.ts", import.meta.url));
  assert.is(inChromium.length, 20);
  inNode.forEach((loss, step) => {
    const apart = Math.abs(inChromium[step] - loss) / Math.abs(loss);
    assert.ok(apart < 1e-4, `step ${step}: ${loss} in Node, ${inChromium[step]} in Chromium`);
  });
});

test.run();
