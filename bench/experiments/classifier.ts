/** A convolutional classifier with AdamW and a cosine schedule. */
import * as vg from "voxgrad";
import { random, type Tensor } from "voxgrad";
import * as nn from "voxgrad/nn";

const specification = {
  first: nn.convParameters(1, 8, [3, 3]),
  second: nn.convParameters(8, 16, [3, 3]),
  head: nn.linearParameters(16 * 4, 10),
};
type Network = ReturnType<typeof nn.initialize<typeof specification>>;

function network(p: Network, x: Tensor): Tensor {
  const first = vg.maxPool2d(nn.conv(p.first, x, { padding: 1 }).relu(), { kernel: 2 });
  const second = vg.maxPool2d(nn.conv(p.second, first, { padding: 1 }).relu(), { kernel: 2 });
  return nn.linear(p.head, second.flatten({ startAxis: 1 }));
}

const optimizer = nn.adamw({ weightDecay: 0.01 });
const step = vg.compile((p: Network, state: vg.Params, x: Tensor, y: Tensor, rate: Tensor) => {
  const [loss, grads] = vg.valueAndGrad((p: Network) => vg.crossEntropy(network(p, x), y))(p);
  return [loss, ...optimizer.update(grads, state, p, rate)] as const;
}, { donate: [0, 1] });

export async function run(steps: number): Promise<number[]> {
  // Ten images, and copies of them with noise.
  const [images, draws, noise] = random.split(random.key(1), 3);
  const y = random.randint(draws, { shape: [64], max: 10 });
  const x = random.normal(images, { shape: [10, 1, 8, 8] }).take(y)
    .add(random.normal(noise, { shape: [64, 1, 8, 8], std: 0.3 }));
  const schedule = nn.cosineSchedule(0.01, { steps });
  let p = nn.initialize(random.key(2), specification);
  let [state, loss] = [optimizer.init(p), vg.zeros([])];
  const losses: number[] = [];
  for (let k = 0; k < steps; k++) {
    [loss, p, state] = await step(p, state, x, y, schedule(k));
    losses.push(await loss.item());
  }
  return losses;
}
