// SwinUNETR against MONAI's architecture written in plain PyTorch 1.13 (float64). Weights and inputs follow the formula
// of `fill`, tensors numbered by the sorted names of the state dict.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeDevice, grad, random, type Tensor, tensor, zeros } from "../../../engine/mod.ts";
import { registeredNetworks, summarizeNetwork, swinUNETR, type SwinUNETRConfig } from "../../../models/mod.ts";
import { goldenJson } from "../../helpers/golden.ts";
import { fill, filled } from "../../helpers/reference/fill.ts";
import { checkGoldenNetwork, type GoldenNetwork } from "../../helpers/reference/golden_network.ts";
import { refuses } from "../../helpers/refuse.ts";

type Case = GoldenNetwork & { readonly config: SwinUNETRConfig };

const golden = goldenJson("swin_unetr") as Record<"2D" | "3D", Case>;
for (const [name, each] of Object.entries(golden)) {
  test(`swinUNETR() equals PyTorch's, ${name}`, async () => {
    await checkGoldenNetwork(swinUNETR(each.config), each, { every: name === "3D" ? 97 : 7, name });
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
