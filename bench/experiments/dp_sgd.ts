/** SGD with differential privacy (Abadi et al. 2016): a gradient for each example, clipped, and noise. */
import * as vg from "voxgrad";
import { random, type Tensor, tree } from "voxgrad";
import * as nn from "voxgrad/nn";

const specification = [nn.linearParameters(8, 16), nn.linearParameters(16, 2)];
type Network = ReturnType<typeof nn.initialize<typeof specification>>;
const lossOf = (p: Network, x: Tensor, y: Tensor): Tensor =>
  vg.crossEntropy(nn.linear(p[1], nn.linear(p[0], x).relu()), y, { axis: -1 });

const step = vg.compile((p: Network, x: Tensor, y: Tensor, key: Tensor) => {
  const clipped = (x: Tensor, y: Tensor): [Tensor, Network] => {
    const [loss, grads] = vg.valueAndGrad(lossOf)(p, x, y);
    return [loss, nn.clipGradNorm(grads, 1)[0]];
  };
  const [losses, each] = vg.vmap(clipped)(x, y);
  let count = 0;
  const noisy = tree.map(each, (g: Tensor) => {
    const noise = random.normal(random.foldIn(key, count++), { shape: g.shape.slice(1), std: 0.5 });
    return g.sum({ axes: [0] }).add(noise).div(g.shape[0]);
  });
  return [losses.mean(), tree.sub(p, tree.scale(noisy, 0.5))] as const;
});

export async function run(steps: number): Promise<number[]> {
  const x = random.normal(random.key(1), { shape: [64, 8] });
  const y = x.sum({ axes: [1] }).greater(0).cast("i32");
  let [p, loss] = [nn.initialize(random.key(2), specification), vg.zeros([])];
  const losses: number[] = [];
  for (let k = 0; k < steps; k++) {
    [loss, p] = await step(p, x, y, random.key(k));
    losses.push(await loss.item());
  }
  return losses;
}
