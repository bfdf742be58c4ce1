// deno-lint-ignore-file no-explicit-any
// Counts of parameters and multiply-adds: by hand, and those of the ConResNet paper; `voxgrad summary`.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { conv3d, countProducts, matmul, random, type Tensor, valueAndGrad, zeros } from "../../engine/mod.ts";
import { saveModel } from "../../engine/train/mod.ts";
import {
  architectureOf,
  conResNet,
  conResNetArms,
  networkFromPlan,
  plainConvUNet,
  summarizeNetwork,
} from "../../models/mod.ts";
import { runCommand } from "../helpers/command.ts";
import { planFor } from "../helpers/plans.ts";

const folder = await mkdtemp(join(tmpdir(), "voxgrad-summary-"));
test.after(() => rm(folder, { recursive: true, force: true }));

test("countProducts() agrees with a count by hand, derivatives included", () => {
  const [x, w] = [zeros([2, 4, 5, 6, 7]), zeros([6, 2, 3, 3, 3])];
  const layer = (p: Tensor, y: Tensor) => conv3d(y, p, { groups: 2, stride: [1, 2, 2], padding: 1 });
  // 2 samples, 6 channels of 5 x 3 x 4 places, each a sum over 2 channels of 27 values.
  const each = 2 * 6 * 60 * 54;
  assert.equal(countProducts(layer, w, x), [{ operator: "conv", multiplyAdds: each, from: ["0"] }]);
  const lossOf = (p: { w: Tensor }, y: Tensor) => layer(p.w.mul(2), y.relu()).square().mean();
  const step = countProducts(
    (p: { w: Tensor }, y: Tensor) => valueAndGrad((q: any) => lossOf(q.p, q.y))({ p, y }),
    { w },
    x,
  );
  const operators = step.map(({ operator }) => operator).sort();
  assert.equal(operators, ["conv", "convInputGrad", "convWeightGrad"]);
  assert.ok(step.every(({ multiplyAdds }) => multiplyAdds === each));
  assert.equal(step[0].from, ["0.w"]);
  const product = countProducts(
    (a: Tensor, b: Tensor, c: number) => matmul(a, b).mul(c),
    zeros([3, 2, 5]),
    zeros([5, 7]),
    2,
  );
  assert.equal(product, [{ operator: "matmul", multiplyAdds: 3 * 2 * 5 * 7, from: ["1"] }]);
  assert.equal(
    countProducts((a: Tensor) => a.exp(), x),
    [],
  );
});

test("summarizeNetwork() of two small networks is as counted by hand", () => {
  const unet = plainConvUNet({
    inputChannels: 2,
    features: [4, 8],
    classes: 3,
    convsPerStage: 1,
    decoderConvsPerStage: 1,
  });
  const found = summarizeNetwork(unet, { input: [1, 2, 8, 8, 8] });
  assert.equal(found.parts, [
    // 2 to 4 channels at 512 places, 4 to 8 at 64; weights, a bias and two of the norm.
    { name: "encoder.stages", parameters: 4 * 54 + 3 * 4 + 8 * 108 + 3 * 8, multiplyAdds: 512 * 4 * 54 + 64 * 8 * 108 },
    { name: "decoder.stages", parameters: 4 * 216 + 3 * 4, multiplyAdds: 512 * 4 * 216 },
    { name: "decoder.transpconvs", parameters: 8 * 4 * 8 + 4, multiplyAdds: 64 * 8 * 4 * 8 },
    { name: "decoder.seg_layers", parameters: 4 * 3 + 3, multiplyAdds: 512 * 3 * 4 },
  ]);
  assert.is(found.parameters, 2267);
  assert.equal(found.outputs, [[1, 3, 8, 8, 8]]);
  const deeper = summarizeNetwork(unet, { input: [3, 2, 8, 8, 8], depth: 3 }).parts;
  assert.equal(deeper.slice(0, 2), [
    { name: "encoder.stages.0", parameters: 228, multiplyAdds: 3 * 512 * 4 * 54 },
    { name: "encoder.stages.1", parameters: 888, multiplyAdds: 3 * 64 * 8 * 108 },
  ]);

  // Odd sizes: 5 x 6 x 7 becomes 3 x 3 x 4.
  const baseline = conResNet({ inputChannels: 1, classes: 1, features: [8, 16], ...conResNetArms.baseline });
  const counts = summarizeNetwork(baseline, { input: [1, 1, 5, 6, 7] });
  assert.equal(Object.fromEntries(counts.parts.map(({ name, multiplyAdds }) => [name, multiplyAdds])), {
    conv_4_32: 210 * 8 * 27,
    conv_32_64: 36 * 16 * 8 * 27,
    layer0: 2 * 210 * 8 * 8 * 27,
    layer1: 4 * 36 * 16 * 16 * 27,
    layer2: 4 * 36 * 16 * 16 * 27,
    fusionConv: 36 * 8 * 16 * 27,
    seg_x1: 210 * 8 * 8 * 27,
    seg_cls: 210 * 8,
  });
});

test("summarizeNetwork() of conResNet has the published parameters and multiply-adds", () => {
  const of = (config: object) =>
    summarizeNetwork(conResNet({ inputChannels: 4, classes: 3, ...config }), { input: [1, 4, 80, 160, 160] });
  const [full, baseline] = [of(conResNetArms.full), of(conResNetArms.baseline)];
  assert.equal(
    [full.parameters, baseline.parameters, of({ unusedLayers: true }).parameters],
    [19018732, 18783715, 19441196],
  );
  // Table VII; it does not say what else was counted.
  for (
    const [found, published] of [
      [full, 538.5e9],
      [baseline, 453.9e9],
    ] as const
  ) {
    assert.ok(Math.abs(found.multiplyAdds / published - 1) < 0.005, `${found.multiplyAdds} for ${published}`);
  }
  assert.equal(
    full.outputs,
    Array.from({ length: 4 }, () => [1, 3, 80, 160, 160]),
  );
});

test("voxgrad summary describes a network of options and a model file", async () => {
  const words = ["--network", "conResNet", "--channels", "4", "--classes", "3", "--patch", "80,160,160"];
  const described = await runCommand(folder, ["summary", ...words]);
  assert.is(described.code, 0, described.output);
  assert.match(described.output, /Parameters: +19,018,732\nModel size: +76\.1 MB/);
  assert.match(described.output, /Multiply-adds: +53\d\.\de9 .*\nFLOPs: +107\d\.\de9/);
  const plan = planFor({ labels: ["background", "a"] });
  const { name: network } = plan.network;
  const bytes = await saveModel(networkFromPlan(plan).init(random.key(0)), {
    network,
    architecture: architectureOf(plan) as any,
    plan,
  });
  await writeFile(join(folder, "model.safetensors"), bytes);
  const stored = await runCommand(folder, ["summary", "model.safetensors"]);
  assert.is(stored.code, 0, stored.output);
  assert.ok(
    stored.output.includes(`${network}, input 1 x 1 x ${plan.patch.join(" x ")}; outputs 1 x 2 x`),
    stored.output,
  );
  const wrong = await runCommand(folder, ["summary", "--network", "conResNet", "--features", "9,18"]);
  assert.is(wrong.code, 1);
  assert.match(wrong.output, /groups divides all features/);
});

test.run();
