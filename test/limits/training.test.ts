// deno-lint-ignore-file no-explicit-any
/**
 * A training of 20 steps on the device that the environment asks for (its limits, its subgroups, kernels for GPUs),
 * beside the same one on SwiftShader with all limits and kernels for CPUs.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../engine/mod.ts";
import { closeDevice, type DeviceInfo, deviceInfo, openDevice, type Tensor, tensor } from "../../engine/mod.ts";
import { phantomCase } from "../../engine/imaging/mod.ts";
import * as nn from "../../engine/nn/mod.ts";
import { plainConvUNet } from "../../models/mod.ts";

const STEPS = 20;
const PATCH = [16, 24, 16];
const model = plainConvUNet({
  inputChannels: 1,
  features: [8, 16, 32],
  kernels: [3, 3, 3],
  strides: [1, 2, 2],
  classes: 4,
  convsPerStage: 2,
  decoderConvsPerStage: 1,
  deepSupervision: true,
});

/** Patches of a phantom, one for each step. */
const { image, label } = phantomCase({ seed: 7 });
const [depth, height, width] = [...image.shape].reverse();
function patch(step: number): { x: Float32Array; y: Int32Array } {
  const from = [depth, height, width].map((size, axis) => (step * (5 + 2 * axis)) % (size - PATCH[axis] + 1));
  const x = new Float32Array(PATCH[0] * PATCH[1] * PATCH[2]);
  const y = new Int32Array(x.length);
  for (let k = 0; k < x.length; k++) {
    const at = [Math.floor(k / (PATCH[1] * PATCH[2])), Math.floor(k / PATCH[2]) % PATCH[1], k % PATCH[2]];
    const [z, r, c] = at.map((place, axis) => place + from[axis]);
    const voxel = (z * height + r) * width + c;
    x[k] = image.data[voxel];
    y[k] = label.data[voxel];
  }
  return { x, y };
}

/** The losses, and the sum of the squares of all parameters at the end. */
async function training(): Promise<{ losses: number[]; squares: number }> {
  const optimizer = nn.sgd({ momentum: 0.9, nesterov: true, weightDecay: 3e-5 });
  const step: any = vg.compile((params: any, state: any, x: Tensor, y: Tensor, rate: Tensor) => {
    const lossOf = (p: any): Tensor =>
      nn.deepSupervision(nn.diceCrossEntropy, model.apply(p, x, { train: true }), y, {
        weights: nn.deepSupervisionWeights(2),
      });
    const [loss, grads] = vg.valueAndGrad(lossOf)(params);
    const [clipped] = nn.clipGradNorm(grads, 12);
    return [loss, ...optimizer.update(clipped, state, params, rate)];
  }, { donate: [0, 1] });
  let params: any = await vg.evaluate(model.init(vg.random.key(3)));
  let state: any = optimizer.init(params);
  const losses: number[] = [];
  for (let k = 0; k < STEPS; k++) {
    const { x, y } = patch(k);
    let loss: Tensor;
    [loss, params, state] = await step(
      params,
      state,
      tensor(x, { shape: [1, 1, ...PATCH] }),
      tensor(y, { shape: [1, ...PATCH] }),
      0.01,
    );
    losses.push(await loss.item());
  }
  const each = vg.tree.leaves(params).map((p: Tensor) => p.square().sum());
  return { losses, squares: await each.reduce((a, b) => a.add(b)).item() };
}

test("a training has the losses and weights of one with all limits, kernels for CPUs and SwiftShader", async () => {
  const { env } = (globalThis as any).process;
  const about = ({ name, limits, features }: DeviceInfo): string =>
    `${name}, ${limits.maxComputeInvocationsPerWorkgroup} invocations, ${limits.maxStorageBuffersPerShaderStage} ` +
    `buffers, ${features.includes("subgroups") ? "" : "no "}subgroups, kernels: ${env.VOXGRAD_KERNELS || "its own"}`;
  console.log(about(await deviceInfo()));
  const got = await training();
  await closeDevice();
  await openDevice({ adapter: "swiftshader", limits: "adapter", kernels: "cpu" });
  const wanted = await training();
  const worst = Math.max(...got.losses.map((v, k) => Math.abs(v / wanted.losses[k] - 1)));
  console.log(`losses ${got.losses[0]} to ${got.losses.at(-1)}, at most ${worst.toExponential(1)} off`);
  assert.ok(wanted.losses.at(-1)! < 0.8 * wanted.losses[0], `the loss falls: ${wanted.losses}`);
  assert.ok(worst <= 1e-4, `${got.losses}, wanted ${wanted.losses}`);
  assert.ok(Math.abs(got.squares / wanted.squares - 1) <= 1e-5, `${got.squares}, wanted ${wanted.squares}`);
});

test.after(closeDevice);
test.run();
