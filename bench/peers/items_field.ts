/**
 * Resampling and distances. jax-js and tfjs have neither resize nor gridSample in 3-D: theirs are composed by gathers.
 */
import type { Item, Peer } from "./item.ts";

/**
 * For each of `to` positions on an axis of `from` voxels: the voxel below, the voxel above, and the fraction in
 * between.
 */
function taps(from: number, to: number): { low: Int32Array; high: Int32Array; part: Float32Array } {
  const place = Array.from({ length: to }, (_, k) => Math.max(0, ((k + 0.5) * from) / to - 0.5));
  return {
    low: Int32Array.from(place, Math.floor),
    high: Int32Array.from(place, (p) => Math.min(Math.floor(p) + 1, from - 1)),
    part: Float32Array.from(place, (p) => p - Math.floor(p)),
  };
}

function resize(from: number, to: number): Item {
  const shapeAlong = (axis: number): number[] => [0, 1, 2, 3, 4].map((k) => (k === axis ? to : 1));
  const { low, high, part } = taps(from, to);
  return {
    name: `trilinear resize, 16 channels, ${from} to ${to} cubed`,
    inputs: [{ shape: [1, 16, from, from, from], layout: "volume" }],
    outputs: ["volume"],
    goal: { tfjs: 5 },
    ours: (vg) => (x) => vg.resize(x, { size: to, mode: "linear" }),
    jax: (jax) => (x) => {
      const { numpy: np } = jax;
      for (const axis of [2, 3, 4]) {
        const index = (list: Int32Array): Peer => np.array(list, { dtype: np.int32 });
        const below = np.take(x.ref, index(low), axis);
        const above = np.take(x, index(high), axis);
        const t = np.array(part, { dtype: np.float32 }).reshape(shapeAlong(axis));
        x = below.ref.add(above.sub(below).mul(t));
      }
      return x;
    },
    tfjs: (tf) => (x) => {
      for (const axis of [1, 2, 3]) {
        const below = tf.gather(x, tf.tensor1d(low, "int32"), axis);
        const above = tf.gather(x, tf.tensor1d(high, "int32"), axis);
        x = below.add(above.sub(below).mul(tf.tensor(part, shapeAlong(axis), "float32")));
      }
      return x;
    },
    torch: `lambda x: F.interpolate(x, size=(${to},) * 3, mode="trilinear")`,
  };
}

const SIDE = 32;
const CHANNELS = 8;
const POINTS = SIDE ** 3;
const corners = [0, 1, 2, 3, 4, 5, 6, 7].map((k) => [k & 1, (k >> 1) & 1, k >> 2]);

const gridSample: Item = {
  name: "gridSample, 8 channels, 32 cubed",
  inputs: [
    { shape: [1, CHANNELS, SIDE, SIDE, SIDE], layout: "volume" },
    { shape: [1, SIDE, SIDE, SIDE, 3], values: "grid" },
  ],
  outputs: ["volume"],
  goal: { tfjs: 5 },
  ours: (vg) => (x, grid) => vg.gridSample(x, grid),
  jax: (jax) => (x, grid) => {
    const { numpy: np } = jax;
    const flat = x.reshape([CHANNELS, POINTS]);
    // Positions in voxels, along x, y, z.
    const places = np.split(
      grid
        .add(1)
        .mul(SIDE / 2)
        .sub(0.5)
        .reshape([POINTS, 3])
        .transpose(),
      3,
      0,
    );
    const axes = places.map((p: Peer) => {
      const place = p.reshape([POINTS]);
      const low = np.floor(place.ref);
      const part = place.sub(low.ref);
      return [
        { at: low.ref, weight: np.subtract(1, part.ref) },
        { at: low.add(1), weight: part },
      ].map(({ at, weight }) => {
        const inside = np.logicalAnd(np.greaterEqual(at.ref, 0), np.lessEqual(at.ref, SIDE - 1));
        return { at: np.clip(at, 0, SIDE - 1).astype(np.int32), weight: np.where(inside, weight, 0) };
      });
    });
    const sum = corners
      .map((corner) => {
        const [a, b, c] = corner.map((k, axis) => axes[axis][k]);
        const index = c.at.ref.mul(SIDE).add(b.at.ref).mul(SIDE).add(a.at.ref);
        return np.take(flat.ref, index, 1).mul(c.weight.ref.mul(b.weight.ref).mul(a.weight.ref));
      })
      .reduce((p, q) => p.add(q));
    flat.dispose();
    for (const { at, weight } of axes.flat()) for (const v of [at, weight]) v.dispose();
    return sum.reshape([1, CHANNELS, SIDE, SIDE, SIDE]);
  },
  tfjs: (tf) => (x, grid) => {
    const flat = x.reshape([POINTS, CHANNELS]);
    const places = tf.split(
      grid
        .add(1)
        .mul(SIDE / 2)
        .sub(0.5)
        .reshape([POINTS, 3]),
      3,
      1,
    );
    const axes = places.map((place: Peer) => {
      const low = place.floor();
      const part = place.sub(low);
      return [
        { at: low, weight: tf.sub(1, part) },
        { at: low.add(1), weight: part },
      ].map(({ at, weight }) => {
        const inside = at.greaterEqual(0).logicalAnd(at.lessEqual(SIDE - 1));
        return { at: at.clipByValue(0, SIDE - 1), weight: tf.where(inside, weight, tf.zerosLike(weight)) };
      });
    });
    return corners
      .map((corner) => {
        const [a, b, c] = corner.map((k, axis) => axes[axis][k]);
        const index = c.at.mul(SIDE).add(b.at).mul(SIDE).add(a.at).reshape([POINTS]).toInt();
        return tf.gather(flat, index).mul(c.weight.mul(b.weight).mul(a.weight));
      })
      .reduce((p: Peer, q: Peer) => p.add(q))
      .reshape([1, SIDE, SIDE, SIDE, CHANNELS]);
  },
  torch: "lambda x, grid: F.grid_sample(x, grid, align_corners=False)",
};

const noTransform = { cannot: "no distance transform" };

const distances: Item = {
  name: "exact distance transform of 128 cubed",
  inputs: [{ shape: [128, 128, 128], values: "spheres", dtype: "bool" }],
  ours: (vg) => (mask) => vg.distanceTransform(mask),
  jax: noTransform,
  tfjs: noTransform,
  torch: "edt",
};

export const fields: readonly Item[] = [resize(32, 64), resize(64, 32), gridSample, distances];
