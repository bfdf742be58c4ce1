/** Sharpness-aware minimization (Foret et al. 2021): the gradient is taken where the loss is highest nearby. */
import * as vg from "voxgrad";
import { random, type Tensor, tree } from "voxgrad";
import * as nn from "voxgrad/nn";

const specification = [nn.linearParameters(8, 32), nn.linearParameters(32, 3)];
type Network = ReturnType<typeof nn.initialize<typeof specification>>;
const lossOf = (p: Network, x: Tensor, y: Tensor): Tensor =>
  vg.crossEntropy(nn.linear(p[1], nn.linear(p[0], x).relu()), y);

const optimizer = nn.sgd({ momentum: 0.9 });
const step = vg.compile((p: Network, state: vg.Params, x: Tensor, y: Tensor) => {
  const [loss, grads] = vg.valueAndGrad(lossOf)(p, x, y);
  const highest = tree.add(p, tree.scale(grads, vg.div(0.05, tree.norm(grads).add(1e-12))));
  return [loss, ...optimizer.update(vg.grad(lossOf)(highest, x, y), state, p, 0.1)] as const;
});

export async function run(steps: number): Promise<number[]> {
  const x = random.normal(random.key(1), { shape: [64, 8] });
  const y = x.matmul(random.normal(random.key(2), { shape: [8, 3] })).argmax({ axis: 1 });
  let p = nn.initialize(random.key(3), specification);
  let [state, loss] = [optimizer.init(p), vg.zeros([])];
  const losses: number[] = [];
  for (let k = 0; k < steps; k++) {
    [loss, p, state] = await step(p, state, x, y);
    losses.push(await loss.item());
  }
  return losses;
}
