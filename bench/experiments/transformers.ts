/** A block of a vision transformer behind a pair of 3-D Swin blocks: windows, and shifted windows. */
import * as vg from "voxgrad";
import { random, type Tensor } from "voxgrad";
import * as nn from "voxgrad/nn";

const [width, heads, size, window] = [16, 4, [4, 4, 8], [2, 2, 2]];
const block = <A>(attention: A) => ({
  norm1: nn.normParameters(width),
  attention,
  norm2: nn.normParameters(width),
  fc1: nn.linearParameters(width, 4 * width),
  fc2: nn.linearParameters(4 * width, width),
});
const specification = {
  windows: block(nn.windowAttentionParameters(width, { heads, window })),
  shifted: block(nn.windowAttentionParameters(width, { heads, window })),
  global: block(nn.multiHeadAttentionParameters(width)),
};
type Network = ReturnType<typeof nn.initialize<typeof specification>>;
type Block = Omit<Network["global"], "attention">;

function around(p: Block, x: Tensor, attention: (x: Tensor) => Tensor): Tensor {
  const y = x.add(attention(vg.layerNorm(x, p.norm1)));
  return y.add(nn.linear(p.fc2, nn.linear(p.fc1, vg.layerNorm(y, p.norm2)).gelu()));
}

function network(p: Network, x: Tensor): Tensor {
  const swin = (p: Network["windows"], x: Tensor, shift: number): Tensor =>
    around(p, x, (y) => nn.windowAttention(p.attention, y, { heads, window, shift }));
  const tokens = swin(p.shifted, swin(p.windows, x, 0), 1).flatten({ startAxis: 1, endAxis: 3 });
  return around(p.global, tokens, (y) => nn.multiHeadAttention(p.global.attention, y, y, y, { heads }));
}

const optimizer = nn.adamw();
const step = vg.compile((p: Network, state: vg.Params, x: Tensor, y: Tensor) => {
  const [loss, grads] = vg.valueAndGrad((p: Network) => nn.mse(network(p, x), y))(p);
  return [loss, ...optimizer.update(grads, state, p, 3e-3)] as const;
});

export async function run(steps: number): Promise<number[]> {
  const x = random.normal(random.key(1), { shape: [1, ...size, width] });
  const y = x.roll({ shift: [1], axes: [1] }).tanh().flatten({ startAxis: 1, endAxis: 3 });
  let p = nn.initialize(random.key(2), specification);
  let [state, loss] = [optimizer.init(p), vg.zeros([])];
  const losses: number[] = [];
  for (let k = 0; k < steps; k++) {
    [loss, p, state] = await step(p, state, x, y);
    losses.push(await loss.item());
  }
  return losses;
}
