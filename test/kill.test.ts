// A training that is killed (SIGKILL) at random moments and resumed ends with the weights of one that was left alone.
// VOXGRAD_KILLS=20 npm test -- kill kills it that often; a few times unless given.
import { spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Prng } from "../engine/imaging/prng.ts";

const kills = Number(process.env.VOXGRAD_KILLS ?? 3);
const root = fileURLToPath(new URL("..", import.meta.url));
const folder = await mkdtemp(join(tmpdir(), "voxgrad-kill-"));
test.after(() => rm(folder, { recursive: true, force: true }));

const options = [
  "--phantoms", "4", "--folds", "2", "--fold", "each", "--steps", String(Math.max(10, 4 * kills)), "--epoch", "7",
  "--validation", "1",
  "--features", "4,8", "--patch", "16,16,16", "--checkpoint", "0",
];

/** Runs train_unet; after `ready` has been printed and `delay` ms more it is killed. */
function train(args: string[], kill?: { ready: RegExp; delay: number }): Promise<{ killed: boolean; output: string }> {
  return new Promise((resolve, reject) => {
    const cli = join(root, "engine/platform/cli/voxgrad.mjs");
    const child = spawn(process.execPath, [cli, "train_unet", ...args], { cwd: folder });
    let output = "";
    let timer: NodeJS.Timeout | undefined;
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (data) => {
        output += data;
        if (kill && !timer && kill.ready.test(output)) timer = setTimeout(() => child.kill("SIGKILL"), kill.delay);
      });
    }
    child.on("error", reject);
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      if (signal === "SIGKILL") resolve({ killed: true, output });
      else if (code === 0) resolve({ killed: false, output });
      else reject(new Error(output));
    });
  });
}

test(`${kills} kills at random moments change nothing`, async () => {
  await train([...options, "--run", "whole"]);
  const prng = new Prng(8);
  let args = [...options, "--run", "killed"];
  let [done, writing] = [0, 0];
  while (done < kills) {
    // Some early, before or in the first steps; each step writes a checkpoint, so many fall into one.
    const ready = done % 4 === 0 ? /Data:/ : /Step:|Going on/;
    const { killed } = await train(args, { ready, delay: prng.uniform(0, 900) });
    if (!killed) break;
    done++;
    const names = await readdir(join(folder, "killed"), { recursive: true });
    if (names.some((name) => name.endsWith(".tmp"))) writing++;
    if (names.includes("config.json")) args = ["--resume", "killed", "--checkpoint", "0"];
  }
  assert.is(done, kills, "the training was over before it had been killed often enough");
  const { output } = await train(args);
  assert.match(output, "Dice on");
  for (const fold of ["fold_0", "fold_1"]) {
    const model = (name: string) => readFile(join(folder, name, fold, "model.safetensors"));
    assert.ok((await model("whole")).equals(await model("killed")), `the weights of ${fold} differ`);
  }
  for (const file of ["fold_0/log.jsonl", "fold_1/log.jsonl", "fold_0/epochs.jsonl", "fold_1/epochs.jsonl"]) {
    const [whole, killed] = await Promise.all(["whole", "killed"].map(async (name) =>
      (await readFile(join(folder, name, file), "utf8")).replace(/"seconds":[\d.]+/g, ""),
    ));
    assert.is(killed, whole);
  }
  const left = (await readdir(join(folder, "killed"), { recursive: true })).filter((name) => name.endsWith(".tmp"));
  assert.equal(left, [], "what kills left half written is removed");
  if (kills > 10) console.log(`${writing} of ${kills} kills fell into the writing of a file`);
});

test.run();
