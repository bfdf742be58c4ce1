import { test } from "uvu";
import * as assert from "uvu/assert";
import { readOptions } from "../../bench/options.ts";

test("readOptions() of the benchmark chooses items by words, and peers", () => {
  const { chosen, rounds, peers, profile } = readOptions(["--items", "Hessian,layerNorm", "--rounds", "3", "--peers="]);
  assert.equal(chosen.map(({ name }) => name), [
    "layerNorm of 4096x256 forward",
    "layerNorm of 4096x256 backward",
    "U-Net Hessian-vector product",
  ]);
  assert.equal([rounds, peers, profile], [3, [], false]);
  assert.ok(readOptions(["--profile"]).chosen.length > 40);
});

test("readOptions() of the benchmark refuses what it does not know, by name", () => {
  assert.throws(() => readOptions(["--item", "conv3d"]), /--item is not an option; there are --rounds, --items/);
  assert.throws(() => readOptions(["--items", "conv3d,conv9"]), /no item's name holds "conv9"/);
  assert.throws(() => readOptions(["conv3d"]), /unexpected "conv3d"/);
  assert.throws(() => readOptions(["--rounds", "N"]), /--rounds is a number from 1 up/);
  assert.throws(() => readOptions(["--peers", "jax,cuda"]), /--peers some of jax,tfjs,torch; got 7, jax,cuda/);
});

test.run();
