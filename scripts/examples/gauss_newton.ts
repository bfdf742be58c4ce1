// Gauss-Newton with damping (Levenberg and Marquardt), without matrices: the products J v of forward mode and J' u of
// reverse mode are all that conjugate gradients need. Fits a sum of Gaussians to noisy samples, where gradient descent
// takes thousands of steps. Copy conjugateGradients and the step; parameters may be any tree.
//   npx voxgrad run scripts/examples/gauss_newton.ts --steps 20 --peaks 3
import * as vg from "voxgrad";
import { random, type Tensor, tree } from "voxgrad";
import { config, entry, print } from "voxgrad/train";

const { steps, peaks, iterations } = config({
  steps: entry(20, "steps", { integer: true, min: 1 }),
  peaks: entry(3, "Gaussians", { integer: true, min: 1 }),
  iterations: entry(12, "conjugate gradients of each step", { integer: true, min: 1 }),
});

type Peaks = { height: Tensor; place: Tensor; width: Tensor };
const x = await vg.evaluate(vg.linspace(-1, 1, { num: 200 }));

/** The sum of Gaussians at x. */
function model({ height, place, width }: Peaks): Tensor {
  const column = (t: Tensor): Tensor => t.expandDims({ axis: 1 });
  return column(height).mul(x.sub(column(place)).div(column(width)).square().neg().exp()).sum({ axes: [0] });
}

/** The solution of A p = b for a symmetric positive A, given as a function of trees. */
function conjugateGradients<T>(product: (p: T) => T, b: T): T {
  const start = { p: tree.zerosLike(b), r: b, d: b };
  const body = (_: Tensor, { p, r, d }: typeof start): typeof start => {
    const along = product(d);
    const alpha = tree.dot(r, r).div(tree.dot(d, along).add(1e-20));
    const next = tree.sub(r, tree.scale(along, alpha));
    const beta = tree.dot(next, next).div(tree.dot(r, r).add(1e-20));
    return { p: tree.add(p, tree.scale(d, alpha)), r: next, d: tree.add(next, tree.scale(d, beta)) };
  };
  return vg.foriLoop(0, iterations, body, start).p;
}

const [first, second] = random.split(random.key(4));
const truth: Peaks = {
  height: vg.linspace(1, 0.5, { num: peaks }),
  place: vg.linspace(-0.6, 0.6, { num: peaks }),
  width: vg.full([peaks], 0.2),
};
const samples = await vg.evaluate(model(truth).add(random.normal(first, { shape: [200], std: 0.02 })));

const residuals = (p: Peaks): Tensor => model(p).sub(samples);
const lossOf = (p: Peaks): Tensor => residuals(p).square().mean();
const step = vg.compile((p: Peaks, damping: Tensor) => {
  const [r, pullBack] = vg.vjp(residuals, [p]);
  const [, push] = vg.linearize(residuals, [p]);
  const normal = (v: Peaks): Peaks => tree.add(pullBack(push(v))[0], tree.scale(v, damping));
  const next = tree.sub(p, conjugateGradients(normal, pullBack(r)[0]));
  // A step that does not help is not taken, and the next one is shorter.
  const better = lossOf(next).less(lossOf(p));
  return [tree.where(better, next, p), vg.where(better, damping.mul(0.3), damping.mul(4)), lossOf(p)] as const;
});

let p: Peaks = tree.map(truth, (t: Tensor) => t.add(random.normal(second, { shape: [peaks], std: 0.05 })));
let damping = vg.tensor(0.1);
for (let k = 0; k < steps; k++) {
  const [next, after, loss] = await step(p, damping);
  [p, damping] = [next, after];
  print(`step ${k}: loss ${(await loss.item()).toExponential(3)}`);
}
const error = tree.norm(tree.sub(p, truth));
print(`loss ${(await lossOf(p).item()).toExponential(3)}; parameters are off by ${(await error.item()).toFixed(4)}`);
await vg.closeDevice();
