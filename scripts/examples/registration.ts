// Deformable registration of two volumes, with a diffeomorphism: a stationary velocity field is integrated by scaling
// and squaring (Arsigny et al. 2006, as in VoxelMorph), and optimized on local normalized cross-correlation and
// smoothness. Copy warp, integrate, similarity and jacobian; put your volumes in the place of the synthetic ones.
//   npx voxgrad run scripts/examples/registration.ts --steps 100 --size 24
import * as vg from "voxgrad";
import { evaluate, random, type Tensor } from "voxgrad";
import { adam } from "voxgrad/nn";
import { config, counted, entry, print } from "voxgrad/train";

const { steps, size, rate, smooth } = config({
  steps: entry(60, "steps", { integer: true, min: 1 }),
  size: entry(24, "voxels of an axis", { integer: true, min: 8 }),
  rate: entry(0.01, "learning rate", { min: 0 }),
  smooth: entry(0.5, "weight of the smoothness of the velocity", { min: 0 }),
});

// Fields are [1, 3, D, H, W] in the coordinates of gridSample: -1 to 1 along each axis, x first.
const theta = vg.eye(3, { columns: 4 }).expandDims({ axis: 0 });
const identity = await evaluate(vg.affineGrid(theta, { size: [1, 1, size, size, size] }));

/** x, looked up at each voxel's place moved by a displacement. */
function warp(x: Tensor, displacement: Tensor, mode: "linear" | "nearest" = "linear"): Tensor {
  const grid = identity.add(displacement.moveAxis({ source: 1, destination: -1 }));
  return vg.gridSample(x, grid, { padding: "border", mode });
}

/** The displacement after moving along a velocity for unit time: 2^7 small moves. */
const integrate = (velocity: Tensor): Tensor => vg.foriLoop(0, 7, (_, u) => u.add(warp(u, u)), velocity.mul(2 ** -7));

/** The mean squared local correlation in windows of 5 voxels, from 0 to 1. */
function similarity(a: Tensor, b: Tensor): Tensor {
  const mean = (x: Tensor): Tensor => vg.avgPool3d(x, { kernel: 5, stride: 1, padding: 2 });
  const covariance = (x: Tensor, y: Tensor): Tensor => mean(x.mul(y)).sub(mean(x).mul(mean(y)));
  return covariance(a, b).square().div(covariance(a, a).mul(covariance(b, b)).add(1e-5)).mean();
}

/** The differences of a field between neighbors along an axis, without its last plane on the others. */
function slope(field: Tensor, axis: number): Tensor {
  const inner = [2, 3, 4].reduce((x, k) => (k === axis ? x : x.narrow({ axis: k, start: 0, length: size - 1 })), field);
  const shifted = (start: number): Tensor => inner.narrow({ axis, start, length: size - 1 });
  return shifted(1).sub(shifted(0)).mul(size / 2);
}

/** Determinants of the map's Jacobian: below 0 where it folds. */
function jacobian(displacement: Tensor): Tensor {
  const map = identity.moveAxis({ source: -1, destination: 1 }).add(displacement);
  const rows = [4, 3, 2].map((axis) => slope(map, axis).moveAxis({ source: 1, destination: -1 }));
  return vg.det(vg.stack(rows, { axis: -1 }));
}

// A smooth volume, and the same deformed by a smooth field; labels are where it is bright.
const [first, second] = random.split(random.key(1));
const noise = (key: Tensor, channels: number, points: number, deviation: number): Tensor =>
  vg.resize(random.normal(key, { shape: [1, channels, points, points, points], std: deviation }), {
    size: [size, size, size],
    mode: "linear",
  });
const moving = noise(first, 1, 8, 1);
const fixed = warp(moving, integrate(noise(second, 3, 4, 0.15)));
const labelsOf = (x: Tensor): Tensor => x.greater(0.3).cast("f32");
const [given, wanted] = await evaluate([moving, fixed]);

const loss = (velocity: Tensor): Tensor => {
  const roughness = [2, 3, 4].map((axis) => slope(velocity, axis).square().mean()).reduce((a, b) => a.add(b));
  return vg.sub(1, similarity(warp(given, integrate(velocity)), wanted)).add(roughness.mul(smooth));
};
const optimizer = adam();
const step = vg.compile((velocity: Tensor, state: vg.Params) => {
  const [value, gradient] = vg.valueAndGrad(loss)(velocity);
  return [value, ...optimizer.update(gradient, state, velocity, rate)] as const;
}, { donate: [0, 1] });

let velocity = vg.zeros([1, 3, size, size, size]);
let state: vg.Params = optimizer.init(velocity);
let value: Tensor | null = null;
for (const _ of counted(Array.from({ length: steps }), "step")) {
  [value, velocity, state] = await step(velocity, state);
}
const displacement = integrate(velocity);
const dice = (a: Tensor, b: Tensor): Tensor => a.mul(b).sum().mul(2).div(a.sum().add(b.sum()));
const [before, after, folded] = await Promise.all([
  dice(labelsOf(given), labelsOf(wanted)).item(),
  dice(warp(labelsOf(given), displacement, "nearest"), labelsOf(wanted)).item(),
  jacobian(displacement).lessEqual(0).cast("f32").mean().item(),
]);
print(`loss ${(await value!.item()).toFixed(4)}, Dice ${before.toFixed(3)} before, ${after.toFixed(3)} after`);
print(`${(100 * folded).toFixed(2)} % of the voxels are folded`);
await vg.closeDevice();
