// Attention in one kernel beside the same of matmul and softmax: time and memory of the result, and of the gradients by
// query, key and value: `VOXGRAD_ADAPTER=lavapipe node --import ./engine/platform/cli/register.mjs
// bench/probes/attention.ts`. Arguments after --: sizes as samples x length x features, then rounds.
import { parseArgs } from "node:util";
import {
  closeDevice,
  compile,
  deviceInfo,
  grad,
  matmul,
  random,
  scaledDotProductAttention,
  softmax,
  swapAxes,
  type Tensor,
} from "../../engine/mod.ts";

const { values, positionals } = parseArgs({
  options: { rounds: { type: "string", default: "5" } },
  allowPositionals: true,
});
const sizes = positionals.length > 0 ? positionals : ["48x343x16", "8x1024x32", "4x1024x64"];

const composed = (q: Tensor, k: Tensor, v: Tensor): Tensor => {
  const products = matmul(q, swapAxes(k, { axes: [-1, -2] }));
  return matmul(softmax(products.mul(1 / Math.sqrt(q.shape.at(-1)!))), v);
};

console.log((await deviceInfo()).name);
for (const text of sizes) {
  const [samples, length, features] = text.split("x").map(Number);
  const [q, k, v] = [0, 1, 2].map((seed) => random.normal(random.key(seed), { shape: [samples, length, features] }));
  await Promise.all([q, k, v].map((x) => x.data()));
  for (const what of ["result", "gradients"]) {
    const steps = [composed, scaledDotProductAttention].map((f) => {
      const of = (...xs: Tensor[]): Tensor => f(xs[0], xs[1], xs[2]);
      const loss = (...xs: Tensor[]): Tensor => of(...xs).square().sum();
      const gradients = (...xs: Tensor[]): Tensor[] => grad(loss, { argnums: [0, 1, 2] })(...xs);
      return compile((...xs: Tensor[]): Tensor[] => (what === "result" ? [of(...xs)] : gradients(...xs)));
    });
    const best = [Infinity, Infinity];
    for (let round = 0; round <= Number(values.rounds); round++) {
      for (const [j, step] of steps.entries()) {
        const start = performance.now();
        const y = await step(q, k, v);
        await y[0].data();
        // The first call compiles.
        if (round > 0) best[j] = Math.min(best[j], performance.now() - start);
      }
    }
    const peaks = await Promise.all(steps.map(async (step) => (await step.plan(q, k, v)).peakBytes / 2 ** 20));
    console.log(
      `${text} ${what}: composed ${best[0].toFixed(1)} ms, ${peaks[0].toFixed(1)} MiB; fused ${
        best[1].toFixed(1)
      } ms, ${peaks[1].toFixed(1)} MiB; ${(best[0] / best[1]).toFixed(2)} x`,
    );
  }
}
await closeDevice();
