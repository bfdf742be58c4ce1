/** Batches of any size, accumulated and clipped gradients, a line search, and a loop without compile. */
import * as vg from "voxgrad";
import { random, type Tensor, tree } from "voxgrad";
import * as nn from "voxgrad/nn";

const specification = [nn.linearParameters(8, 16), nn.linearParameters(16, 1)];
type Network = ReturnType<typeof nn.initialize<typeof specification>>;
const lossOf = (p: Network, x: Tensor, y: Tensor): Tensor =>
  nn.mse(nn.linear(p[1], nn.linear(p[0], x).tanh()), y, { reduction: "sum" });

const gradient = vg.compile((p: Network, x: Tensor, y: Tensor) => vg.valueAndGrad(lossOf)(p, x, y));
/** Loss and gradient of all batches, and the gradient's clipped norm. */
async function accumulated(p: Network, batches: [Tensor, Tensor][]): Promise<[Tensor, Network]> {
  let [loss, sum] = await gradient(p, ...batches[0]);
  for (const batch of batches.slice(1)) {
    const [next, grads] = await gradient(p, ...batch);
    [loss, sum] = await vg.evaluate([loss.add(next), tree.add(sum, grads)] as [Tensor, Network]);
  }
  const count = batches.reduce((n, [x]) => n + x.shape[0], 0);
  return [loss.div(count), nn.clipGradNorm(tree.scale(sum, 1 / count), 1)[0]];
}
/** Half the step until the loss falls enough (Armijo 1966), in one program. */
const search = vg.compile((p: Network, grads: Network, x: Tensor, y: Tensor) => {
  const at = (rate: Tensor): Tensor => lossOf(tree.sub(p, tree.scale(grads, rate)), x, y);
  const enough = (rate: Tensor): Tensor => lossOf(p, x, y).sub(rate.mul(tree.dot(grads, grads)).mul(1e-4));
  const rate = vg.whileLoop((r: Tensor) => at(r).greater(enough(r)), (r: Tensor) => r.mul(0.5), vg.tensor(1), {
    bound: 10,
  });
  return [rate, tree.sub(p, tree.scale(grads, rate))] as const;
});

export async function run(steps: number): Promise<number[]> {
  const x = await vg.evaluate(random.normal(random.key(1), { shape: [37, 8] }));
  const y = await vg.evaluate(x.sum({ axes: [1], keepDims: true }).sin());
  const cut = (t: Tensor): Tensor[] => t.split({ sizes: [16, 16, 5] });
  const batches = cut(x).map((part, k): [Tensor, Tensor] => [part, cut(y)[k]]);
  let p = nn.initialize(random.key(2), specification);
  const losses: number[] = [];
  for (let k = 0; k < steps; k++) {
    const [loss, grads] = await accumulated(p, batches);
    [, p] = await search(p, grads, x, y);
    losses.push(await loss.item());
  }
  return losses;
}
