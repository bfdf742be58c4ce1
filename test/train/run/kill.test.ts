// A training that is killed (SIGKILL) or asked to end (SIGTERM) at random moments and resumed ends with the weights of
// one that was left alone. VOXGRAD_KILLS=20 npm test -- kill does each that often; once unless given.
import { spawn } from "node:child_process";
import { type FSWatcher, watch } from "node:fs";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Prng } from "../../../engine/core/prng.ts";

const kills = Number(process.env.VOXGRAD_KILLS ?? 1);
const root = fileURLToPath(new URL("../../..", import.meta.url));
const folder = await mkdtemp(join(tmpdir(), "voxgrad-kill-"));
test.after(() => rm(folder, { recursive: true, force: true }));

const options = [
  "--phantoms",
  "4",
  "--folds",
  "2",
  "--fold",
  "each",
  "--steps",
  String(Math.max(10, 4 * kills)),
  "--epoch",
  "7",
  "--validation",
  "1",
  "--features",
  "4,8",
  "--patch",
  "16,16,16",
  "--checkpoint",
  "0",
];

type Signal = "SIGKILL" | "SIGTERM";

interface Kill {
  readonly signal: Signal;
  /** Output after which the clock runs. */
  readonly ready: RegExp;
  /** Milliseconds from then on, */
  readonly delay: number;
  /** and whether it then waits until a file is being written in this folder. */
  readonly writing?: string;
}

/** Runs train_unet until its end or its kill. */
function train(args: string[], kill?: Kill): Promise<{ killed: boolean; output: string }> {
  return new Promise((resolve, reject) => {
    const cli = join(root, "engine/platform/cli/voxgrad.mjs");
    const child = spawn(process.execPath, [cli, "train_unet", ...args], { cwd: folder });
    let output = "";
    let timer: NodeJS.Timeout | undefined;
    let watcher: FSWatcher | undefined;
    const strike = (): void => {
      if (!kill!.writing) return void child.kill(kill!.signal);
      // Asked twice it would end at once.
      watcher = watch(kill!.writing, (_, name) => {
        if (!name?.endsWith(".tmp")) return;
        watcher?.close();
        child.kill(kill!.signal);
      });
    };
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (data) => {
        output += data;
        if (kill && !timer && kill.ready.test(output)) timer = setTimeout(strike, kill.delay);
      });
    }
    child.on("error", reject);
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      watcher?.close();
      if (signal === "SIGKILL" || signal === "SIGTERM") resolve({ killed: true, output });
      else if (
        code === 143 &&
        /Stopped by SIGTERM after step \d+ of \d+; the checkpoint holds it\. Go on with --resume/.test(output)
      ) resolve({ killed: true, output });
      else if (code === 0) resolve({ killed: false, output });
      else reject(new Error(output));
    });
  });
}

const whole = train([...options, "--run", "whole"]);

for (const [seed, signal] of (["SIGKILL", "SIGTERM"] as const).entries()) {
  test(`train_unet ends with the same weights after ${kills} times ${signal} at random moments`, async () => {
    await whole;
    const own = signal.toLowerCase();
    const prng = new Prng(8 + seed);
    let args = [...options, "--run", own];
    let [done, writing, polite] = [0, 0, 0];
    while (done < kills) {
      // Some early, before or in the first steps; some while a file is written, mostly a checkpoint, as each step
      // writes one.
      const names: string[] = await readdir(join(folder, own)).catch(() => []);
      const into = join(folder, own, names.includes("fold_1") ? "fold_1" : "fold_0");
      const kill: Kill = {
        signal,
        ready: done % 4 === 0 ? /Data:/ : /Step:|Resuming after/,
        delay: prng.uniform(0, 900),
      };
      const late = done % 2 === 1 && names.includes("fold_0");
      const { killed, output } = await train(args, late ? { ...kill, writing: into } : kill);
      if (!killed) break;
      done++;
      if (/Stopped by SIGTERM/.test(output)) polite++;
      const left = await readdir(join(folder, own), { recursive: true });
      if (left.some((name) => name.endsWith(".tmp"))) writing++;
      if (left.includes("config.json")) args = ["--resume", own, "--checkpoint", "0"];
    }
    assert.is(done, kills, "the training was over before it had been killed often enough");
    const { output } = await train(args);
    assert.match(output, "Dice on");
    for (const fold of ["fold_0", "fold_1"]) {
      const model = (name: string) => readFile(join(folder, name, fold, "model.safetensors"));
      assert.ok((await model("whole")).equals(await model(own)), `the weights of ${fold} differ`);
    }
    for (const file of ["fold_0/log.jsonl", "fold_1/log.jsonl", "fold_0/epochs.jsonl", "fold_1/epochs.jsonl"]) {
      const [whole, killed] = await Promise.all(
        ["whole", own].map(async (name) =>
          (await readFile(join(folder, name, file), "utf8")).replace(/"seconds":[\d.]+/g, "")
        ),
      );
      assert.is(killed, whole);
    }
    const left = (await readdir(join(folder, own), { recursive: true })).filter((name) => name.endsWith(".tmp"));
    assert.equal(left, [], "what kills left half written is removed");
    console.log(`${writing} of ${kills} ${signal} fell into the writing of a file, ${polite} ended with a checkpoint`);
  });
}

test.run();
