// Trainings on 1, 2 and 4 ranks end with the same weights, to the last bit, also if a rank is killed.
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { runCommand } from "../../helpers/command.ts";

const folder = await mkdtemp(join(tmpdir(), "voxgrad-ranks-"));
test.after(() => rm(folder, { recursive: true, force: true }));
const words = ["train_unet", "--phantoms", "4", "--folds", "2", "--steps", "4", "--epoch", "4", "--validation", "0"]
  .concat(["--features", "2,4", "--patch", "8,8,8", "--workers", "0", "--batch", "4", "--micro", "4"]);

async function run(...more: string[]): Promise<string> {
  const { code, output } = await runCommand(folder, [...words, ...more]);
  assert.is(code, 0, output);
  return output;
}
const model = (name: string): Promise<Buffer> => readFile(join(folder, name, "model.safetensors"));

const alone = run("--run", "alone");

test("train_unet --ranks 2 and 4 end with the weights of one process that adds up the micro-batches", async () => {
  await alone;
  for (const ranks of ["2", "4"]) {
    const output = await run("--ranks", ranks, "--run", `ranks_${ranks}`);
    assert.match(output, `${ranks} ranks at this machine; 4 micro-batches a step`);
    assert.ok((await model(`ranks_${ranks}`)).equals(await model("alone")));
  }
});

test("a rank that is killed is replaced, and the weights are the same", async () => {
  const cli = fileURLToPath(new URL("../../../engine/platform/cli/voxgrad.mjs", import.meta.url));
  const more = ["--ranks", "2", "--run", "killed"];
  const child = spawn(process.execPath, [cli, ...words, ...more], { cwd: folder });
  let output = "";
  let killed = false;
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", async (data) => {
      output += data;
      if (killed || !/Step: /.test(output)) return;
      killed = true;
      const children = await readFile(`/proc/${child.pid}/task/${child.pid}/children`, "utf8");
      for (const pid of children.trim().split(" ")) process.kill(Number(pid), "SIGKILL");
    });
  }
  const code = await new Promise((resolve) => child.on("close", resolve));
  assert.is(code, 0, output);
  assert.match(output, "Rank 1 ended (137) and is started again");
  assert.ok((await model("killed")).equals(await model("alone")));
});

test("--exchange f16 rounds gradients, and neither the loss nor counts of voxels", async () => {
  await run("--ranks", "2", "--exchange", "f16", "--run", "half");
  const first = async (name: string) =>
    JSON.parse((await readFile(join(folder, name, "log.jsonl"), "utf8")).split("\n")[0]);
  const [half, whole] = [await first("half"), await first("alone")];
  assert.equal([half.loss, half.dice], [whole.loss, whole.dice]);
  assert.not((await model("half")).equals(await model("alone")));
});

test("train_unet refuses ranks that do not share the micro-batches evenly, and mixed precision", async () => {
  for (
    const [more, told] of [
      [["--ranks", "3"], "--ranks: 3 ranks do not share 4 micro-batches: take a power of two that divides them"],
      [["--precision", "mixed"], "--precision has no effect: micro-batches are not scaled for f16"],
      [["--rank", "1"], "--at is missing: rank 1 connects to rank 0"],
    ] as const
  ) {
    const { code, output } = await runCommand(folder, [...words, "--run", "refused", "--overwrite", ...more]);
    assert.is(code, 1);
    assert.match(output, told);
  }
});

test.run();
