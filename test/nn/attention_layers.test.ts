// Layers of transformers against PyTorch 1.13 (float64). Weights and inputs follow the formula of `fill`, parameters
// numbered by their sorted names.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeDevice, grad, ones, random, type Tensor, tensor, tree } from "../../engine/mod.ts";
import * as nn from "../../engine/nn/mod.ts";
import { near } from "../helpers/compare.ts";
import { fill, filled } from "../helpers/reference/fill.ts";
import { goldenJson } from "../helpers/golden.ts";
import { refuses } from "../helpers/refuse.ts";

const golden = goldenJson("attention_layers");
const field = (shape: number[], k: number): Tensor => tensor(new Float32Array(fill(shape, k)), { shape });

test("multiHeadAttention() equals PyTorch's, plain and causal", async () => {
  const params = filled(nn.initialize(random.key(1), nn.multiHeadAttentionParameters(6)));
  assert.equal([...tree.flatten(params).keys()].sort(), [
    "in_proj_bias",
    "in_proj_weight",
    "out_proj.bias",
    "out_proj.weight",
  ]);
  const [q, k] = [field([2, 4, 6], 99), field([2, 5, 6], 98)];
  const cases: Record<string, (x: Tensor) => Tensor> = {
    plain: (x) => nn.multiHeadAttention(params, x, k, k, { heads: 3 }),
    causal: (x) => nn.multiHeadAttention(params, x, x, x, { heads: 3, causal: true }),
  };
  for (const [name, f] of Object.entries(cases)) {
    const { value, gradient } = golden[`multi-head ${name}`];
    near(await f(q).data(), value, 3e-6, name);
    const loss = (x: Tensor): Tensor => f(x).mul(field([2, 4, 6], 97)).sum();
    near(await grad(loss)(q).data(), gradient, 1e-5, `gradient, ${name}`);
  }
});

for (const name of ["2D", "2D shifted", "3D shifted", "3D small"]) {
  test(`windowAttention() equals Swin's in PyTorch: ${name}`, async () => {
    const { space, window, shift, value, gradient, table } = golden[`windows ${name}`];
    const params = filled(nn.initialize(random.key(1), nn.windowAttentionParameters(4, { heads: 2, window })));
    const x = field([2, ...space, 4], 99);
    const f = (p: typeof params, x: Tensor): Tensor => nn.windowAttention(p, x, { heads: 2, window, shift });
    near(await f(params, x).data(), value, 3e-6, "value");
    const loss = (p: typeof params, x: Tensor): Tensor => f(p, x).mul(field(x.shape as number[], 97)).sum();
    const [byParams, byX] = grad(loss, { argnums: [0, 1] })(params, x);
    near(await byX.data(), gradient, 1e-5, "gradient");
    near(await byParams.relative_position_bias_table.data(), table, 1e-5, "gradient of the table");
  });
}

test("embedding() gives rows, and sums their gradients", async () => {
  const weight = tensor([[1, 2], [3, 4], [5, 6]]);
  const indices = tensor([2, 0, 2], { dtype: "i32" });
  assert.equal(await nn.embedding({ weight }, indices).array(), [[5, 6], [1, 2], [5, 6]]);
  const loss = (weight: Tensor): Tensor => nn.embedding({ weight }, indices).sum();
  assert.equal(await grad(loss)(weight).array(), [[1, 1], [0, 0], [2, 2]]);
});

test("layers of attention refuse what does not match, with the fix", () => {
  const mha = nn.initialize(random.key(1), nn.multiHeadAttentionParameters(6));
  const x = ones([1, 3, 6]);
  refuses(() => nn.multiHeadAttention(mha, x, x, x, { heads: 4 }), /multiHeadAttention: heads divides the 6 features/);
  const params = nn.initialize(random.key(1), nn.windowAttentionParameters(4, { heads: 2, window: [3, 3] }));
  const image = ones([1, 6, 6, 4]);
  refuses(() => nn.windowAttention(params, x, { heads: 2, window: 3 }), /the input is \[N, H, W, C\]/);
  refuses(() => nn.windowAttention(params, image, { heads: 2, window: 4 }), /windows \[4, 4\] .* table of 25 rows/);
  refuses(() => nn.windowAttention(params, image, { heads: 2, window: 3, shift: 3 }), /got \[3, 3\]/);
});

test.after(() => closeDevice());
test.run();
