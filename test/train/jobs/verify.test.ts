// voxgrad verify finds a bit that was flipped in epoch 3 of 10: in the log, in the chain, and in the weights.
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { loadSafetensors } from "../../../engine/mod.ts";
import { saveSealed } from "../../../engine/nn/safetensors.ts";
import { tensor } from "../../../engine/ops/mod.ts";
import { runCommand } from "../../helpers/command.ts";

const folder = await mkdtemp(join(tmpdir(), "voxgrad-verify-"));
test.after(() => rm(folder, { recursive: true, force: true }));

const words = ["--phantoms", "4", "--folds", "2", "--steps", "20", "--epoch", "2", "--validation", "0"]
  .concat(["--features", "2,4", "--patch", "8,8,8", "--workers", "0", "--augment", "mirror"]);

async function run(...line: string[]): Promise<string> {
  const { code, output } = await runCommand(folder, line);
  assert.is(code, 0, output);
  return output;
}
async function refused(...line: string[]): Promise<string> {
  const { code, output } = await runCommand(folder, line);
  assert.is(code, 1, output);
  return output;
}
const path = (name: string): string => join(folder, name);

await run("train_unet", ...words, "--run", "whole");
await cp(path("whole"), path("bent"), { recursive: true });

test("verifyRun() accepts a run as it was trained, and its repetition", async () => {
  assert.match(await run("verify", "whole"), /whole: 10 epochs, chain [0-9a-f]{16}/);
  assert.match(await run("verify", "whole", "--recompute", "2"), "whole and whole.verify: equal for 2 epochs");
});

test("verifyRun() finds a bit flipped in a loss or a link of epoch 3", async () => {
  for (
    const [file, told] of [["log.jsonl", "log.jsonl: the losses of epoch 3 are"], [
      "chain.jsonl",
      "the link of epoch 3",
    ]]
  ) {
    await cp(path("whole"), path("bent"), { recursive: true });
    const lines = (await readFile(path(`whole/${file}`), "utf8")).split("\n");
    // Line of step 5, or link 3 behind that of the beginning: a digit whose last bit changes.
    const at = file === "log.jsonl" ? 4 : 3;
    const key = file === "log.jsonl" ? '"loss":' : '"weights":"';
    const place = lines[at].indexOf(key) + key.length + 5;
    const code = lines[at].charCodeAt(place);
    lines[at] = lines[at].slice(0, place) + String.fromCharCode(code ^ 1) + lines[at].slice(place + 1);
    await writeFile(path(`bent/${file}`), lines.join("\n"));
    assert.match(await refused("verify", "bent"), told);
  }
});

test("verifyRun() finds a bit of the weights that flipped in epoch 3 while a training stood still", async () => {
  await run("train_unet", ...words, "--run", "flipped", "--until", "2");
  const file = path("flipped/checkpoint.safetensors");
  const { tensors, metadata } = loadSafetensors(new Uint8Array(await readFile(file)));
  const [name, first] = [...tensors].find(([key, value]) => key.startsWith("params.") && value.dtype === "f32")!;
  const data = Float32Array.from(await first.data() as Float32Array);
  new Uint32Array(data.buffer)[0] ^= 1 << 20;
  tensors.set(name, tensor(data, { shape: first.shape }));
  const { voxgradDigest: _, ...rest } = metadata as Record<string, string>;
  await writeFile(file, await saveSealed(Object.fromEntries(tensors), rest));
  await run("train_unet", "--resume", "flipped", "--until", "0");
  await run("verify", "flipped");
  const told = await refused("verify", "flipped", "--against", "whole");
  assert.match(told, "flipped and whole: they part in epoch 3: other losses and other weights");
  assert.match(await refused("verify", "flipped", "--recompute", "3"), "they part in epoch 3");
});

test("verifyRun() names what another run began with, and runs without a chain", async () => {
  await run("train_unet", ...words, "--run", "other", "--seed", "2", "--until", "1");
  const told = await refused("verify", "other", "--against", "whole");
  assert.match(told, /other and whole: they began with other options/);
  await rm(path("other/chain.jsonl"));
  assert.match(await refused("verify", "other"), "other: it holds no chain.jsonl; name a run that this version");
});

test.run();
