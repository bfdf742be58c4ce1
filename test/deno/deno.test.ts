// Deno, whose WebGPU (wgpu) and WGSL compiler (naga) share nothing with Node's and Chromium's, which have Dawn and
// Tint.
import { spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeDevice } from "../../engine/mod.ts";
import train from "../browser/modules/training.ts";
import { root, runDeno, runModule } from "./harness.ts";

const folder = await mkdtemp(join(tmpdir(), "voxgrad-deno-"));
test.after(async () => {
  await closeDevice();
  await rm(folder, { recursive: true, force: true });
});
const script = join(root, "scripts/train_unet.ts");

test("compile() in Deno gives the losses of Node within 1e-4 over twenty steps", async () => {
  const { host, result } = await runModule<number[]>(new URL("../browser/modules/training.ts", import.meta.url));
  const inNode = await train();
  assert.is(host, "deno");
  assert.is(result.length, 20);
  inNode.forEach((loss, step) => {
    const apart = Math.abs(result[step] - loss) / Math.abs(loss);
    assert.ok(apart < 1e-4, `step ${step}: ${loss} in Node, ${result[step]} in Deno`);
  });
});

test("train_unet by `deno run` writes the files and the losses of Node", async () => {
  const small = "--phantoms 2 --folds 2 --steps 4 --features 4,8 --patch 16,16,16 --run";
  const args = small.split(" ");
  const { code, stdout, stderr } = await runDeno([script, ...args, "deno"], { cwd: folder });
  assert.is(code, 0, stdout + stderr);
  assert.match(stdout, /class +Dice/);
  const cli = join(root, "engine/platform/cli/voxgrad.mjs");
  const child = spawn(process.execPath, [cli, "run", script, ...args, "node"], { cwd: folder, stdio: "ignore" });
  assert.is(await new Promise((resolve, reject) => child.on("close", resolve).on("error", reject)), 0);

  assert.equal(await readdir(join(folder, "deno")), await readdir(join(folder, "node")));
  const losses = async (run: string): Promise<number[]> => {
    const text = await readFile(join(folder, run, "log.jsonl"), "utf8");
    return text
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line).loss);
  };
  const [ours, inNode] = [await losses("deno"), await losses("node")];
  assert.is(ours.length, 4);
  inNode.forEach((loss, k) => {
    assert.ok(Math.abs(ours[k] - loss) < 1e-4 * loss, `step ${k + 1}: ${ours[k]} in Deno, ${loss} in Node`);
  });
});

test("train_unet in Deno explains --help, and ends a wrong option with code 1 and no stack", async () => {
  const help = await runDeno([script, "--help"]);
  assert.is(help.code, 0, help.stderr);
  assert.match(help.stdout, "--phantoms");
  const wrong = await runDeno([script, "--bogus", "1"]);
  assert.is(wrong.code, 1);
  assert.match(wrong.stderr, "ConfigError: Unknown key --bogus");
  assert.not.match(wrong.stderr, "config.ts:");
});

test("openDevice() in Deno without an adapter says what there is and what to do", async () => {
  const { code, stderr } = await runDeno([script], { cwd: folder, env: { VOXGRAD_ADAPTER: "no such device" } });
  assert.is(code, 1);
  assert.match(stderr, /PlatformError: No WebGPU adapter found in Deno for "no such device": there is .+The fix: /);
});

test.run();
