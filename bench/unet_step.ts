/**
 * One training step of a small 3-D U-Net (16 and 32 channels, 32 cubed, group norm, cross-entropy, SGD), and its kernels by
 * share of time. Run: node --import ./engine/platform/cli/register.mjs bench/unet_step.ts [--rounds 10]
 */
import mri from "mri";
import * as vg from "../engine/mod.ts";
import type { Tensor } from "../engine/mod.ts";

const { rounds } = mri(process.argv.slice(2), { default: { rounds: 10 } });

/** Stride 1 or 2, no bias; no affine in the norm. */
const block = (h: Tensor, w: Tensor, stride = 1): Tensor =>
  vg.relu(vg.groupNorm(vg.conv3d(h, w, { padding: 1, stride }), { groups: 4 }));

function network([w0, w1, w2, w3, w4, w5, w6]: Tensor[], x: Tensor): Tensor {
  const e = block(block(x, w0!), w1!);
  const d = block(block(e, w2!, 2), w3!);
  const u = vg.convTranspose3d(d, w4!, { stride: 2 });
  return vg.conv3d(block(vg.concat([e, u], { axis: 1 }), w5!), w6!);
}

const shapes = [
  [16, 1, 3, 3, 3],
  [16, 16, 3, 3, 3],
  [32, 16, 3, 3, 3],
  [32, 32, 3, 3, 3],
  [32, 16, 2, 2, 2],
  [16, 32, 3, 3, 3],
  [4, 16, 1, 1, 1],
];
const keys = vg.random.split(vg.random.key(1), shapes.length + 2);
let params = shapes.map((shape, k) => {
  const bound = Math.sqrt(6 / shape.slice(1).reduce((a, b) => a * b, 1));
  return vg.random.uniform(keys[k]!, { shape, min: -bound, max: bound });
});
const x = vg.random.normal(keys[7]!, { shape: [1, 1, 32, 32, 32] });
const labels = vg.random.uniform(keys[8]!, { shape: [1, 32, 32, 32], max: 4 }).cast("i32");
await vg.evaluate([params, x, labels]);

const step = vg.compile(
  (p: Tensor[], input: Tensor, target: Tensor): [Tensor, Tensor[]] => {
    const [loss, grads] = vg.valueAndGrad((q: Tensor[]) => vg.crossEntropy(network(q, input), target))(p);
    return [loss, p.map((w, k) => w.sub(grads[k].mul(0.1)))];
  },
  { donate: [0] },
);

async function once(): Promise<{ script: number; whole: number; loss: number }> {
  const start = performance.now();
  const [loss, next] = await step(params, x, labels);
  const script = performance.now() - start;
  params = next;
  return { loss: await loss.item(), script, whole: performance.now() - start };
}

const first = await once();
const times: number[] = [];
const scripts: number[] = [];
for (let k = 0; k < rounds; k++) {
  const { script, whole } = await once();
  times.push(whole);
  scripts.push(script);
}
times.sort((a, b) => a - b);
scripts.sort((a, b) => a - b);
const info = step.programs()[0]!;
const { name } = await vg.deviceInfo();
console.log(
  `${name}: first step ${first.whole.toFixed(0)} ms, then min ${times[0]!.toFixed(1)} median ${times[times.length >> 1]!.toFixed(1)} ms`,
);
console.log(
  `JavaScript ${scripts[scripts.length >> 1]!.toFixed(2)} ms, ${info.dispatches} dispatches, ${info.pipelines} pipelines, peak ${(info.peakBytes / 1e6).toFixed(1)} MB`,
);
const profiled = await vg.profile(once);
console.log(profiled.table());
await vg.closeDevice();
