// Linear algebra of small matrices: time of a compiled call with its result read. First call (compiles), and the best
// of several, in ms.
//   npx voxgrad run bench/probes/matrices.ts --rounds 10
import { parseArgs } from "node:util";
import * as vg from "voxgrad";
import { type Tensor } from "voxgrad";

const { values: options } = parseArgs({ options: { rounds: { type: "string", default: "10" } } });

async function measure(name: string, f: (x: Tensor) => Tensor, x: Tensor): Promise<void> {
  const step = vg.compile((x: Tensor) => f(x).sum());
  const times: number[] = [];
  for (let k = 0; k <= Number(options.rounds); k++) {
    const start = performance.now();
    await (await step(x)).data();
    times.push(performance.now() - start);
  }
  console.log(name.padEnd(40), ...[times[0], Math.min(...times.slice(1))].map((t) => t.toFixed(1).padStart(9)));
}

for (const [count, n] of [[100_000, 3], [1000, 8], [1, 64], [64, 64]] as const) {
  const noise = vg.random.normal(vg.random.key(1), { shape: [count, n, n] });
  const x = await vg.evaluate(noise.matmul(noise.swapAxes({ axes: [1, 2] })).add(vg.eye(n)));
  const of = `${count} of ${n} x ${n}`;
  const gradient = (f: (x: Tensor) => Tensor) => vg.grad((x: Tensor) => f(x).sum());
  await measure(`inverse, ${of}`, (x) => vg.inverse(x), x);
  await measure(`det, ${of}`, (x) => vg.det(x), x);
  await measure(`gradient of slogdet, ${of}`, gradient((x) => vg.slogdet(x)[1]), x);
  await measure(`cholesky, ${of}`, (x) => vg.cholesky(x), x);
  if (n > 8) continue;
  await measure(`eigh, ${of}`, (x) => vg.eigh(x)[0], x);
  await measure(`gradient of eigenvectors, ${of}`, gradient((x) => vg.eigh(x)[1]), x);
}
await vg.closeDevice();
