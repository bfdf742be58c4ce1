// Semi-supervised segmentation with a mean teacher (Tarvainen and Valpola 2017): a student learns from few labeled
// images, and on unlabeled ones to agree with a running mean of itself that sees other noise. Copy the step; put your
// network (models/, or networkFromPlan) and your batches in the place of these.
//   npx voxgrad run scripts/examples/mean_teacher.ts --steps 300 --labeled 2
import * as vg from "voxgrad";
import { random, type Tensor } from "voxgrad";
import {
  adamw,
  conv,
  convParameters,
  diceCrossEntropy,
  emaUpdate,
  initialize,
  mse,
  norm,
  normParameters,
} from "voxgrad/nn";
import { config, counted, entry, print } from "voxgrad/train";

const { steps, labeled, unlabeled, rate, weight, decay } = config({
  steps: entry(300, "steps", { integer: true, min: 1 }),
  labeled: entry(2, "images with labels", { integer: true, min: 1 }),
  unlabeled: entry(64, "images without", { integer: true, min: 1 }),
  rate: entry(0.003, "learning rate", { min: 0 }),
  weight: entry(5, "weight of the agreement, after the first third of the steps", { min: 0 }),
  decay: entry(0.98, "share of the teacher that stays in a step", { min: 0, max: 1 }),
});
const [size, width, batch] = [24, 12, 8];

/** Ellipses in a textured background, in images of different contrast: [N, 1, size, size], and labels. */
function scans(key: Tensor, count: number): [Tensor, Tensor] {
  const [shape, texture, noise, contrast] = random.split(key, 4);
  const draws = random.uniform(shape, { shape: [4, count, 1, 1] });
  const at = (k: number, least: number, span: number): Tensor =>
    draws.select({ axis: 0, index: k }).mul(span).add(least);
  const axis = vg.linspace(0, 1, { num: size });
  const x = axis.sub(at(0, 0.3, 0.4)).div(at(2, 0.12, 0.2));
  const y = axis.expandDims({ axis: 1 }).sub(at(1, 0.3, 0.4)).div(at(3, 0.12, 0.2));
  const label = x.square().add(y.square()).less(1).cast("i32");
  const clouds = vg.resize(random.normal(texture, { shape: [count, 1, 6, 6] }), { size: [size, size], mode: "linear" });
  const bright = random.uniform(contrast, { shape: [count, 1, 1, 1], min: 0.4, max: 1.5 });
  const image = label.cast("f32").expandDims({ axis: 1 }).mul(bright).add(clouds.mul(0.5));
  return [image.add(random.normal(noise, { shape: image.shape, std: 0.3 })), label];
}

const block = (inputs: number) => ({ conv: convParameters(inputs, width, [3, 3]), norm: normParameters(width) });
const specification = { blocks: [block(1), block(width), block(width)], head: convParameters(width, 2, [1, 1]) };
type Network = ReturnType<typeof initialize<typeof specification>>;
/** Logits [N, 2, size, size]; each convolution sees farther than the one before. */
function network(p: Network, x: Tensor): Tensor {
  const layer = (h: Tensor, b: Network["blocks"][0], k: number): Tensor =>
    norm(b.norm, conv(b.conv, h, { padding: 2 ** k, dilation: 2 ** k }), { groups: 4 }).leakyRelu();
  return conv(p.head, p.blocks.reduce(layer, x));
}

const [first, second, third] = random.split(random.key(1), 3);
const [known, others, held] = await vg.evaluate([scans(first, labeled), scans(second, unlabeled), scans(third, 64)]);
const optimizer = adamw();

const step = vg.compile((student: Network, teacher: Network, state: vg.Params, key: Tensor, weight: Tensor) => {
  const keys = random.split(key, 4);
  const chosen = (count: number, k: number): Tensor => random.randint(keys[k], { shape: [batch], max: count });
  const noisy = (x: Tensor, k: number): Tensor => x.add(random.normal(keys[k], { shape: x.shape, std: 0.2 }));
  const places = chosen(labeled, 0);
  const [x, y] = known.map((t) => t.take(places, { axis: 0 }));
  const more = others[0].take(chosen(unlabeled, 1), { axis: 0 });
  const target = network(teacher, noisy(more, 2)).softmax({ axis: 1 });
  const lossOf = (p: Network): [Tensor, Tensor] => {
    const agreement = mse(network(p, noisy(more, 3)).softmax({ axis: 1 }), target);
    return [diceCrossEntropy(network(p, x), y).add(agreement.mul(weight)), agreement];
  };
  const [[loss, agreement], grads] = vg.valueAndGrad(lossOf, { hasAux: true })(student);
  const [next, after] = optimizer.update(grads, state, student, rate);
  return [loss, agreement, next, emaUpdate(teacher, next, { decay }), after] as const;
}, { donate: [0, 1, 2] });

/** Dice of the ellipses in the held-out images. */
async function dice(p: Network): Promise<string> {
  const predicted = network(p, held[0]).argmax({ axis: 1 });
  const both = predicted.mul(held[1]).sum().cast("f32").mul(2);
  return (await both.div(predicted.sum().add(held[1].sum())).item()).toFixed(3);
}

let student = initialize(random.key(2), specification);
let [teacher, state, loss] = [student, optimizer.init(student), vg.zeros([])];
let agreement = loss;
for (const k of counted(Array.from({ length: steps }, (_, k) => k), "step")) {
  const ramp = weight * Math.min(1, (3 * k) / steps) ** 2;
  [loss, agreement, student, teacher, state] = await step(student, teacher, state, random.key(k), ramp);
}
print(`loss ${(await loss.item()).toFixed(3)}, of it disagreement ${(await agreement.item()).toFixed(5)}`);
print(`Dice of the student ${await dice(student)}, of the teacher ${await dice(teacher)}`);
await vg.closeDevice();
