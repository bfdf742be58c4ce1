/** A 2-D U-Net with batch norm and its running statistics, Dice and cross-entropy, Nesterov's momentum. */
import * as vg from "voxgrad";
import { random, type Tensor } from "voxgrad";
import * as nn from "voxgrad/nn";

const block = (inputs: number, outputs: number) => [
  { conv: nn.convParameters(inputs, outputs, [3, 3]), norm: nn.batchNormParameters(outputs) },
  { conv: nn.convParameters(outputs, outputs, [3, 3]), norm: nn.batchNormParameters(outputs) },
];
const specification = {
  blocks: [block(1, 8), block(8, 16), block(16, 32), block(32, 16), block(16, 8)],
  ups: [nn.convTransposeParameters(32, 16, [2, 2]), nn.convTransposeParameters(16, 8, [2, 2])],
  head: nn.convParameters(8, 3, [1, 1]),
};
type Network = ReturnType<typeof nn.initialize<typeof specification>>;

/** Logits, and the parameters with the new running statistics. */
function network(p: Network, x: Tensor, train: boolean): [Tensor, Network] {
  const blocks: Network["blocks"] = [];
  const convolved = (h: Tensor): Tensor => {
    const layers: Network["blocks"][0] = [];
    for (const { conv, norm } of p.blocks[blocks.length]) {
      const { output, statistics } = nn.runningBatchNorm(norm, nn.conv(conv, h, { padding: 1 }), { train });
      layers.push({ conv, norm: { ...norm, ...statistics } });
      h = output.relu();
    }
    blocks.push(layers);
    return h;
  };
  const fine = convolved(x);
  const middle = convolved(vg.maxPool2d(fine, { kernel: 2 }));
  let h = convolved(vg.maxPool2d(middle, { kernel: 2 }));
  h = convolved(vg.concat([nn.convTranspose(p.ups[0], h, { stride: 2 }), middle], { axis: 1 }));
  h = convolved(vg.concat([nn.convTranspose(p.ups[1], h, { stride: 2 }), fine], { axis: 1 }));
  return [nn.conv(p.head, h), { ...p, blocks }];
}

const optimizer = nn.sgd({ momentum: 0.9, nesterov: true });
const step = vg.compile((p: Network, state: vg.Params, x: Tensor, y: Tensor) => {
  const lossOf = (p: Network): [Tensor, Network] => {
    const [logits, next] = network(p, x, true);
    return [nn.diceCrossEntropy(logits, y), next];
  };
  const [[loss, next], grads] = vg.valueAndGrad(lossOf, { hasAux: true })(p);
  return [loss, ...optimizer.update(grads, state, next, 0.02)] as const;
});

export async function run(steps: number): Promise<number[]> {
  const axis = vg.linspace(-1, 1, { num: 16 });
  const radius = axis.square().add(axis.square().expandDims({ axis: 1 })).expandDims({ axis: 0 });
  const size = random.uniform(random.key(1), { shape: [4, 1, 1], min: 0.2, max: 0.5 });
  const y = radius.less(size).cast("i32").add(radius.less(size.mul(0.3)).cast("i32"));
  const noise = random.normal(random.key(2), { shape: [4, 1, 16, 16], std: 0.2 });
  const x = y.cast("f32").expandDims({ axis: 1 }).add(noise);
  let p = nn.initialize(random.key(3), specification);
  let [state, loss] = [optimizer.init(p), vg.zeros([])];
  const losses: number[] = [];
  for (let k = 0; k < steps; k++) {
    [loss, p, state] = await step(p, state, x, y);
    losses.push(await loss.item());
  }
  return losses;
}
