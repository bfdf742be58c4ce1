// What CoLab's meta-gradient costs beside one training step of the same U-Net, in time, memory and kernels:
// `VOXGRAD_ADAPTER=lavapipe node --import ./engine/platform/cli/register.mjs bench/colab_step.ts`.
// --patch 40,56,40 and --features 8,16,32 set the sizes; --rounds how often each is timed, in turn.
import { parseArgs } from "node:util";
import {
  adam, closeDevice, compile, deviceInfo, evaluate, formatTable, ones, random, softmax, stopGradient, type Tensor,
  valueAndGrad,
} from "../engine/mod.ts";
import { colab, plainConvUNet } from "../models/mod.ts";

const { values } = parseArgs({
  options: {
    patch: { type: "string", default: "40,56,40" }, features: { type: "string", default: "8,16,32" },
    rounds: { type: "string", default: "5" },
  },
});
const [patch, features] = [values.patch, values.features].map((text) => text.split(",").map(Number)) as [number[], number[]];
const config = { inputChannels: 1, features } as const;
const [segmenter, generator] = [3, 2].map((classes) => plainConvUNet({ ...config, classes }));
const optimiser = adam();
const theta = segmenter!.init(random.key(1));
const omega = generator!.init(random.key(2));
const state = optimiser.init(theta);
const x = random.normal(random.key(3), { shape: [2, 1, ...patch] });
const roi = random.bernoulli(random.key(4), { shape: [2, ...patch], p: 0.1 }).cast("f32");
const mask = ones([2, ...patch]).mul(0.5);
await evaluate([theta, omega, state, x, roi, mask]);
const segment = (p: any, image: Tensor) => segmenter!.apply(p, image) as unknown as Tensor;
const generate = (p: any, image: Tensor) => generator!.apply(p, image) as unknown as Tensor;

const step = compile((p: any, s: any, o: any, image: Tensor) => {
  const q = stopGradient(softmax(generate(o, image), { axis: 1 }));
  const labels = colab.constrainedLabels(roi, q, mask);
  const [loss, grads] = valueAndGrad((w: any) => colab.segmentationLoss(segment(w, image), labels))(p);
  return [loss, optimiser.update(grads, s, p, 1e-3)];
});
const meta = (method: "exact" | "finite-difference" | "implicit") =>
  compile((p: any, o: any, image: Tensor) =>
    colab.metaGradient({
      segment: (w) => segment(w, image), generate: (w) => generate(w, image),
      theta: p, omega: o, roi, mask, alpha: 0.01, method, iterations: 3,
    }));
const items: [string, () => Promise<unknown>, () => Promise<{ peakBytes: number; dispatches: number }>][] = [
  ["training step", () => step(theta, state, omega, x), () => step.plan(theta, state, omega, x)],
];
for (const method of ["exact", "finite-difference", "implicit"] as const) {
  const run = meta(method);
  items.push([method, () => run(theta, omega, x), () => run.plan(theta, omega, x)]);
}
const device = await deviceInfo();
console.log(`${device.name}; batch 2 x ${patch.join(" x ")}, features ${features.join("-")}; implicit: 3 iterations`);
const times = items.map((): number[] => []);
for (let round = 0; round <= Number(values.rounds); round++) {
  for (const [k, [, run]] of items.entries()) {
    const from = performance.now();
    const out = await run();
    await evaluate(out as any);
    // One value read back: the work is over.
    const first = (function find(t: any): any { return t?.data ? t : find(Object.values(t)[0]); })(out);
    await first.data();
    // The first round compiles.
    if (round > 0) times[k]!.push(performance.now() - from);
  }
}
const best = times.map((list) => Math.min(...list));
const rows: (string | number)[][] = [];
let basis = 0;
for (const [k, [name, , plan]] of items.entries()) {
  const { peakBytes, dispatches } = await plan();
  if (k === 0) basis = peakBytes;
  rows.push([name, best[k]!, best[k]! / best[0]!, peakBytes / 1e6, peakBytes / basis, dispatches]);
}
console.log(formatTable(["", "ms", "x", "MB", "x memory", "dispatches"], rows));
await closeDevice();
