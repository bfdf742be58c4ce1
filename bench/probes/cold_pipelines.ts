/**
 * What a user waits for before the first step: the pipelines of a compiled step, and how long each takes to compile.
 * Compiles only, one after the other, so times add up; counts are exact. Without a driver cache:
 *
 * MESA_SHADER_CACHE_DISABLE=true VOXGRAD_ADAPTER=lavapipe npx voxgrad run bench/probes/cold_pipelines.ts [--each]
 */
import { lower } from "../../engine/compile/graph/lower.ts";
import { planProgram } from "../../engine/compile/plan_program.ts";
import { singleSteps, type Step as Scheduled } from "../../engine/compile/schedule.ts";
import { bindGroupOf, device, pipelineFor } from "../../engine/gpu/mod.ts";
import * as vg from "../../engine/mod.ts";
import { Tensor } from "../../engine/mod.ts";
import { formatTable } from "../../engine/train/mod.ts";
import { items } from "../peers/items.ts";
import { plainUNet } from "../peers/items_plain_unet.ts";

const here = await device();
const showsEach = process.argv.includes("--each");

interface Shape {
  readonly shape: readonly number[];
  readonly dtype?: vg.DType;
}
type Step = (...inputs: Tensor[]) => Tensor | Tensor[];

function stepsOf(step: Step, inputs: readonly Shape[], target = here.target): Scheduled[] {
  const placeholders = inputs.map(({ shape, dtype = "f32" }) => new Tensor(shape, dtype, { kind: "placeholder" }));
  const { schedule } = planProgram(lower([step(...placeholders)].flat(), target, placeholders), target);
  return singleSteps(schedule.steps);
}

/** Two layers, mean squared error, SGD: a batch of another size is another program. */
const perceptron: Step = (...inputs) => {
  const [w0, w1, x, y] = inputs;
  const loss = (w: Tensor[]): Tensor => vg.relu(x.matmul(w[0])).matmul(w[1]).sub(y).square().mean();
  const [g0, g1] = vg.grad(loss)([w0, w1]);
  return [w0.sub(g0.mul(0.1)), w1.sub(g1.mul(0.1))];
};
const batch = (
  n: number,
): Shape[] => [{ shape: [784, 256] }, { shape: [256, 10] }, { shape: [n, 784] }, { shape: [n, 10] }];

const unet = items.find(({ name }) => name.includes("empty driver"))!;
const nnunet =
  plainUNet({ features: [32, 64, 128, 256, 320, 320], patch: 128, batch: 2, title: "nnU-Net", nnunet: true }).step;

/** Runs one workgroup: some drivers compile when a pipeline first runs. */
async function runOnce({ kernel, reads, writes }: Scheduled): Promise<void> {
  const pipeline = await pipelineFor(here, kernel);
  const buffers = [...reads, ...writes].map(({ bytes }) => here.gpu.createBuffer({ size: bytes, usage: STORAGE }));
  const encoder = here.gpu.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, bindGroupOf(here, pipeline, kernel, buffers.map((buffer) => ({ buffer }))));
  pass.dispatchWorkgroups(1);
  pass.end();
  here.gpu.queue.submit([encoder.finish()]);
  await here.gpu.queue.onSubmittedWorkDone();
  for (const buffer of buffers) buffer.destroy();
}

/** GPUBufferUsage.STORAGE, which is no global of Node. */
const STORAGE = 0x80;

const known = new Set<string>();
const rows: (string | number)[][] = [];
async function measure(title: string, steps: readonly Scheduled[], compiles = true): Promise<void> {
  const distinct = new Map(steps.map((step) => [step.kernel.source(), step]));
  const fresh = [...distinct].filter(([source]) => !known.has(source));
  let total = 0;
  const each: (string | number)[][] = [];
  for (const [source, step] of compiles ? fresh : []) {
    known.add(source);
    const from = process.cpuUsage();
    await runOnce(step);
    const { user, system } = process.cpuUsage(from);
    total += (user + system) / 1000;
    each.push([step.kernel.name, (user + system) / 1000, source.length]);
  }
  each.sort((a, b) => Number(b[1]) - Number(a[1]));
  if (showsEach && compiles) console.log(formatTable(["kernel", "CPU ms", "characters"], each));
  rows.push([title, steps.length, distinct.size, fresh.length, compiles ? total : "not compiled"]);
}
await measure("perceptron, batch 32", stepsOf(perceptron, batch(32)));
await measure("the same, batch 48", stepsOf(perceptron, batch(48)));
await measure("U-Net of the bench", stepsOf(unet.ours(vg) as Step, unet.inputs));
await measure("nnU-Net's default network", stepsOf(nnunet.ours(vg) as Step, nnunet.inputs), false);
// What GPUs bind, with the kernels of this adapter.
const wide = { ...here.target, maxBindingBytes: 2 ** 31 - 4 };
await measure("the same, of 2 GiB bindings", stepsOf(nnunet.ours(vg) as Step, nnunet.inputs, wide), false);
console.log((await vg.deviceInfo()).name);
console.log(formatTable(["step", "dispatches", "pipelines", "not known yet", "CPU ms to compile"], rows));
