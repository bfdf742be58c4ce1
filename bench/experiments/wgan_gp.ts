/** A Wasserstein GAN with gradient penalty (Gulrajani et al. 2017): the critic's gradient by images is in its loss. */
import * as vg from "voxgrad";
import { random, type Tensor } from "voxgrad";
import * as nn from "voxgrad/nn";

const criticSpecification = {
  first: nn.convParameters(1, 16, [4, 4]),
  second: nn.convParameters(16, 32, [4, 4]),
  head: nn.linearParameters(32 * 16, 1),
};
const generatorSpecification = {
  head: nn.linearParameters(8, 32 * 16),
  first: nn.convTransposeParameters(32, 16, [4, 4]),
  second: nn.convTransposeParameters(16, 1, [4, 4]),
};
type Critic = ReturnType<typeof nn.initialize<typeof criticSpecification>>;
type Generator = ReturnType<typeof nn.initialize<typeof generatorSpecification>>;

function critic(p: Critic, x: Tensor): Tensor {
  const first = nn.conv(p.first, x, { stride: 2, padding: 1 }).leakyRelu({ slope: 0.2 });
  const second = nn.conv(p.second, first, { stride: 2, padding: 1 }).leakyRelu({ slope: 0.2 });
  return nn.linear(p.head, second.flatten({ startAxis: 1 })).squeeze({ axes: [1] });
}

function generator(p: Generator, z: Tensor): Tensor {
  const first = nn.linear(p.head, z).relu().reshape({ shape: [-1, 32, 4, 4] });
  const second = nn.convTranspose(p.first, first, { stride: 2, padding: 1 }).relu();
  return nn.convTranspose(p.second, second, { stride: 2, padding: 1 }).tanh();
}

function criticLoss(p: Critic, real: Tensor, made: Tensor, share: Tensor): Tensor {
  const between = real.mul(share).add(made.mul(vg.sub(1, share)));
  const slope = vg.grad((x: Tensor) => critic(p, x).sum())(between).norm({ axes: [1, 2, 3] });
  return critic(p, made).mean().sub(critic(p, real).mean()).add(slope.sub(1).square().mean().mul(10));
}

const [forCritic, forGenerator] = [nn.adam({ beta1: 0.5 }), nn.adam({ beta1: 0.5 })];
const step = vg.compile((c: Critic, g: Generator, states: readonly vg.Params[], real: Tensor, key: Tensor) => {
  const [noise, shares] = random.split(key);
  const z = random.normal(noise, { shape: [real.shape[0], 8] });
  const share = random.uniform(shares, { shape: [real.shape[0], 1, 1, 1] });
  const [loss, cGrads] = vg.valueAndGrad(criticLoss)(c, real, generator(g, z), share);
  const [nextC, stateC] = forCritic.update(cGrads, states[0], c, 1e-3);
  const gGrads = vg.grad((g: Generator) => critic(nextC, generator(g, z)).mean().neg())(g);
  const [nextG, stateG] = forGenerator.update(gGrads, states[1], g, 1e-3);
  return [loss, nextC, nextG, [stateC, stateG]] as const;
});

export async function run(steps: number): Promise<number[]> {
  const axis = vg.linspace(-1, 1, { num: 16 });
  let [c, g] = [
    nn.initialize(random.key(1), criticSpecification),
    nn.initialize(random.key(2), generatorSpecification),
  ];
  let states: readonly vg.Params[] = [forCritic.init(c), forGenerator.init(g)];
  let loss = vg.zeros([]);
  const losses: number[] = [];
  for (let k = 0; k < steps; k++) {
    const radius = random.uniform(random.key(k), { shape: [16, 1, 1, 1], min: 0.3, max: 0.8 });
    const real = axis.square().add(axis.square().expandDims({ axis: 1 })).sqrt().sub(radius).mul(-8).tanh();
    [loss, c, g, states] = await step(c, g, states, real, random.key(1000 + k));
    losses.push(await loss.item());
  }
  return losses;
}
