// Contrastive pretraining without labels (SimCLR, Chen et al. 2020): an encoder learns to recognize the other view of
// an image among those of a batch. Then a linear classifier on its frozen features is solved for, from few labels. Copy
// view and the step; put your images in the place of the shapes.
//   npx voxgrad run scripts/examples/contrastive.ts --steps 300 --labels 20
import * as vg from "voxgrad";
import { random, type Tensor } from "voxgrad";
import { adamw, conv, convParameters, cosineSchedule, initialize, linear, linearParameters, ntXent } from "voxgrad/nn";
import { config, counted, entry, print } from "voxgrad/train";

const { steps, batch, rate, labels } = config({
  steps: entry(300, "steps", { integer: true, min: 1 }),
  batch: entry(64, "images of a step", { integer: true, min: 2 }),
  rate: entry(0.003, "learning rate at the start", { min: 0 }),
  labels: entry(20, "labeled images for the classifier", { integer: true, min: 3 }),
});
const [size, width] = [16, 16];

/** Disks, squares and crosses (0, 1, 2) of random place, size and brightness: [N, 1, size, size], and labels [N]. */
function shapes(key: Tensor, count: number): [Tensor, Tensor] {
  const [kind, where, radius, noise] = random.split(key, 4);
  const label = random.randint(kind, { shape: [count], max: 3 });
  const center = random.uniform(where, { shape: [2, count, 1, 1, 1], min: 0.35, max: 0.65 });
  const axis = vg.linspace(0, 1, { num: size });
  const r = random.uniform(radius, { shape: [count, 1, 1, 1], min: 0.18, max: 0.3 });
  const [x, y] = [axis, axis.expandDims({ axis: 1 })].map((t, k) => t.sub(center.select({ axis: 0, index: k })).abs());
  const each = [x.square().add(y.square()).sqrt(), x.maximum(y), x.minimum(y).mul(3).maximum(x.maximum(y))];
  const inside = each.map((distance) => distance.less(r).cast("f32"));
  const chosen = vg.oneHot(label, { classes: 3 }).reshape({ shape: [count, 3, 1, 1] });
  const image = vg.concat(inside, { axis: 1 }).mul(chosen).sum({ axes: [1], keepDims: true });
  return [image.add(random.normal(noise, { shape: image.shape, std: 0.1 })), label];
}

/** Another view of each image: moved, scaled, mirrored, in other brightness, with noise. */
function view(key: Tensor, x: Tensor): Tensor {
  const keys = random.split(key, 5);
  const draw = (k: number, min: number, max: number, shape: number[]): Tensor =>
    random.uniform(keys[k], { shape: [x.shape[0], ...shape], min, max });
  const mirrored = vg.stack([draw(0, -1, 1, []).sign(), vg.ones([x.shape[0]])], { axis: 1 });
  const matrix = draw(1, 0.8, 1.25, [1, 1]).mul(vg.eye(2)).mul(mirrored.expandDims({ axis: 2 }));
  const theta = vg.concat([matrix, draw(2, -0.3, 0.3, [2, 1])], { axis: 2 });
  const moved = vg.gridSample(x, vg.affineGrid(theta, { size: x.shape }));
  return moved.mul(draw(3, 0.5, 1.5, [1, 1, 1])).add(random.normal(keys[4], { shape: x.shape, std: 0.1 }));
}

const specification = {
  first: convParameters(1, width, [3, 3]),
  second: convParameters(width, 2 * width, [3, 3]),
  third: convParameters(2 * width, 2 * width, [3, 3]),
  head: [linearParameters(2 * width, 2 * width), linearParameters(2 * width, width)],
};
type Network = ReturnType<typeof initialize<typeof specification>>;
const features = (p: Network, x: Tensor): Tensor => {
  const layers = [p.first, p.second, p.third];
  const last = layers.reduce((h, layer, k) => conv(layer, h, { padding: 1, stride: k > 0 ? 2 : 1 }).relu(), x);
  return vg.globalAvgPool(last).flatten({ startAxis: 1 });
};
const projection = (p: Network, x: Tensor): Tensor => linear(p.head[1], linear(p.head[0], features(p, x)).relu());

const optimizer = adamw();
const step = vg.compile((p: Network, state: vg.Params, key: Tensor, rate: Tensor) => {
  const [images, first, second] = random.split(key, 3);
  const [x] = shapes(images, batch);
  const lossOf = (p: Network): Tensor =>
    ntXent(projection(p, view(first, x)), projection(p, view(second, x)), { temperature: 0.2 });
  const [loss, grads] = vg.valueAndGrad(lossOf)(p);
  return [loss, ...optimizer.update(grads, state, p, rate)] as const;
});

/** Share of new images that a ridge regression on the features of `labels` images classifies right. */
async function accuracy(p: Network): Promise<number> {
  const [given, asked] = random.split(random.key(5));
  const [[x, y], [test, wanted]] = [shapes(given, labels), shapes(asked, 500)];
  const withOne = (f: Tensor): Tensor => f.pad({ after: [0, 1], value: 1 });
  const [known, unknown] = [x, test].map((images) => withOne(features(p, images)));
  const normal = known.transpose().matmul(known).add(vg.eye(2 * width + 1).mul(1e-3));
  const weights = vg.solve(normal, known.transpose().matmul(vg.oneHot(y, { classes: 3 })));
  return await unknown.matmul(weights).argmax({ axis: 1 }).equal(wanted).cast("f32").mean().item();
}

let p = initialize(random.key(1), specification);
let [state, loss] = [optimizer.init(p), vg.zeros([])];
print(`accuracy on random features: ${(await accuracy(p)).toFixed(3)}`);
const schedule = cosineSchedule(rate, { steps });
for (const k of counted(Array.from({ length: steps }, (_, k) => k), "step")) {
  [loss, p, state] = await step(p, state, random.key(k), schedule(k));
}
print(`loss ${(await loss.item()).toFixed(3)}; accuracy on learned ones: ${(await accuracy(p)).toFixed(3)}`);
await vg.closeDevice();
