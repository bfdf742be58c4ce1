// SwinUNETR against MONAI's architecture written in plain PyTorch 1.13 (float64). Weights and inputs follow the formula
// of `fill`, tensors numbered by the sorted names of the state dict.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeDevice, grad, random, type Tensor, tensor, tree, zeros } from "../../../engine/mod.ts";
import { registeredNetworks, summarizeNetwork, swinUNETR, type SwinUNETRConfig } from "../../../models/mod.ts";
import { near } from "../../helpers/compare.ts";
import { goldenJson } from "../../helpers/golden.ts";
import { fill, filled } from "../../helpers/reference/fill.ts";
import { refuses } from "../../helpers/refuse.ts";

interface Case {
  readonly config: SwinUNETRConfig;
  readonly size: number[];
  /** Names and shapes of the parameters in 2D. */
  readonly names: [string, number[]][];
  /** Of the one sample, every 97th in 3D and every seventh in 2D. */
  readonly logits: number[];
}

const golden = goldenJson("swin_unetr") as Record<"2D" | "3D", Case>;
for (const [name, { config, size, names, logits }] of Object.entries(golden)) {
  test(`swinUNETR() equals PyTorch's, ${name}`, async () => {
    const model = swinUNETR(config);
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
    const every = name === "3D" ? 97 : 7;
    near(Array.from((await output.data()) as Float32Array).filter((_, k) => k % every === 0), logits, 1e-4, name);
  });
}

test("swinUNETR() has MONAI's parameters: feature size 48, four channels, three classes", () => {
  const model = swinUNETR({ inputChannels: 4, classes: 3, featureSize: 48 });
  assert.is(summarizeNetwork(model, { input: [1, 4, 32, 32, 32] }).parameters, 62_191_941);
});

test("swinUNETR() is registered, has gradients, and refuses what cannot be", async () => {
  assert.ok(registeredNetworks().has("swinUNETR"));
  const config = {
    inputChannels: 1,
    classes: 2,
    featureSize: 2,
    heads: [1, 1, 2, 2],
    window: 3,
    dimensions: 2,
  } as const;
  const model = swinUNETR(config);
  const params = filled(model.init(random.key(1)));
  const x = tensor(new Float32Array(fill([1, 1, 64, 32], 3)), { shape: [1, 1, 64, 32] });
  const gradient = grad((p: typeof params) => model.apply(p, x).square().mean())(params);
  const table: Tensor = gradient.swinViT.layers1[0].blocks[1].attn.relative_position_bias_table;
  assert.ok(Array.from((await table.data()) as Float32Array).some((g) => Number.isFinite(g) && g !== 0));
  refuses(() => swinUNETR({ ...config, heads: [3, 1, 1, 1] }), /the heads of stage 0 divide its 2 features, got 3/);
  refuses(() => swinUNETR({ ...config, depths: [1] }), /depths is an integer >= 1 or 4 of them/);
  refuses(() => model.apply(params, zeros([1, 1, 64, 40])), /width 40 is not divisible by 32; 32 or 64 would do/);
});

test.after(() => closeDevice());
test.run();
