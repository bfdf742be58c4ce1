// deno-lint-ignore-file no-explicit-any
/**
 * Memory over many steps and many shapes: memory of the engine on the device, and of the process. Run: node --expose-gc
 * --import ./engine/platform/cli/register.mjs bench/probes/memory_soak.ts [--steps 1000] [--shapes 10000] [--compiled
 * 2000]
 */
import mri from "mri";
import * as vg from "../../engine/mod.ts";
import type { Tensor } from "../../engine/mod.ts";
import * as nn from "../../engine/nn/mod.ts";
import { pipelineCount } from "../../engine/gpu/mod.ts";

const options = mri(process.argv.slice(2), { default: { steps: 1000, shapes: 10000, compiled: 2000 } });
const started = performance.now();

function report(what: string): void {
  (globalThis as { gc?: () => void }).gc?.();
  const { live, arena, pooled, peak, allocations } = vg.memoryStats();
  const { rss, heapUsed } = process.memoryUsage();
  const mb = (bytes: number): string => (bytes / 1e6).toFixed(2).padStart(8);
  const text =
    `live${mb(live)} arena${mb(arena)} pooled${mb(pooled)} peak${mb(peak)} MB, ${
      String(allocations).padStart(6)
    } buffers, ` +
    `${String(pipelineCount()).padStart(4)} pipelines, process${mb(rss)} heap${mb(heapUsed)} MB`;
  console.log(`${what.padEnd(26)} ${text}, ${((performance.now() - started) / 1000).toFixed(0)} s`);
}

/** Two convolutions, group norm, cross-entropy, Adam; a new batch each step. */
async function train(compiled: boolean): Promise<void> {
  const optimizer = nn.adam();
  const keys = vg.random.split(vg.random.key(1), 3);
  let params: any = {
    first: vg.random.normal(keys[0], { shape: [8, 1, 3, 3, 3], std: 0.2 }),
    second: vg.random.normal(keys[1], { shape: [8, 8, 3, 3, 3], std: 0.1 }),
    last: vg.random.normal(keys[2], { shape: [3, 8, 1, 1, 1], std: 0.3 }),
  };
  let state = optimizer.init(params);
  const loss = (p: any, x: Tensor, labels: Tensor): Tensor => {
    let h = vg.relu(vg.groupNorm(vg.conv3d(x, p.first, { padding: 1 }), { groups: 2 }));
    h = vg.relu(vg.groupNorm(vg.conv3d(h, p.second, { padding: 1, stride: 2 }), { groups: 2 }));
    return vg.crossEntropy(vg.conv3d(h, p.last), labels);
  };
  const plain = (p: any, s: any, x: Tensor, labels: Tensor, rate: vg.Tensor | number): any => {
    const [value, grads] = vg.valueAndGrad(loss)(p, x, labels);
    return [value, ...optimizer.update(grads, s, p, rate)];
  };
  const step = compiled
    ? vg.compile(plain, { donate: [0, 1] })
    : async (...a: any) => vg.evaluate(plain(...(a as [any, any, any, any, any])));
  for (let k = 1; k <= options.steps; k++) {
    const data = Float32Array.from({ length: 2 * 12 ** 3 }, (_, i) => Math.sin(i * k));
    const x = vg.tensor(data, { shape: [2, 1, 12, 12, 12] });
    const labels = vg.tensor(
      Int32Array.from({ length: 2 * 6 ** 3 }, (_, i) => (i * k) % 3),
      { shape: [2, 6, 6, 6] },
    );
    let value: Tensor;
    [value, params, state] = await step(params, state, x, labels, 1e-3);
    await value.item();
    if ([2, options.steps / 10, options.steps / 2, options.steps].includes(k)) {
      report(`${compiled ? "compiled" : "plain"} step ${k}`);
    }
  }
  if ("dispose" in step) (step as { dispose(): void }).dispose();
}

/** Every size of a vector from 1 up: a different program each. */
async function shapes(): Promise<void> {
  for (let n = 1; n <= options.shapes; n++) {
    const data = new Float32Array(n).fill(1);
    const sum = await vg.tensor(data).mul(2).sum().item();
    if (sum !== 2 * n) throw new Error(`${n} twos sum to ${sum}`);
    if ([0.1, 0.25, 0.5, 0.75, 1].some((part) => n === options.shapes * part)) report(`plain shape ${n}`);
  }
}

/** The same through one compiled function. */
async function compiledShapes(): Promise<void> {
  const f = vg.compile((x: Tensor) => x.mul(2).sum());
  for (let n = 1; n <= options.compiled; n++) {
    const y = await f(vg.ones([n, 3]));
    const sum = await y.item();
    if (sum !== 6 * n) throw new Error(`${3 * n} twos sum to ${sum}`);
    if ([0.1, 0.25, 0.5, 0.75, 1].some((part) => n === options.compiled * part)) {
      report(`compiled shape ${n} (${f.programs().length} kept)`);
    }
  }
  f.dispose();
}

console.log(`${(await vg.deviceInfo()).name}, Node ${process.version}`);
report("start");
await train(true);
await train(false);
await compiledShapes();
await shapes();
await vg.closeDevice();
