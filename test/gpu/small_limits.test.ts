// deno-lint-ignore-file no-explicit-any
/**
 * Golden operators and a step of a small U-Net within what WebGPU promises everywhere, and within its compatibility
 * mode.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../engine/mod.ts";
import { closeDevice, deviceInfo, evaluate, openDevice, type Tensor, tensor, VoxgradError } from "../../engine/mod.ts";
import * as nn from "../../engine/nn/mod.ts";
import { plainConvUNet } from "../../models/mod.ts";

const wave = (shape: number[], seed: number): number[] =>
  Array.from(
    { length: shape.reduce((a, b) => a * b, 1) },
    (_, k) => Math.sin(k * 0.7 + seed) + 0.3 * Math.cos(k * k * 0.11),
  );
const field = (shape: number[], seed: number): Tensor => tensor(Float32Array.from(wave(shape, seed)), { shape });

/** Values and gradients of operators whose kernels share work between lanes, of sizes that take every road. */
function operators(): Record<string, Tensor> {
  const rows = field([6, 5000], 1);
  const few = field([2, 30000], 2);
  const short = field([40, 300], 3);
  const image = field([1, 4, 9, 10, 11], 4);
  const grid = field([1, 9, 10, 11, 3], 5).mul(0.6);
  const by = (f: (x: Tensor) => Tensor, x: Tensor): Tensor => vg.grad((t: Tensor) => f(t).square().sum())(x);
  const norm = (x: Tensor): Tensor => vg.instanceNorm(x);
  const list: Record<string, Tensor> = {};
  for (const [name, x] of Object.entries({ rows, few, short })) {
    list[`sum ${name}`] = x.sum({ axes: [1] });
    list[`layerNorm ${name}`] = vg.layerNorm(x);
  }
  list["max"] = rows.max({ axes: [1] });
  list["softmax"] = vg.softmax(rows, { axis: 1 });
  list["gradient of layerNorm"] = by((t) => vg.layerNorm(t).mul(rows), rows);
  list["instanceNorm"] = norm(image);
  list["gradient of gridSample"] = by((t) => vg.gridSample(t, grid), image);
  list["matmul"] = vg.matmul(field([70, 90], 7), field([90, 50], 8));
  list["cumsum"] = rows.cumsum({ axis: 1 });
  return list;
}

/** The loss and a checksum of the parameters after two steps. */
async function unet(): Promise<number[]> {
  const model = plainConvUNet({
    inputChannels: 1,
    features: [4, 8],
    kernels: [3, 3],
    strides: [1, 2],
    classes: 2,
    convsPerStage: 1,
    decoderConvsPerStage: 1,
    deepSupervision: false,
  });
  const optimizer = nn.sgd({ momentum: 0.9, nesterov: true });
  let params: any = model.init(vg.random.key(1));
  let state = optimizer.init(params);
  const x = field([1, 1, 8, 12, 12], 10);
  const labels = await evaluate(x.greater(0.2).cast("i32").reshape({ shape: [1, 8, 12, 12] }));
  const step: any = vg.compile((p: any, s: any, rate: Tensor) => {
    const [loss, grads] = vg.valueAndGrad((q: any) =>
      nn.diceCrossEntropy(model.apply(q, x, { train: true }) as Tensor, labels)
    )(p);
    return [loss, ...optimizer.update(grads, s, p, rate)];
  }, { donate: [0, 1] });
  const losses: number[] = [];
  for (let k = 0; k < 2; k++) {
    let loss: Tensor;
    [loss, params, state] = await step(params, state, 0.05);
    losses.push(await loss.item());
  }
  const squares = vg.tree.leaves(params).map((p: Tensor) => p.square().sum());
  return [...losses, await squares.reduce((a, b) => a.add(b)).item()];
}

/** The U-Net takes most of the time. */
async function all(withUNet: boolean): Promise<Map<string, Float32Array>> {
  const list = operators();
  await evaluate(list);
  const values = new Map<string, Float32Array>();
  for (const [name, t] of Object.entries(list)) values.set(name, Float32Array.from(await t.data()));
  if (withUNet) values.set("U-Net", Float32Array.from(await unet()));
  return values;
}

let wanted: Map<string, Float32Array>;
const largest = (values: Float32Array): number => values.reduce((a, b) => Math.max(a, Math.abs(b)), 0);

test("evaluate() on the whole adapter agrees with float64 references", async () => {
  wanted = await all(true);
  const rows = Float32Array.from(wave([6, 5000], 1));
  for (let r = 0; r < 6; r++) {
    const exact = rows.subarray(r * 5000, (r + 1) * 5000).reduce((a, b) => a + b, 0);
    assert.ok(Math.abs(wanted.get("sum rows")![r] - exact) < 1e-3, "sum");
  }
  await closeDevice();
});

for (const [limits, invocations] of [["default", 256], ["compatibility", 128]] as const) {
  test(`openDevice({ limits: "${limits}" }) computes the same within ${invocations} invocations and without features`, async () => {
    const info = await openDevice({ limits });
    assert.is(info.limits.maxComputeInvocationsPerWorkgroup, invocations);
    assert.ok(info.limits.maxStorageBuffersPerShaderStage <= 8);
    assert.equal(info.features.filter((name) => ["subgroups", "shader-f16", "timestamp-query"].includes(name)), []);
    for (const [name, values] of await all(limits === "compatibility")) {
      const reference = wanted.get(name)!;
      const scale = largest(reference);
      values.forEach((v, k) =>
        assert.ok(Math.abs(v - reference[k]) <= 2e-5 * scale, `${name}, ${k}: ${v} for ${reference[k]}`)
      );
    }
    await closeDevice();
  });
}

test("openDevice() refuses other limits; VOXGRAD_LIMITS and VOXGRAD_FEATURES ask for the same", async () => {
  await openDevice({ limits: "all" as never }).then(
    () => assert.unreachable(),
    (error: Error) => {
      assert.instance(error, VoxgradError);
      assert.match(error.message, /^openDevice: limits is "adapter", "default" or "compatibility", got "all"$/);
    },
  );
  const { env } = (globalThis as any).process;
  try {
    env.VOXGRAD_LIMITS = "compatibility";
    assert.is((await deviceInfo()).limits.maxComputeInvocationsPerWorkgroup, 128);
    await closeDevice();
    env.VOXGRAD_LIMITS = "";
    env.VOXGRAD_FEATURES = "none";
    assert.not((await deviceInfo()).features.includes("timestamp-query"));
    await closeDevice();
    env.VOXGRAD_LIMITS = "tiny";
    assert.match(
      await deviceInfo().then(() => "", (error: Error) => error.message),
      /^VOXGRAD_LIMITS is adapter, default, compatibility or not set, got "tiny"$/,
    );
  } finally {
    delete env.VOXGRAD_LIMITS;
    delete env.VOXGRAD_FEATURES;
  }
});

test.after(closeDevice);
test.run();
