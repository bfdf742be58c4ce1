// A diffusion model of images (Ho et al. 2020): a small U-Net learns to predict the noise that was added, and sampling
// takes it away again in one program, by a loop that does not grow with the number of steps. Copy noised and sample;
// put your network and images in the place of the rings.
//   npx voxgrad run scripts/examples/diffusion.ts --steps 300 --times 50
import * as vg from "voxgrad";
import { random, type Tensor } from "voxgrad";
import { adam, conv, convParameters, emaUpdate, initialize, linear, linearParameters, mse } from "voxgrad/nn";
import { config, counted, entry, print } from "voxgrad/train";

const { steps, times, rate } = config({
  steps: entry(300, "steps", { integer: true, min: 1 }),
  times: entry(50, "steps of the diffusion", { integer: true, min: 2 }),
  rate: entry(0.002, "learning rate", { min: 0 }),
});
const [size, batch, width] = [16, 32, 16];

/** Rings of random place and radius on a background of -1, [N, 1, size, size]. */
function rings(key: Tensor, count: number): Tensor {
  const [x, y, radius] = random.split(key, 3).map((k) => random.uniform(k, { shape: [count, 1, 1, 1] }));
  const axis = vg.linspace(0, 1, { num: size });
  const from = (at: Tensor, along: Tensor): Tensor => along.sub(at.mul(0.3).add(0.35)).square();
  const distance = from(x, axis).add(from(y, axis.expandDims({ axis: 1 }))).sqrt().sub(radius.mul(0.15).add(0.15));
  return distance.div(0.08).square().neg().exp().mul(2).sub(1);
}

const specification = {
  time: linearParameters(width, 2 * width),
  first: convParameters(1, width, [3, 3]),
  down: convParameters(width, 2 * width, [3, 3]),
  middle: convParameters(2 * width, 2 * width, [3, 3]),
  up: convParameters(3 * width, width, [3, 3]),
  last: convParameters(width, 1, [3, 3]),
};
type Network = ReturnType<typeof initialize<typeof specification>>;

/** The noise in x [N, 1, size, size] at time t [N] in 0 .. times. */
function network(p: Network, x: Tensor, t: Tensor): Tensor {
  const frequencies = vg.exp(vg.linspace(0, -4, { num: width / 2 }));
  const angles = t.cast("f32").expandDims({ axis: 1 }).mul(frequencies);
  const time = linear(p.time, vg.concat([angles.sin(), angles.cos()], { axis: 1 })).reshape({
    shape: [-1, 2 * width, 1, 1],
  });
  const fine = conv(p.first, x, { padding: 1 }).silu();
  const coarse = conv(p.down, fine, { padding: 1, stride: 2 }).add(time).silu();
  const deep = vg.groupNorm(conv(p.middle, coarse, { padding: 1 }), { groups: 4 }).silu().add(coarse);
  const joined = vg.concat([vg.resize(deep, { scale: 2 }), fine], { axis: 1 });
  return conv(p.last, conv(p.up, joined, { padding: 1 }).silu(), { padding: 1 });
}

// The share of the image that is left after t steps.
const betas = vg.linspace(1e-3, 0.2, { num: times });
const [beta, kept] = await vg.evaluate([betas, vg.sub(1, betas).cumprod()]);

/** Images with the noise of time t. */
function noised(x: Tensor, noise: Tensor, t: Tensor): Tensor {
  const share = kept.take(t).reshape({ shape: [-1, 1, 1, 1] });
  return x.mul(share.sqrt()).add(noise.mul(vg.sub(1, share).sqrt()));
}

/** New images: noise, from which the predicted noise is taken step by step (algorithm 2). */
const sample = vg.compile((p: Network, key: Tensor) => {
  const start = random.normal(random.foldIn(key, times), { shape: [4, 1, size, size] });
  const back = (x: Tensor, t: Tensor): [Tensor, null] => {
    const predicted = network(p, x, t.broadcastTo({ shape: [4] }));
    const mean = x.sub(predicted.mul(beta.take(t).div(vg.sub(1, kept.take(t)).sqrt()))).div(
      vg.sub(1, beta.take(t)).sqrt(),
    );
    const fresh = random.normal(random.foldIn(key, t), { shape: x.shape });
    return [mean.add(fresh.mul(beta.take(t).sqrt()).mul(t.greater(0))), null];
  };
  return vg.scan(back, start, vg.arange(times), { reverse: true })[0];
});

const optimizer = adam();
const step = vg.compile((p: Network, average: Network, state: vg.Params, key: Tensor) => {
  const [images, noises, moments] = random.split(key, 3);
  const x = rings(images, batch);
  const noise = random.normal(noises, { shape: x.shape });
  const t = random.randint(moments, { shape: [batch], max: times });
  const [loss, grads] = vg.valueAndGrad((p: Network) => mse(network(p, noised(x, noise, t), t), noise))(p);
  const [next, after] = optimizer.update(grads, state, p, rate);
  return [loss, next, emaUpdate(average, next, { decay: 0.98 }), after] as const;
});

let p = initialize(random.key(1), specification);
let [average, state, loss] = [p, optimizer.init(p), vg.zeros([])];
for (const k of counted(Array.from({ length: steps }, (_, k) => k), "step")) {
  [loss, p, average, state] = await step(p, average, state, random.key(k));
}
print(`mean squared error of the noise: ${(await loss.item()).toFixed(4)}`);
const values = await (await sample(average, random.key(9))).data();
const ink = Array.from(values, (v) => " .+#"[Math.max(0, Math.min(3, Math.round(1.5 * v + 1.5)))]).join("");
const rowOf = (image: number, row: number): string => ink.slice(size * (size * image + row)).slice(0, size);
for (let row = 0; row < size; row += 2) print([0, 1, 2, 3].map((image) => rowOf(image, row)).join("   "));
await vg.closeDevice();
