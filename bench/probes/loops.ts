// What a loop in a program costs by the number of its steps: kernels, dispatches, memory, and the first call, which
// compiles. A recurrent network of 64 units, batches of 8; its gradient keeps every state, or with checkpoints about
// twice the square root of their number.
//   npx voxgrad run bench/probes/loops.ts --steps 10,100,1000
import { parseArgs } from "node:util";
import { closeDevice, compile, evaluate, grad, random, scan, type Tensor, zeros } from "voxgrad";

const { values: options } = parseArgs({ options: { steps: { type: "string", default: "10,100,1000" } } });
const steps = options.steps.split(",").map(Number);

const loss = (checkpoint: boolean) => (w: Tensor, xs: Tensor): Tensor => {
  const step = (h: Tensor, x: Tensor): [Tensor, null] => [h.matmul(w).add(x).tanh(), null];
  return scan(step, zeros([8, 64]), xs, { checkpoint })[0].square().mean();
};
const programs = {
  value: loss(false),
  gradient: grad(loss(false)),
  "gradient, checkpoint": grad(loss(true)),
};

console.log("                      steps  kernels  dispatches  arena kB  first call ms  later call ms");
const w = random.normal(random.key(1), { shape: [64, 64] }).mul(0.1);
for (const [name, f] of Object.entries(programs)) {
  for (const n of steps) {
    const [weights, xs] = await evaluate([w, random.normal(random.key(2), { shape: [n, 8, 64] })]);
    const step = compile(f);
    const times: number[] = [];
    for (let k = 0; k < 3; k++) {
      const start = performance.now();
      await (await step(weights, xs)).data();
      times.push(performance.now() - start);
    }
    const { kernels, dispatches, arenaBytes } = await step.plan(weights, xs);
    const figures = [n, new Set(kernels).size, dispatches, (arenaBytes / 1e3).toFixed(1), times[0].toFixed(0)];
    const all = [...figures, Math.min(...times.slice(1)).toFixed(0)];
    console.log(name.padEnd(20), ...all.map((v, k) => String(v).padStart([6, 8, 11, 9, 14, 14][k])));
    step.dispose();
  }
}
await closeDevice();
