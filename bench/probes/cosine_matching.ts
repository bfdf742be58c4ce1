// Matching pixels with prototypes: one fused kernel against separate operators (similarities, softmax, weighted sum),
// forward only and with both gradients, each timed in turn: `VOXGRAD_ADAPTER=lavapipe node --import
// ./engine/platform/cli/register.mjs bench/probes/cosine_matching.ts`. --rounds sets how often each is timed, --sizes
// lists N,C,K,side of the square map, as in `--sizes 1,256,65,32`; --passes forward or gradient skips the other.
import { parseArgs } from "node:util";
import {
  closeDevice,
  compile,
  cosineMatching,
  cosineSimilarity,
  random,
  reshape,
  softmax,
  sum,
  type Tensor,
  vjp,
  where,
} from "../../engine/mod.ts";
import { type MeasuredStep, measureSteps } from "./steps.ts";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "15" },
    // 32 x 32 features have 64 windows of 4 x 4 or 256 of 2 x 2, and the class as a whole.
    sizes: { type: "string", default: "1,256,65,32 8,256,65,32 1,256,257,32 8,256,257,32 1,32,65,32 8,32,257,32" },
    passes: { type: "string", default: "forward,gradient" },
  },
});
const TEMPERATURE = 20;
const EPS = 1e-4;

function composed(query: Tensor, vectors: Tensor, used: Tensor): Tensor {
  const [n, channels, h, w] = query.shape as [number, number, number, number];
  const count = vectors.shape[0];
  const pixels = reshape(query, { shape: [n, 1, channels, h * w] });
  const prototypes = reshape(vectors, { shape: [count, channels, 1] });
  const each = cosineSimilarity(pixels, prototypes, { axis: 2, eps: EPS }).mul(TEMPERATURE);
  const share = softmax(where(reshape(used, { shape: [count, 1] }), each, -1e30), { axis: 1 });
  return reshape(sum(each.mul(share), { axes: [1] }), { shape: [n, h, w] });
}

const fused = (query: Tensor, vectors: Tensor, used: Tensor): Tensor =>
  cosineMatching(query, vectors, used, { temperature: TEMPERATURE, eps: EPS });

type Match = typeof fused;

function step(name: string, f: Match, pass: string, inputs: readonly [Tensor, Tensor, Tensor, Tensor]): MeasuredStep {
  const run = compile((query: Tensor, vectors: Tensor, used: Tensor, cotangent: Tensor): Tensor[] => {
    if (pass === "forward") return [f(query, vectors, used)];
    const [y, pullback] = vjp((q: Tensor, p: Tensor) => f(q, p, used), [query, vectors]);
    return [y as Tensor, ...(pullback(cotangent) as Tensor[])];
  });
  return {
    name,
    plan: () => run.plan(...inputs),
    run: async () => {
      const outputs = await run(...inputs);
      await outputs[0].data();
      for (const t of outputs) t.dispose();
    },
  };
}

for (const size of values.sizes.split(" ")) {
  const [n, channels, count, side] = size.split(",").map(Number) as [number, number, number, number];
  const noise = (seed: number, shape: readonly number[]): Tensor => random.normal(random.key(seed), { shape });
  // As for prototypes of a class: only a few windows lie in it.
  const inputs = [
    noise(1, [n, channels, side, side]),
    noise(2, [count, channels]),
    random.uniform(random.key(3), { shape: [count] }).less(0.3),
    noise(4, [n, side, side]),
  ] as const;
  for (const t of inputs) await t.data();
  for (const pass of values.passes.split(",")) {
    const steps = [step("in operators", composed, pass, inputs), step("fused", fused, pass, inputs)];
    const about = `${n} x ${channels} x ${side} x ${side}, ${count} prototypes, ${
      pass === "forward" ? pass : "with gradients"
    }`;
    await measureSteps(steps, about, Number(values.rounds));
  }
}
await closeDevice();
