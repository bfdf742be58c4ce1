// MedNeXt against the published architecture written in plain PyTorch 1.13 (float64). Weights and inputs follow the
// formula of `fill`, tensors numbered by the sorted names of the state dict.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeDevice, grad, random, type Tensor, tensor, zeros } from "../../../engine/mod.ts";
import { medNeXt, type MedNeXtConfig, registeredNetworks, summarizeNetwork } from "../../../models/mod.ts";
import { goldenJson } from "../../helpers/golden.ts";
import { fill, filled } from "../../helpers/reference/fill.ts";
import { checkGoldenNetwork, type GoldenNetwork } from "../../helpers/reference/golden_network.ts";
import { refuses } from "../../helpers/refuse.ts";

type Case = GoldenNetwork & { readonly config: MedNeXtConfig };

for (const [name, each] of Object.entries(goldenJson("mednext") as Record<string, Case>)) {
  test(`medNeXt() equals PyTorch's, ${name}`, async () => {
    await checkGoldenNetwork(medNeXt(each.config), each, { every: name === "published" ? 7 : 1, name });
  });
}

const [base, wide] = [[2, 3, 4, 4, 4], [3, 4, 8, 8, 8]];
const deep = [3, 4, 4, 4, 4];
// Table 1 of the paper, kernel 3, in millions.
for (
  const [size, blocksPerStage, expansions, millions] of [
    ["S", [2, 2, 2, 2, 2], [2, 2, 2, 2, 2], 5.6],
    ["B", [2, 2, 2, 2, 2], base, 10.5],
    ["M", deep, base, 17.6],
    ["L", wide, wide, 61.8],
  ] as const
) {
  test(`medNeXt() has the published parameters: ${size}`, () => {
    const back = (list: readonly number[]): number[] => list.slice(0, -1).reverse();
    const model = medNeXt({
      inputChannels: 1,
      features: [32, 64, 128, 256, 512],
      classes: 14,
      blocksPerStage,
      decoderBlocksPerStage: back(blocksPerStage),
      expansions,
      decoderExpansions: back(expansions),
    });
    const { parameters } = summarizeNetwork(model, { input: [1, 1, 32, 32, 32] });
    // The paper's have outputs at the coarser scales too.
    const heads = [64, 128, 256, 512].reduce((sum, n) => sum + 14 * (n + 1), 0);
    assert.is(Math.round((parameters + heads) / 1e5) / 10, millions);
  });
}

test("medNeXt() is registered, has gradients, and refuses what cannot be", async () => {
  assert.ok(registeredNetworks().has("medNeXt"));
  const config = { inputChannels: 1, features: [2, 4], classes: 2 };
  const model = medNeXt(config);
  const params = filled(model.init(random.key(1)));
  const x = tensor(new Float32Array(fill([1, 1, 4, 4, 4], 3)), { shape: [1, 1, 4, 4, 4] });
  const gradient = grad((p: typeof params) => model.apply(p, x).square().sum())(params);
  const stem = (gradient.stem as { weight: Tensor }).weight;
  assert.ok(Array.from((await stem.data()) as Float32Array).every((g) => Number.isFinite(g) && g !== 0));
  refuses(() => medNeXt({ ...config, expansions: [1] }), /expansions is an integer >= 1 or 2 of them/);
  refuses(() => medNeXt({ ...config, strides: [2, 2] }), /the first stage has stride 1, got 2, 2, 2/);
  refuses(() => model.apply(params, zeros([1, 1, 8, 9, 8])), /height 9 is not divisible by 2; 8 or 10 would do/);
});

test.after(() => closeDevice());
test.run();
