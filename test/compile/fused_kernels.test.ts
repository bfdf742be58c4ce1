/** Elementwise functions in the loads and stores of kernels: which kernels are left, and that they compute the same. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../engine/mod.ts";
import { compile, type Precision, Tensor, tensor, type Tree, tree } from "../../engine/mod.ts";
import { relativeError } from "../helpers/compare.ts";
import { noise } from "../helpers/noise.ts";

const field = (seed: number, ...shape: number[]): Tensor =>
  tensor(
    noise(
      shape.reduce((a, b) => a * b, 1),
      seed,
    ),
    { shape },
  );

interface Outcome {
  readonly kernels: readonly string[];
  readonly values: readonly Float32Array[];
}

/** What f gives, compiled on a device with or without functions in loads. */
async function outcome(
  fuseLoads: boolean,
  f: (...args: Tensor[]) => Tree,
  args: () => Tensor[],
  precision: Precision,
): Promise<Outcome> {
  await vg.closeDevice();
  await vg.openDevice({ fuseLoads });
  const compiled = compile(f, { precision });
  const results = tree.leaves(await compiled(...args()));
  const values = await Promise.all(results.map(async (t) => Float32Array.from(await t.data())));
  return { kernels: compiled.programs()[0].kernels, values };
}

const { features } = await vg.deviceInfo();
const precisions: Precision[] = features.includes("shader-f16") ? ["f32", "mixed"] : ["f32"];

/** Norm, activation and convolution, three times, with stride, bias and groups, of odd sizes and two samples. */
function network([w0, w1, w2, scale, shift, bias]: Tensor[], x: Tensor): Tensor {
  const act = (y: Tensor): Tensor => vg.groupNorm(y, { groups: 2, weight: scale, bias: shift }).relu();
  let y = vg.conv3d(x, w0, { padding: 1 });
  y = vg.conv3d(act(y), w1, { padding: 1, stride: 2, bias: bias });
  return vg.conv3d(act(y), w2, { groups: 2 });
}
// Made again for each device.
const parameters = (): Tensor[] => [
  field(9, 2, 3, 5, 7, 9),
  field(1, 6, 3, 3, 3, 3),
  field(2, 6, 6, 3, 3, 3),
  field(3, 4, 3, 1, 1, 1),
  field(4, 6),
  field(5, 6),
  field(6, 6),
];

for (const precision of precisions) {
  const tolerance = precision === "mixed" ? 2e-3 : 1e-6;
  const compare = async (f: (...args: Tensor[]) => Tree, args: () => Tensor[]): Promise<[Outcome, Outcome]> => {
    const apart = await outcome(false, f, args, precision);
    const fused = await outcome(true, f, args, precision);
    fused.values.forEach((v, k) => {
      const error = relativeError(v, Float64Array.from(apart.values[k]));
      assert.ok(error <= tolerance, `output ${k}: ${error}`);
    });
    return [fused, apart];
  };

  test(`conv3d() loads its input through norms and activations, in ${precision}`, async () => {
    const [fused, apart] = await compare((x, ...p) => network(p, x), parameters);
    assert.ok(
      apart.kernels.some((name) => name.startsWith("relu")),
      `${apart.kernels}`,
    );
    assert.ok(fused.kernels.length <= apart.kernels.length - 2, `${fused.kernels}`);
    assert.ok(
      fused.kernels.some((name) => /^conv_forward.* of relu/.test(name)),
      `${fused.kernels}`,
    );
  });

  test(`grad() loads through norms and activations too, in ${precision}`, async () => {
    const [fused] = await compare(
      (x, ...p) => vg.grad(([y, q]: [Tensor, Tensor[]]) => network(q, y).square().mean())([x, p]),
      parameters,
    );
    assert.ok(
      fused.kernels.some((name) => /^conv_weight_grad.* of /.test(name)),
      `${fused.kernels}`,
    );
  });
}

test("conv3d() ends in a residual sum, an activation and a scale per channel", async () => {
  const [x, w, r, s] = [
    field(1, 2, 3, 4, 5, 7),
    field(2, 3, 3, 3, 3, 3),
    field(3, 2, 3, 4, 5, 7),
    field(4, 1, 3, 1, 1, 1),
  ];
  const whole = compile((a: Tensor, b: Tensor, c: Tensor, d: Tensor) =>
    vg.conv3d(a, b, { padding: 1 }).add(c).relu().mul(d)
  );
  const alone = compile((a: Tensor, b: Tensor) => vg.conv3d(a, b, { padding: 1 }));
  const got = await (await whole(x, w, r, s)).data();
  const [y, residual, scale] = [await (await alone(x, w)).data(), await r.data(), await s.data()];
  const wanted = Float64Array.from(y, (v, i) => Math.max(0, v + residual[i]) * scale[Math.floor(i / 140) % 3]);
  assert.ok(relativeError(got as Float32Array, wanted) < 1e-6);
  assert.is(whole.programs()[0].dispatches, 1, `${whole.programs()[0].kernels}`);
});

test("convTranspose3d() ends in what follows, but not where its own result is needed too", async () => {
  const [x, w] = [field(1, 1, 4, 3, 3, 3), field(2, 4, 2, 2, 2, 2)];
  const one = compile((a: Tensor, b: Tensor) => vg.convTranspose3d(a, b, { stride: 2 }).tanh());
  const both = compile((a: Tensor, b: Tensor) => {
    const y = vg.convTranspose3d(a, b, { stride: 2 });
    return [y, y.tanh()];
  });
  const [got, [y, z]] = [await one(x, w), (await both(x, w)) as [Tensor, Tensor]];
  assert.is(one.programs()[0].dispatches, 1);
  assert.is(both.programs()[0].dispatches, 2);
  const wanted = Float64Array.from(await y.data(), Math.tanh);
  assert.ok(relativeError((await got.data()) as Float32Array, wanted) < 1e-6);
  assert.equal(await got.data(), await z.data());
});

test("conv3d() is not fused with what is read at another index than it is written", async () => {
  const [x, w] = [field(1, 1, 2, 4, 4, 4), field(2, 2, 2, 1, 1, 1)];
  const f = compile((a: Tensor, b: Tensor) =>
    vg
      .conv3d(a, b)
      .transpose({ axes: [0, 1, 2, 4, 3] })
      .add(1)
  );
  const plain = compile((a: Tensor, b: Tensor) => vg.conv3d(a, b));
  const got = await (await f(x, w)).data();
  const y = await (await plain(x, w)).data();
  const wanted = Float64Array.from(y, (_, i) => y[i - (i % 16) + (i % 4) * 4 + (Math.floor(i / 4) % 4)] + 1);
  assert.ok(relativeError(got as Float32Array, wanted) < 1e-6);
  assert.is(f.programs()[0].dispatches, 2);
});

test.after(vg.closeDevice);
test.run();
