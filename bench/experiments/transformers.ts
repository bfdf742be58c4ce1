/** A block of a vision transformer, and a pair of 3-D Swin blocks: windows, shifted windows with a mask, biases by place. */
import * as vg from "voxgrad";
import { random, type Tensor } from "voxgrad";
import * as nn from "voxgrad/nn";

const [width, heads, size, window] = [16, 4, [4, 4, 8], 2];
const block = () => ({
  norm1: nn.normParameters(width),
  qkv: nn.linearParameters(width, 3 * width),
  proj: nn.linearParameters(width, width),
  table: nn.zerosParameter([(2 * window - 1) ** 3, heads]),
  norm2: nn.normParameters(width),
  fc1: nn.linearParameters(width, 4 * width),
  fc2: nn.linearParameters(4 * width, width),
});
const specification = { global: block(), windows: block(), shifted: block() };
type Network = ReturnType<typeof nn.initialize<typeof specification>>;
type Block = Network["global"];

/** Attention of tokens [..., n, width]; the bias is added to the scores [..., heads, n, n]. */
function attention(p: Block, x: Tensor, bias?: Tensor): Tensor {
  const [query, key, value] = nn.linear(p.qkv, x).reshape({ shape: [...x.shape.slice(0, -1), 3, heads, width / heads] })
    .moveAxis({ source: [-3, -2], destination: [0, -3] }).unstack();
  const y = vg.scaledDotProductAttention(query, key, value, bias ? { bias } : {});
  return nn.linear(p.proj, y.swapAxes({ axes: [-2, -3] }).reshape({ shape: x.shape }));
}

const mlp = (p: Block, x: Tensor): Tensor => nn.linear(p.fc2, nn.linear(p.fc1, vg.layerNorm(x, p.norm2)).gelu());
function vitBlock(p: Block, x: Tensor): Tensor {
  const y = x.add(attention(p, vg.layerNorm(x, p.norm1)));
  return y.add(mlp(p, y));
}

/** [N, ...size, C] as windows [N, windows, voxels, C], and back. */
const counts = size.map((n) => n / window);
const blocks = [0, 1, 2].flatMap((k) => [counts[k], window]);
const windowsOf = (x: Tensor): Tensor =>
  x.reshape({ shape: [x.shape[0], ...blocks, -1] }).moveAxis({ source: [2, 4, 6], destination: [4, 5, 6] })
    .reshape({ shape: [x.shape[0], -1, window ** 3, x.shape.at(-1)!] });
const together = (x: Tensor): Tensor =>
  x.reshape({ shape: [x.shape[0], ...counts, window, window, window, -1] })
    .moveAxis({ source: [4, 5, 6], destination: [2, 4, 6] }).reshape({ shape: [x.shape[0], ...size, -1] });

/** Which entry of the table belongs to each pair of voxels in a window. */
const places = vg.stack(vg.meshgrid([0, 1, 2].map(() => vg.arange(window)))).flatten({ startAxis: 1 });
const steps = places.expandDims({ axis: 2 }).sub(places.expandDims({ axis: 1 })).add(window - 1);
const pairs = steps.mul(
  vg.tensor([(2 * window - 1) ** 2, 2 * window - 1, 1], { dtype: "i32" })
    .reshape({ shape: [3, 1, 1] }),
).sum({ axes: [0] });
/** -100 between voxels that are no neighbors before the shift. */
const region = vg.meshgrid(size.map((n) => vg.arange(n).less(n - window / 2).cast("f32")))
  .reduce((sum, t, k) => sum.add(t.mul(2 ** k)), vg.zeros([]));
const regions = windowsOf(region.reshape({ shape: [1, ...size, 1] })).squeeze({ axes: [0, 3] });
const mask = vg.where(regions.expandDims({ axis: 1 }).equal(regions.expandDims({ axis: 2 })), 0, -100);

function swinBlock(p: Block, x: Tensor, shift: number): Tensor {
  const moved = (y: Tensor, by: number): Tensor => y.roll({ shift: [by, by, by], axes: [1, 2, 3] });
  const bias = p.table.take(pairs).moveAxis({ source: 2, destination: 0 });
  const tokens = windowsOf(moved(vg.layerNorm(x, p.norm1), -shift));
  const attended = attention(p, tokens, shift ? bias.add(mask.expandDims({ axis: 1 })) : bias);
  const y = x.add(moved(together(attended), shift));
  return y.add(mlp(p, y));
}

const network = (p: Network, x: Tensor): Tensor =>
  vitBlock(
    p.global,
    swinBlock(p.shifted, swinBlock(p.windows, x, 0), window / 2).flatten({ startAxis: 1, endAxis: 3 }),
  );

const optimizer = nn.adamw();
const step = vg.compile((p: Network, state: vg.Params, x: Tensor, y: Tensor) => {
  const [loss, grads] = vg.valueAndGrad((p: Network) => nn.mse(network(p, x), y))(p);
  return [loss, ...optimizer.update(grads, state, p, 3e-3)] as const;
});

export async function run(steps: number): Promise<number[]> {
  await vg.evaluate([pairs, mask]);
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
