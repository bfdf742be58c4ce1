/** A training that is saved, loaded and goes on to the same bits; and how a NaN is found. */
import * as vg from "voxgrad";
import { random, type Tensor } from "voxgrad";
import * as nn from "voxgrad/nn";

const specification = { first: nn.linearParameters(8, 16), second: nn.linearParameters(16, 1) };
type Network = ReturnType<typeof nn.initialize<typeof specification>>;
const lossOf = (p: Network, x: Tensor): Tensor => nn.linear(p.second, nn.linear(p.first, x).tanh()).square().mean();

const optimizer = nn.adamw();
const step = vg.compile((p: Network, state: vg.Params, x: Tensor) => {
  const [loss, grads] = vg.valueAndGrad(lossOf)(p, x);
  return [loss, ...optimizer.update(grads, state, p, 1e-2)] as const;
});

const save = (params: Network, state: vg.Params, k: number): Promise<Uint8Array> =>
  vg.saveSealed({ params, state }, { step: `${k}` });

function load(bytes: Uint8Array, like: { params: Network; state: vg.Params }) {
  const { tensors, metadata } = vg.loadSafetensors(bytes);
  return { ...vg.loadParameters(like, tensors), k: Number(metadata.step) };
}

/** What PyTorch's set_detect_anomaly tells: the operator whose derivative is NaN, and where it was called. */
const diagnosed = (): Promise<string> =>
  vg.detectAnomaly(() => vg.grad((x: Tensor) => x.sqrt().mul(x).sum())(vg.zeros([3])).data())
    .then(() => "nothing", (error: Error) => error.message);

export async function run(steps: number): Promise<number[]> {
  const x = (k: number): Tensor => random.normal(random.key(k), { shape: [16, 8] });
  let params = nn.initialize(random.key(0), specification);
  let [state, loss] = [optimizer.init(params), vg.zeros([])];
  const half = Math.ceil(steps / 2);
  let bytes = new Uint8Array();
  const losses: number[] = [];
  for (let k = 0; k < steps; k++) {
    if (k === half) bytes = new Uint8Array(await save(params, state, k));
    [loss, params, state] = await step(params, state, x(k));
    losses.push(await loss.item());
  }
  if (steps > half) {
    let again = load(bytes, { params, state });
    for (; again.k < steps; again.k++) {
      const [loss, params, state] = await step(again.params, again.state, x(again.k));
      again = { params, state, k: again.k };
      if (await loss.item() !== losses[again.k]) throw new Error(`step ${again.k} differs after loading`);
    }
  }
  const told = await diagnosed();
  if (!/^the derivative of sqrt .*resume\.ts/.test(told)) throw new Error(`detectAnomaly told ${told}`);
  return losses;
}
