/** exportOnnx() against the function itself, read back by openOnnx(), whose operators are tested against PyTorch. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  clamp,
  closeDevice,
  concat,
  matmul,
  ones,
  type Params,
  random,
  resize,
  softmax,
  sort,
  type Tensor,
  tensor,
  tree,
  VoxgradError,
  where,
} from "../../../engine/mod.ts";
import { conResNet, exportOnnx, openOnnx, plainConvUNet, residualEncoderUNet, segResNet } from "../../../models/mod.ts";
import { near } from "../../helpers/compare.ts";

const noise = (seed: number, shape: readonly number[]): Tensor => random.normal(random.key(seed), { shape });

/** Checks that what is exported and opened again computes what f computes. */
async function sameBack(
  f: (params: Params, inputs: Readonly<Record<string, Tensor>>) => unknown,
  params: Params,
  inputs: Readonly<Record<string, Tensor>>,
  tolerance = 1e-5,
): Promise<string[]> {
  const bytes = await exportOnnx(f, params, inputs, { metadata: { plan: "{}" } });
  const model = await openOnnx(bytes);
  assert.equal(model.metadata, { plan: "{}" });
  assert.equal(
    model.inputs.map(({ name, shape }) => [name, shape]),
    Object.entries(inputs).map(([n, t]) => [n, [...t.shape]]),
  );
  const got = model.apply(model.params, inputs);
  const wanted = tree.flatten({ output: f(params, inputs) } as Params) as ReadonlyMap<string, Tensor>;
  for (const [path, t] of wanted) {
    const name = path.replace(/^output\.(?=\D)/, "").replace(/^output\.(?=\d)/, "output_");
    assert.equal([got[name].dtype, ...got[name].shape], [t.dtype, ...t.shape], name);
    near(await got[name].data(), await t.data(), tolerance, name);
  }
  return Object.keys(model.params);
}

const size = { inputChannels: 1, features: [4, 8], kernels: 3, strides: [1, 2], classes: 3 };
const image = { input: noise(7, [1, 1, 8, 12, 8]) };

for (
  const [name, model] of [
    [
      "plainConvUNet",
      plainConvUNet({ ...size, convsPerStage: 1, deepSupervision: true, features: [4, 8, 8], strides: [1, 2, 2] }),
    ],
    ["residualEncoderUNet", residualEncoderUNet({ ...size, blocksPerStage: 1 })],
    ["segResNet", segResNet({ inputChannels: 1, features: [8, 16], classes: 2, groups: 4 })],
    ["conResNet", conResNet({ inputChannels: 1, classes: 2, features: [8, 16], groups: 4 })],
  ] as const
) {
  test(`exportOnnx() writes ${name} with its names of parameters`, async () => {
    const params = model.init(random.key(1)) as Params;
    const names = await sameBack((p, { input }) => model.apply(p as never, input), params, image, 2e-5);
    const own = [...tree.flatten(params).keys()];
    assert.ok(names.every((each) => own.includes(each)) && names.length > own.length / 2, `${names}`);
  });
}

test("exportOnnx() translates elementwise operators, sums, products, slices, pads and resizing", async () => {
  const params = { w: noise(1, [4, 3]), gamma: ones([3]) };
  const f = (p: Params, { x, y }: Readonly<Record<string, Tensor>>): unknown => {
    const [w, gamma] = [p.w, p.gamma] as Tensor[];
    const product = matmul(x, w).mul(gamma);
    const wide = concat([product, product.neg()], { axis: 1 }).pad({ before: [0, 1], after: [2, 0], value: -3 });
    const parts = wide.slice({ start: [1, 0], end: [6, 7], step: [2, 3] });
    const curve = [x.exp(), x.abs().add(0.5).log(), x.abs().sqrt(), x.tanh(), x.sigmoid(), x.sin(), x.cos(), x.erf()];
    const steps = [
      x.floor(),
      x.ceil(),
      x.round(),
      x.sign(),
      x.square(),
      clamp(x, { min: -1, max: 0.5 }),
      clamp(x, { min: 0 }),
    ];
    const chosen = where(x.greater(0).logicalAnd(x.lessEqual(1)), x, x.div(x.square().add(1)));
    return {
      parts,
      chosen,
      soft: softmax(x, { axis: 0 }),
      most: x.max({ axes: [1] }),
      least: x.min({ axes: [0] }),
      bounded: clamp(y, { min: -1, max: 2 }),
      total: x.sum({ axes: [0], keepDims: true }),
      middle: x.mean(),
      spread: x.sub(x.mean({ axes: [1], keepDims: true })).square().sum().add(1e-3).rsqrt(),
      curve: concat(curve, { axis: 0 }),
      steps: concat(steps, { axis: 0 }),
      turned: x.transpose().reshape({ shape: [2, 2, -1] }),
      count: y.add(1).mul(2).cast("f32"),
      linear: resize(x.reshape({ shape: [1, 1, 5, 4] }), { size: [7, 9], mode: "linear" }),
      corners: resize(x.reshape({ shape: [1, 1, 5, 4] }), { size: [8, 3], mode: "linear", alignCorners: true }),
      near: resize(x.reshape({ shape: [1, 1, 5, 4] }), { size: [12, 7] }),
      cubic: resize(x.reshape({ shape: [1, 1, 5, 4] }), { size: [9, 6], mode: "cubic" }),
    };
  };
  await sameBack(f, params, { x: noise(3, [5, 4]), y: tensor([1, -2, 3], { dtype: "i32" }) });
});

test("exportOnnx() stores what the function captures, and gives arguments that pass through", async () => {
  const scale = tensor([2, 3]);
  await sameBack((p, { x }) => ({ y: (p.b as Tensor).add(x.mul(scale)), same: x }), { b: tensor([1, 1]) }, {
    x: noise(1, [2]),
  });
});

test("exportOnnx() refuses operators without a translation by name, and names given twice", async () => {
  const refused = async (
    f: (p: Params, x: Readonly<Record<string, Tensor>>) => unknown,
    wanted: RegExp,
    params = {},
  ) => {
    const error = await exportOnnx(f, params, { x: noise(1, [4]) }).then(() => null, (e: Error) => e);
    assert.ok(error instanceof VoxgradError && wanted.test(error.message), `${error}`);
  };
  await refused((_, { x }) => sort(x), /exportOnnx: the function uses .*argsort.*no translation to ONNX/);
  await refused((_, { x }) => x, /an input and a parameter have the same name: x/, { x: ones([1]) });
  await refused((_, { x }) => ({ x }), /the output "x" has the name of an input/);
  const none = await exportOnnx((_, { x }) => x, {}, {}).then(() => null, (e: Error) => e);
  assert.match(`${none}`, /inputs are tensors by name/);
});

test.after(closeDevice);
test.run();
