// Low-rank adaptation (Hu et al. 2021): a network that was trained on one task learns another one by factors of rank 4
// beside its linear layers, while its own weights stay. Copy adapters and adapted; paths choose the layers.
//   npx voxgrad run scripts/examples/lora.ts --steps 200 --rank 4
import * as vg from "voxgrad";
import { random, type Tensor, tree } from "voxgrad";
import { adamw, initialize, linear, linearParameters } from "voxgrad/nn";
import { config, counted, entry, print } from "voxgrad/train";

const { steps, rank, rate, scale } = config({
  steps: entry(200, "steps of each training", { integer: true, min: 1 }),
  rank: entry(4, "rank of the factors", { integer: true, min: 1 }),
  rate: entry(0.003, "learning rate", { min: 0 }),
  scale: entry(2, "factor of what is learned", { min: 0 }),
});

const specification = {
  first: linearParameters(16, 64),
  second: linearParameters(64, 64),
  head: linearParameters(64, 4),
};
type Network = ReturnType<typeof initialize<typeof specification>>;
const network = (p: Network, x: Tensor): Tensor => linear(p.head, linear(p.second, linear(p.first, x).gelu()).gelu());

/** Factors for every weight whose path matches: b is 0, so that nothing has changed at first. */
type Adapters = Record<string, { a: Tensor; b: Tensor }>;
function adapters(key: Tensor, params: object, paths: RegExp): Adapters {
  const chosen = [...tree.flatten(params)].filter(([path]) => paths.test(path));
  return Object.fromEntries(chosen.map(([path, { shape: [outputs, inputs] }], k) => [path, {
    a: random.normal(random.foldIn(key, k), { shape: [rank, inputs], std: 1 / Math.sqrt(inputs) }),
    b: vg.zeros([outputs, rank]),
  }]));
}

/** The parameters with the products of their factors added. */
const adapted = <P>(params: P, factors: Adapters): P =>
  tree.map<unknown, Tensor>(params, (weight, path) => {
    const own = factors[path];
    return own ? (weight as Tensor).add(own.b.matmul(own.a).mul(scale)) : weight as Tensor;
  }) as P;

/** Points on one side of random planes have a class of their own; a task is the key of its planes. */
function batchOf(task: Tensor, key: Tensor): [Tensor, Tensor] {
  const x = random.normal(key, { shape: [256, 16] });
  return [x, x.matmul(random.normal(task, { shape: [16, 4] })).tanh().argmax({ axis: 1 })];
}

/** Trains the first argument of `logits` on a task; returns it with the accuracy at the end. */
async function train<P extends object>(params: P, logits: (p: P, x: Tensor) => Tensor, task: Tensor) {
  const optimizer = adamw({ weightDecay: 0 });
  const step = vg.compile((p: P, state: vg.Params, key: Tensor) => {
    const [x, y] = batchOf(task, key);
    const [loss, grads] = vg.valueAndGrad((p: P) => vg.crossEntropy(logits(p, x), y))(p);
    return [loss, ...optimizer.update(grads, state, p, rate)] as const;
  });
  let [p, state, loss] = [params, optimizer.init(params), vg.zeros([])];
  for (const k of counted(Array.from({ length: steps }, (_, k) => k), "step")) {
    [loss, p, state] = await step(p as never, state as never, random.key(k)) as [Tensor, P, vg.Params];
  }
  const [x, y] = batchOf(task, random.key(1e6));
  const right = logits(p, x).argmax({ axis: 1 }).equal(y).cast("f32").mean();
  return { p, loss: await loss.item(), accuracy: await right.item() };
}

const [old, other] = await vg.evaluate(random.split(random.key(1)));
const before = await train(initialize(random.key(2), specification), network, old);
print(`the network on its task: loss ${before.loss.toFixed(3)}, accuracy ${before.accuracy.toFixed(3)}`);
const frozen = before.p;
const factors = adapters(random.key(3), frozen, /weight$/);
const after = await train(factors, (f, x) => network(adapted(frozen, f), x), other);
const count = (t: object): number => [...tree.flatten(t).values()].reduce((sum, { size }) => sum + size, 0);
print(`another task by ${count(factors)} of ${count(frozen)} numbers: accuracy ${after.accuracy.toFixed(3)}`);
await vg.closeDevice();
