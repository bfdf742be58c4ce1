// Sorts, sums by index and counts: time of a compiled call with its result read. The best of several, in ms.
//   npx voxgrad run bench/probes/indexing.ts --rounds 20
import { parseArgs } from "node:util";
import { bincount, closeDevice, compile, evaluate, random, segmentSum, type Tensor } from "voxgrad";

const { values: options } = parseArgs({ options: { rounds: { type: "string", default: "10" } } });
const rounds = Number(options.rounds);

async function measure(name: string, f: (...args: Tensor[]) => Tensor, ...inputs: Tensor[]): Promise<void> {
  const args = await evaluate(inputs);
  const step = compile(f);
  await (await step(...args)).data();
  let best = Infinity;
  for (let k = 0; k < rounds; k++) {
    const start = performance.now();
    await (await step(...args)).data();
    best = Math.min(best, performance.now() - start);
  }
  console.log(name.padEnd(36), best.toFixed(1).padStart(9));
}

const uniform = (...shape: number[]): Tensor => random.uniform(random.key(1), { shape });
for (const [lines, n] of [[1000, 64], [1000, 100], [8, 1000], [1, 100_000], [1, 1_000_000]] as const) {
  await measure(`argsort [${lines}, ${n}]`, (x) => x.argsort(), uniform(lines, n));
}
const values = uniform(1_000_000);
for (const n of [10, 1000, 100_000]) {
  const ids = values.mul(n).cast("i32");
  const order = random.permutation(random.key(2), { of: ids });
  await measure(`segmentSum of 1e6 to ${n}`, (x, i) => segmentSum(x, i, { segments: n }), values, order);
  await measure(`bincount of 1e6 to ${n}`, (i) => bincount(i, { length: n }), order);
}
await measure("sum of 1e6", (x) => x.sum(), values);
await closeDevice();
