/** MAML (Finn et al. 2017): two inner steps, second derivatives, a batch of tasks by vmap. */
import * as vg from "voxgrad";
import { random, type Tensor, tree } from "voxgrad";
import * as nn from "voxgrad/nn";

const specification = [nn.linearParameters(1, 32), nn.linearParameters(32, 32), nn.linearParameters(32, 1)];
type Network = ReturnType<typeof nn.initialize<typeof specification>>;
const network = (p: Network, x: Tensor): Tensor =>
  p.slice(1).reduce((h, layer) => nn.linear(layer, h.tanh()), nn.linear(p[0], x));
const lossOf = (p: Network, x: Tensor, y: Tensor): Tensor => nn.mse(network(p, x), y);

/** The loss on new points after two steps on the given ones. */
function adaptedLoss(p: Network, x: Tensor, y: Tensor, newX: Tensor, newY: Tensor): Tensor {
  for (let k = 0; k < 2; k++) p = tree.sub(p, tree.scale(vg.grad(lossOf)(p, x, y), 0.1));
  return lossOf(p, newX, newY);
}

const optimizer = nn.adam();
const step = vg.compile((p: Network, state: vg.Params, ...data: Tensor[]) => {
  const meta = (p: Network): Tensor => vg.vmap(adaptedLoss, { inAxes: [null, 0, 0, 0, 0] })(p, ...data as Four).mean();
  const [loss, grads] = vg.valueAndGrad(meta)(p);
  return [loss, ...optimizer.update(grads, state, p, 1e-2)] as const;
});
type Four = [Tensor, Tensor, Tensor, Tensor];

export async function run(steps: number): Promise<number[]> {
  let p = nn.initialize(random.key(1), specification);
  let [state, loss] = [optimizer.init(p), vg.zeros([])];
  const losses: number[] = [];
  for (let k = 0; k < steps; k++) {
    // Sines of another phase in each of eight tasks.
    const [phases, points, more] = random.split(random.key(k), 3);
    const phase = random.uniform(phases, { shape: [8, 1, 1], max: Math.PI });
    const [x, newX] = [points, more].map((key) => random.uniform(key, { shape: [8, 10, 1], min: -3, max: 3 }));
    [loss, p, state] = await step(p, state, x, x.add(phase).sin(), newX, newX.add(phase).sin());
    losses.push(await loss.item());
  }
  return losses;
}
