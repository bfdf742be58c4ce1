// CoLab's script unchanged in a page: generator and segmenter learn as in Node.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeBrowser } from "./harness.ts";
import { assertAlike, trainInBoth } from "./page_training.ts";

test.after(closeBrowser);

test("train_colab in a page gives the losses of Node over twenty steps, and the figures", async () => {
  const small = [
    "--phantoms",
    "2",
    "--folds",
    "2",
    "--steps",
    "20",
    "--epoch",
    "10",
    "--validation",
    "1",
    "--features",
    "4,8",
    "--patch",
    "16,16,16",
    "--period",
    "4",
    "--generatorRate",
    "0.01",
  ];
  const { log, inPage, inNode } = await trainInBoth("train_colab", small);
  assert.match(log, "generator.safetensors");
  assert.match(log, "figures/ (3 files)");
  assert.is(inPage.length, 20);
  assertAlike(inPage, inNode);
});

test.run();
