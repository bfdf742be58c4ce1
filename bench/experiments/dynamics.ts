/** A neural ODE by Runge-Kutta steps, a GRU, a variational autoencoder, and an equilibrium with its implicit gradient. */
import * as vg from "voxgrad";
import { random, type Tensor } from "voxgrad";
import * as nn from "voxgrad/nn";

const [inputs, width] = [3, 8];
const specification = {
  ode: [nn.linearParameters(width, 16), nn.linearParameters(16, width)],
  gru: { input: nn.linearParameters(inputs, 3 * width), state: nn.linearParameters(width, 3 * width) },
  encoder: nn.linearParameters(width, 2 * 4),
  decoder: nn.linearParameters(4, width),
  equilibrium: { state: nn.linearParameters(width, width), input: nn.linearParameters(width, width) },
};
type Network = ReturnType<typeof nn.initialize<typeof specification>>;

function ode(p: Network["ode"], x: Tensor, steps: number): Tensor {
  const f = (x: Tensor): Tensor => nn.linear(p[1], nn.linear(p[0], x).tanh());
  const h = 1 / steps;
  return vg.foriLoop(0, steps, (_, x) => {
    const k1 = f(x), k2 = f(x.add(k1.mul(h / 2))), k3 = f(x.add(k2.mul(h / 2))), k4 = f(x.add(k3.mul(h)));
    return x.add(k1.add(k2.mul(2)).add(k3.mul(2)).add(k4).mul(h / 6));
  }, x);
}

/** The last state after xs [time, N, inputs]. */
function gru(p: Network["gru"], xs: Tensor): Tensor {
  const cell = (h: Tensor, x: Tensor): [Tensor, null] => {
    const [xr, xz, xn] = nn.linear(p.input, x).chunk({ parts: 3, axis: -1 });
    const [hr, hz, hn] = nn.linear(p.state, h).chunk({ parts: 3, axis: -1 });
    const z = xz.add(hz).sigmoid();
    const candidate = xn.add(xr.add(hr).sigmoid().mul(hn)).tanh();
    return [candidate.lerp(h, z), null];
  };
  return vg.scan(cell, vg.zeros([xs.shape[1], width]), xs)[0];
}

/** The negative evidence lower bound. */
function vae(p: Network, x: Tensor, key: Tensor): Tensor {
  const [mean, logVariance] = nn.linear(p.encoder, x).chunk({ parts: 2, axis: -1 });
  const z = mean.add(logVariance.mul(0.5).exp().mul(random.normal(key, { shape: mean.shape })));
  const divergence = mean.square().add(logVariance.exp()).sub(logVariance).sub(1).sum({ axes: [1] }).mul(0.5);
  return nn.linear(p.decoder, z).sub(x).square().sum({ axes: [1] }).add(divergence).mean();
}

/** z = tanh(W z + U x) (Bai et al. 2019); its gradient solves g = g J + v, so nothing of the way there is kept. */
const cellOf = (p: Network["equilibrium"], z: Tensor, x: Tensor): Tensor =>
  nn.linear(p.state, z).mul(0.5).add(nn.linear(p.input, x)).tanh();
const solved = (p: Network["equilibrium"], x: Tensor): Tensor =>
  vg.foriLoop(0, 40, (_, z) => cellOf(p, z, x), vg.zerosLike(x));
const equilibrium = vg.customVjp(solved, (p, x) => {
  const z = solved(p, x);
  return [z, { p, x, z }];
}, ({ p, x, z }, v) => {
  const [, pullBack] = vg.vjp(cellOf, [p, z, x]);
  const g = vg.foriLoop(0, 40, (_, g) => pullBack(g)[1].add(v), v);
  const [byP, , byX] = pullBack(g);
  return [byP, byX];
});

const optimizer = nn.adam();
const step = vg.compile((p: Network, state: vg.Params, xs: Tensor, key: Tensor) => {
  const lossOf = (p: Network): Tensor => {
    const h = equilibrium(p.equilibrium, ode(p.ode, gru(p.gru, xs), 8));
    return h.sub(xs.select({ axis: 0, index: 0 }).mean({ axes: [1], keepDims: true })).square().mean().add(
      vae(p, h, key).mul(0.1),
    );
  };
  const [loss, grads] = vg.valueAndGrad(lossOf)(p);
  return [loss, ...optimizer.update(grads, state, p, 1e-2)] as const;
});

export async function run(steps: number): Promise<number[]> {
  const xs = random.normal(random.key(1), { shape: [12, 16, inputs] });
  let p = nn.initialize(random.key(2), specification);
  let [state, loss] = [optimizer.init(p), vg.zeros([])];
  const losses: number[] = [];
  for (let k = 0; k < steps; k++) {
    [loss, p, state] = await step(p, state, xs, random.key(k));
    losses.push(await loss.item());
  }
  return losses;
}
