// deno-lint-ignore-file no-explicit-any
// SegResNet against MONAI's architecture written in plain PyTorch 1.13 (float64), and by the commands of voxgrad.
// Weights and inputs follow the formula of `fill`, tensors numbered by the sorted names of the state dict.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeDevice, random, type Tensor, tree, zeros } from "../../../engine/mod.ts";
import { writePhantomDataset } from "../../../engine/imaging/mod.ts";
import { segResNet, type SegResNetConfig } from "../../../models/mod.ts";
import { runCommand } from "../../helpers/command.ts";
import { checkGoldenNetwork, type GoldenNetwork } from "../../helpers/reference/golden_network.ts";
import { goldenJson } from "../../helpers/golden.ts";

type Case = GoldenNetwork & { readonly config: SegResNetConfig };

const cases = goldenJson("segresnet") as Record<"anisotropic" | "monai", Case>;
for (const [name, each] of Object.entries(cases)) {
  test(`segResNet() equals PyTorch's, ${name}`, async () => {
    await checkGoldenNetwork(segResNet(each.config), each, { every: name === "monai" ? 7 : 1, name });
  });
}

test("segResNet() has the parameters of MONAI's default", () => {
  const model = segResNet({ inputChannels: 1, features: [8, 16, 32, 64], classes: 2 });
  const total = tree.leaves(model.init(random.key(0))).reduce((sum: number, p: Tensor) => sum + p.size, 0);
  assert.is(total, 1_176_186);
  assert.equal([model.config.blocksPerStage, model.config.decoderBlocksPerStage], [[1, 2, 2, 4], [1, 1, 1]]);
});

test("segResNet() refuses what cannot be, with the fix", () => {
  const refuses = (run: () => unknown, pattern: RegExp): void =>
    assert.throws(run, (e: Error) => pattern.test(e.message) || assert.unreachable(e.message));
  const config = { inputChannels: 1, features: [8, 16], classes: 2 };
  refuses(() => segResNet({ ...config, features: [4, 8] }), /groups divides all features, 4, 8, got 8/);
  refuses(() => segResNet({ ...config, blocksPerStage: [1] }), /blocksPerStage is an integer >= 1 or 2 of them/);
  refuses(() => segResNet({ ...config, deepSupervision: true } as any), /unknown option "deepSupervision"/);
  const model = segResNet(config);
  refuses(() => model.apply({} as never, zeros([1, 1, 8, 9, 8])), /height 9 is not divisible by 2; 8 or 10 would do/);
});

test("plan, train_unet, predict and summary take segResNet by its name", async () => {
  const folder = await mkdtemp(join(tmpdir(), "voxgrad-segresnet-"));
  const run = async (...words: string[]): Promise<string> => {
    const { code, output } = await runCommand(folder, words);
    assert.is(code, 0, output);
    return output;
  };
  try {
    await writePhantomDataset(join(folder, "data"), { cases: 3, seed: 1, shape: [18, 16, 16] });
    const size = ["--preset", "small", "--features", "8,16", "--patch", "8,8,8", "--batch", "2"];
    assert.match(await run("plan", "data", "--network", "segResNet", ...size), /network +segResNet 8-16/);
    const trained = await run("train_unet", "--data", "data", "--plan", "plan.json", "--steps", "1", "--run", "run");
    assert.match(trained, /Model: segResNet 8-16/);
    await run("predict", "run", "data/imagesTr", "labels");
    assert.match(await run("summary", "run"), /segResNet, input 1 x 1 x 8 x 8 x 8; outputs 1 x \d+ x 8 x 8 x 8/);
    assert.match(await run("summary", "--network", "segResNet", "--patch", "16,16,16"), /Parameters: +1,176,186/);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test.after(() => closeDevice());

test.run();
