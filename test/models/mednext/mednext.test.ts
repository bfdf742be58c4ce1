// MedNeXt against the published architecture written in plain PyTorch 1.13 (float64). Weights and inputs follow the
// formula of `fill`, tensors numbered by the sorted names of the state dict.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeDevice, grad, random, type Tensor, tensor, tree, zeros } from "../../../engine/mod.ts";
import { medNeXt, type MedNeXtConfig, registeredNetworks, summarizeNetwork } from "../../../models/mod.ts";
import { near } from "../../helpers/compare.ts";
import { goldenJson } from "../../helpers/golden.ts";
import { fill, filled } from "../../helpers/reference/fill.ts";
import { refuses } from "../../helpers/refuse.ts";

interface Case {
  readonly config: MedNeXtConfig;
  readonly size: number[];
  /** Names and shapes of the state dict; of the first case only by the order of the weights. */
  readonly names: [string, number[]][];
  /** Of the one sample; of the first case every seventh. */
  readonly logits: number[];
}

for (const [name, { config, size, names, logits }] of Object.entries(goldenJson("mednext") as Record<string, Case>)) {
  test(`medNeXt() equals PyTorch's, ${name}`, async () => {
    const model = medNeXt(config);
    const params = model.init(random.key(0));
    if (names.length > 0) {
      const own = [...tree.flatten(params)].map(([path, p]) => [path, [...p.shape]]);
      const sorted = (list: unknown[]): string[] => list.map((each) => JSON.stringify(each)).sort();
      assert.equal(sorted(own), sorted(names));
    }
    const shape = [1, config.inputChannels, ...size];
    const input = tensor(new Float32Array(fill(shape, 99)), { shape });
    const output = model.apply(filled(params), input);
    assert.equal([...output.shape], [1, config.classes, ...size]);
    const data = Array.from((await output.data()) as Float32Array);
    near(data.filter((_, k) => name !== "published" || k % 7 === 0), logits, 1e-4, name);
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
