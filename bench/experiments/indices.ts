/** Hard examples, sorting, gathering, adding by index, counting, and small operators: a day's vocabulary of indices. */
import * as vg from "voxgrad";
import { random, type Tensor } from "voxgrad";

/** Cross-entropy of the hardest quarter of the pixels. */
function hardLoss(logits: Tensor, labels: Tensor): Tensor {
  const each = vg.crossEntropy(logits, labels, { reduction: "none" }).flatten();
  return each.topK({ k: each.size / 4 })[0].mean();
}
/** The mean feature of each class, and each pixel's distance from its own. */
function spread(features: Tensor, labels: Tensor, classes: number): Tensor {
  const count = vg.bincount(labels, { length: classes }).maximum(1).expandDims({ axis: 1 });
  const means = vg.segmentSum(features, labels, { segments: classes }).div(count);
  return features.sub(means.take(labels)).square().sum({ axes: [1] }).mean();
}
/** Lovasz extension of the Jaccard loss of one class (Berman et al. 2018), by sorted errors. */
function lovasz(probabilities: Tensor, truth: Tensor): Tensor {
  const errors = truth.sub(probabilities).abs();
  const order = errors.argsort({ descending: true });
  const sorted = truth.take(order);
  const jaccard = vg.sub(1, truth.sum().sub(sorted.cumsum()).div(truth.sum().add(vg.sub(1, sorted).cumsum())));
  const slopes = jaccard.sub(jaccard.roll({ shift: 1 }).mul(vg.arange(truth.size).greater(0)));
  return errors.take(order).mul(slopes).sum();
}
/** Softmax attention that looks back only, and how much of it lies on each of ten distances. */
function lookBack(scores: Tensor): [Tensor, Tensor] {
  const past = vg.ones(scores.shape, { dtype: "bool" }).tril();
  const weights = vg.where(past, scores, -Infinity).softmax();
  const [rows, columns] = vg.meshgrid([vg.arange(scores.shape[0]), vg.arange(scores.shape[1])], { indexing: "ij" });
  return [weights, vg.histogram(rows.sub(columns).cast("f32"), { bins: 10, range: [0, 20], weights })[0]];
}

export async function run(steps: number): Promise<number[]> {
  const [a, b, c] = random.split(random.key(1), 3);
  const labels = await vg.evaluate(random.randint(a, { shape: [2, 12, 12], max: 4 }));
  const optimize = vg.compile((x: Tensor) => {
    const all = (x: Tensor): Tensor => {
      const pixels = x.moveAxis({ source: 1, destination: -1 }).reshape({ shape: [-1, 4] });
      const one = vg.sigmoid(x.select({ axis: 1, index: 0 })).flatten();
      const [weights, distances] = lookBack(x.select({ axis: 0, index: 0 }).select({ axis: 0, index: 1 }));
      return hardLoss(x, labels).add(spread(pixels, labels.flatten(), 4)).add(
        lovasz(one, labels.equal(0).cast("f32").flatten()),
      )
        .add(weights.prod({ axes: [1] }).sum()).add(distances.max().mul(0.01));
    };
    const [loss, slope] = vg.valueAndGrad(all)(x);
    return [loss, x.sub(slope.mul(2))] as const;
  });
  let [x, loss] = [random.normal(b, { shape: [2, 4, 12, 12] }), vg.zeros([])];
  const losses: number[] = [];
  for (let k = 0; k < steps; k++) {
    [loss, x] = await optimize(x);
    losses.push(await loss.item());
  }
  const { values } = await vg.unique(random.randint(c, { shape: [50], max: 3 }));
  if (values.size !== 3) throw new Error(`${values.size} different values of three`);
  return losses;
}
