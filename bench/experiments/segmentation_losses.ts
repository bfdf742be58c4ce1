/** Losses of segmentation together: focal, Tversky, clDice, boundary. */
import * as vg from "voxgrad";
import { random, type Tensor } from "voxgrad";
import * as nn from "voxgrad/nn";

function lossOf(logits: Tensor, labels: Tensor, distances: Tensor): Tensor {
  const truth = labels.equal(1).cast("f32").expandDims({ axis: 1 });
  const inside = logits.softmax({ axis: 1 }).narrow({ axis: 1, start: 1, length: 1 });
  const overlap = nn.focal(logits, labels, { gamma: 2 }).add(nn.tversky(logits, labels, { alpha: 0.3, beta: 0.7 }));
  const lines = nn.clDice(inside, truth, { iterations: 2 });
  const edge = nn.boundaryLoss(logits.narrow({ axis: 1, start: 1, length: 1 }), distances);
  return overlap.add(lines.mul(0.5)).add(edge.mul(0.05));
}

const step = vg.compile((logits: Tensor, labels: Tensor, distances: Tensor) => {
  const [loss, slope] = vg.valueAndGrad(lossOf)(logits, labels, distances);
  return [loss, logits.sub(slope.mul(20))] as const;
});

export async function run(steps: number): Promise<number[]> {
  const axis = vg.linspace(-1, 1, { num: 12 });
  const [z, y, x] = vg.meshgrid([vg.linspace(-1, 1, { num: 6 }), axis, axis], { indexing: "ij" });
  const tube = y.sub(z.mul(0.3)).square().add(x.sub(z.sin().mul(0.4)).square()).less(0.1);
  const labels = tube.cast("i32").expandDims({ axis: 0 });
  const distances = nn.signedDistances(labels.expandDims({ axis: 1 }).cast("f32"));
  let [logits, loss] = [random.normal(random.key(1), { shape: [1, 2, 6, 12, 12] }), vg.zeros([])];
  const losses: number[] = [];
  for (let k = 0; k < steps; k++) {
    [loss, logits] = await step(logits, labels, distances);
    losses.push(await loss.item());
  }
  return losses;
}
