import { test } from "uvu";
import * as assert from "uvu/assert";
import { augment, compile, random, slice, tensor, VoxgradError } from "../engine/mod.ts";
import type { Tensor } from "../engine/mod.ts";
import { assertClose, noise } from "./helpers.ts";

const count = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
const made = (shape: readonly number[], seed = 1): Tensor => tensor(noise(count(shape), seed), { shape });
const labels = (shape: readonly number[], classes: number): Tensor =>
  tensor(
    Int32Array.from(noise(count(shape), 7), (v) => Math.floor(((v + 1) / 2) * classes)),
    { shape },
  );
/** The uniform numbers that a transform draws. */
const drawn = async (key: Tensor, shape: number[]): Promise<number[][]> => {
  const [n, ...rest] = shape;
  const all = [...(await random.uniform(key, { shape }).data())];
  return Array.from({ length: n }, (_, k) => all.slice(k * count(rest), (k + 1) * count(rest)));
};
/** Every index of a shape. */
function* places(shape: readonly number[]): Generator<number[]> {
  for (let i = 0; i < count(shape); i++) {
    let rest = i;
    yield shape.reduceRight<number[]>((place, n) => {
      place.unshift(rest % n);
      rest = Math.floor(rest / n);
      return place;
    }, []);
  }
}
const at = (shape: readonly number[], place: readonly number[]): number =>
  place.reduce((sum, i, k) => sum * shape[k] + i, 0);
const replaced = (place: readonly number[], axis: number, value: number): number[] =>
  place.map((v, k) => (k === axis ? value : v));
const same = async (a: Tensor, b: Tensor, what: string): Promise<void> => {
  assert.equal([...a.shape], [...b.shape], what);
  assert.equal([...(await a.data())], [...(await b.data())], what);
};
const message = (f: () => unknown): string => {
  try {
    f();
  } catch (error) {
    assert.instance(error, VoxgradError);
    return (error as Error).message;
  }
  return "";
};

test("initialPatch() gives nnU-Net's sizes", () => {
  assert.equal(augment.initialPatch([128, 128, 128]), [205, 205, 205]);
  // Each from rotate_coords_3d of nnU-Net with NumPy, with 30, 180 (in plane and square) and 15 degrees.
  assert.equal(augment.initialPatch([40, 56, 40]), [73, 80, 64]);
  assert.equal(augment.initialPatch([20, 256, 224]), [20, 301, 301]);
  assert.equal(augment.initialPatch([256, 256]), [301, 301]);
  assert.equal(augment.initialPatch([320, 160]), [412, 188]);
  assert.equal(augment.initialPatch([8, 9, 10], { rotation: false, scaling: false }), [8, 9, 10]);
});

test("defaults() are nnU-Net's, and take changes entry by entry", () => {
  const flat = augment.defaults({ patch: [16, 64, 64] });
  assert.ok(flat.inPlane);
  assert.equal(flat.rotation, { p: 0.2, degrees: [-180, 180] });
  const o = augment.defaults({ patch: [32, 64, 64], gamma: { p: 0.5 }, blur: false, elastic: {} });
  assert.not.ok(o.inPlane);
  assert.equal(o.gamma, { p: 0.5, gamma: [0.7, 1.5] });
  assert.equal([o.blur, o.elastic], [false, { p: 0.2, magnitude: [0, 0.2], points: 5 }]);
  assert.match(
    message(() => augment.defaults({ patch: [8, 8, 8], gama: {} } as never)),
    /unknown option "gama"; it takes patch/,
  );
  assert.match(
    message(() => augment.defaults({ patch: [8] })),
    /patch is \[d, h, w\] or \[h, w\]/,
  );
});

test("what is not drawn leaves the crop of the input, bit for bit", async () => {
  const [image, label] = [made([2, 3, 9, 8, 7]), labels([2, 9, 8, 7], 4)];
  const p = 1e-9;
  const rare = { rotation: { p }, scaling: { p }, elastic: { p }, noise: { p }, blur: { p }, brightness: { p } };
  const more = { contrast: { p }, lowResolution: { p }, invertedGamma: { p }, gamma: { p }, mirror: { p } };
  const out = augment.nnunet(random.key(3), { image, label }, { patch: [5, 8, 4], ...rare, ...more });
  const [start, end] = [
    [2, 0, 1],
    [7, 8, 5],
  ];
  await same(out.image, slice(image, { start: [0, 0, ...start], end: [2, 3, ...end] }), "image");
  await same(out.label, slice(label, { start: [0, ...start], end: [2, ...end] }), "label");
});

test("spatial(): a quarter turn in plane is a permutation, of image and label", async () => {
  const shape = [2, 2, 3, 6, 6];
  const [image, label] = [made(shape), labels([2, 3, 6, 6], 5)];
  const rotation = { p: 1, degrees: [90, 90] as const };
  const out = augment.spatial(random.key(1), { image, label }, { patch: [3, 6, 6], inPlane: true, rotation });
  const [before, after] = [await image.data(), await out.image.data()];
  for (const [n, c, z, y, x] of places(shape)) {
    const from = before[at(shape, [n, c, z, 5 - x, y])];
    assert.ok(Math.abs(after[at(shape, [n, c, z, y, x])] - from) < 2e-5, `${[n, c, z, y, x]}`);
  }
  const [old, turned] = [await label.data(), await out.label.data()];
  for (const [n, z, y, x] of places([2, 3, 6, 6])) {
    assert.is(turned[at([2, 3, 6, 6], [n, z, y, x])], old[at([2, 3, 6, 6], [n, z, 5 - x, y])]);
  }
});

test("spatial(): rotation and scaling about three axes, as loops in float64", async () => {
  const [samples, space, patch] = [3, [9, 11, 10], [6, 8, 7]];
  const shape = [samples, 1, ...space];
  const image = made(shape);
  const key = random.key(11);
  const options = {
    patch,
    rotation: { p: 0.7, degrees: [-40, 40] as const },
    scaling: { p: 0.7, factor: [0.7, 1.4] as const, synchronised: false },
  };
  const got = augment.spatial(key, { image }, options);
  const u = await drawn(random.split(key)[0], [12, samples]);
  const values = await image.data();
  const want = new Float64Array(samples * count(patch));
  for (const [n, ...out] of places([samples, ...patch])) {
    let q = out.map((i, k) => i - (patch[k] - 1) / 2);
    const turned = u[0][n] < 0.7;
    const scaled = u[1][n] < 0.7;
    for (const [k, [a, b]] of [
      [1, 2],
      [0, 2],
      [0, 1],
    ].entries()) {
      const angle = turned ? ((u[3 + k][n] * 80 - 40) * Math.PI) / 180 : 0;
      const [c, s] = [Math.cos(angle), Math.sin(angle)];
      const next = [...q];
      next[a] = c * q[a] - s * q[b];
      next[b] = s * q[a] + c * q[b];
      q = next;
    }
    // The crop starts at floor(space / 2) - floor(patch / 2).
    const place = q.map((v, k) => {
      const middle = Math.floor(space[k] / 2) - Math.floor(patch[k] / 2) + (patch[k] - 1) / 2;
      return v * (scaled ? 0.7 + 0.7 * u[6 + k][n] : 1) + middle;
    });
    const low = place.map(Math.floor);
    for (const [i, j, k] of places([2, 2, 2])) {
      const voxel = [low[0] + i, low[1] + j, low[2] + k];
      if (voxel.some((v, a) => v < 0 || v >= space[a])) continue;
      const weight = voxel.reduce((w, v, a) => w * (1 - Math.abs(place[a] - v)), 1);
      want[at([samples, ...patch], [n, ...out])] += weight * values[at(shape, [n, 0, ...voxel])];
    }
  }
  // Places are good to some 1e-6 of the patch.
  await assertClose(got.image, { shape: [samples, 1, ...patch], data: want }, 2e-5, "rotated and scaled");
});

test("spatial(): labels move as an image of the labels does; further entries as they are told", async () => {
  const label = labels([2, 10, 9, 8], 3);
  const [ones, distance] = [
    tensor(new Float32Array(2 * 720).fill(1), { shape: [2, 1, 10, 9, 8] }),
    made([2, 10, 9, 8], 5),
  ];
  const image = tensor(Float32Array.from(await label.data()), { shape: [2, 1, 10, 9, 8] });
  const out = augment.spatial(
    random.key(5),
    { image, label, q: ones, distance },
    {
      patch: [8, 8, 6],
      rotation: { p: 1, degrees: [-45, 45] },
      scaling: { p: 1, factor: [1.2, 1.6] },
      elastic: { p: 1, magnitude: [0.1, 0.2], points: 4 },
      entries: {
        image: { mode: "nearest", border: 2 },
        label: { mode: "nearest", border: 2 },
        distance: { mode: "nearest", border: "max" },
      },
    },
  );
  const values = await out.label.data();
  assert.equal([...(await out.image.data())], [...values]);
  assert.ok(new Set(values).size === 3);
  // Ones and linear interpolation tell which voxels came from outside: there the border stands.
  const inside = await out.q.data();
  const moved = await out.distance.data();
  const greatest = [0, 1].map((n) => Math.max(...noise(1440, 5).slice(n * 720, (n + 1) * 720)));
  let [outside, within] = [0, 0];
  inside.forEach((v, i) => {
    if (v === 0) {
      outside++;
      assert.is(values[i], 2);
      assert.ok(Math.abs(moved[i] - greatest[Math.floor(i / 384)]) < 1e-6);
    } else if (v > 0.9999) within++;
  });
  assert.ok(outside > 10 && within > 300, `${outside} outside, ${within} within`);
});

test("spatial(): elastic deformation moves by its magnitude at most, smoothly", async () => {
  const shape = [4, 1, 24, 20, 22];
  const ramp = Float32Array.from({ length: count(shape) }, (_, i) => i % 22);
  const run = (magnitude: readonly [number, number]) =>
    augment.spatial(
      random.key(2),
      { image: tensor(ramp, { shape }) },
      {
        patch: [12, 10, 12],
        elastic: { p: 1, magnitude, points: 5 },
      },
    );
  const values = await run([0.25, 0.25]).image.data();
  for (let n = 0; n < 4; n++) {
    let most = 0;
    for (let i = 0; i < 1440; i++) {
      const shift = values[n * 1440 + i] - ((i % 12) + 5);
      most = Math.max(most, Math.abs(shift));
      if (i % 12 > 0) assert.ok(Math.abs(values[n * 1440 + i] - values[n * 1440 + i - 1] - 1) < 1.2, "no jumps");
    }
    // A quarter of half the 12 voxels.
    assert.ok(Math.abs(most - 1.5) < 1e-4, `${most}`);
  }
  await assertClose(
    run([0, 0]).image,
    { shape: [4, 1, 12, 10, 12], data: ramp.slice(0, 5760).map((_, i) => (i % 12) + 5) },
    1e-5,
    "0",
  );
});

test("mirror(): whole samples, image and label alike, and back by the same key", async () => {
  const shape = [8, 2, 3, 4, 5];
  const [image, label] = [made(shape), labels([8, 3, 4, 5], 9)];
  const options = { p: 0.5, axes: [0, 2] };
  const out = augment.mirror(random.key(4), { image, label }, options);
  const u = await drawn(random.key(4), [3, 8, 1]);
  const [before, after] = [await image.data(), await out.image.data()];
  const [old, now] = [await label.data(), await out.label.data()];
  for (const [n, c, z, y, x] of places(shape)) {
    const from = [n, c, u[0][n] < 0.5 ? 2 - z : z, y, u[2][n] < 0.5 ? 4 - x : x];
    assert.is(after[at(shape, [n, c, z, y, x])], before[at(shape, from)]);
    if (c === 0) assert.is(now[at([8, 3, 4, 5], [n, z, y, x])], old[at([8, 3, 4, 5], [n, ...from.slice(2)])]);
  }
  assert.not.equal([...before], [...after]);
  const twice = augment.mirror(random.key(4), out, options);
  await same(twice.image, image, "image");
  await same(twice.label, label, "label");
});

test("noise() has the deviation drawn, the same in all channels, and only where drawn", async () => {
  const shape = [6, 2, 20, 20, 20];
  const image = made(shape);
  const key = random.key(8);
  const out = augment.noise(key, { image }, { p: 0.5, deviation: [0.1, 0.4] });
  const u = await drawn(random.split(key)[0], [2, 6]);
  const [before, after] = [await image.data(), await out.image.data()];
  for (let n = 0; n < 6; n++) {
    const added = Array.from({ length: 16000 }, (_, i) => after[n * 16000 + i] - before[n * 16000 + i]);
    if (u[0][n] >= 0.5) {
      assert.ok(added.every((v) => v === 0));
      continue;
    }
    const mean = added.reduce((a, b) => a + b) / 16000;
    const deviation = Math.sqrt(added.reduce((a, b) => a + b * b, 0) / 16000);
    const wanted = 0.1 + 0.3 * u[1][n];
    // 8,000 independent numbers: five deviations of their mean and of their deviation.
    assert.ok(Math.abs(mean) < (5 * wanted) / Math.sqrt(8000), `mean ${mean}`);
    assert.ok(Math.abs(deviation / wanted - 1) < 5 / Math.sqrt(16000), `deviation ${deviation}, wanted ${wanted}`);
    for (let i = 0; i < 8000; i++) assert.ok(Math.abs(added[i] - added[i + 8000]) < 1e-6);
  }
});

test("blur() is a Gaussian convolution with reflected borders", async () => {
  const shape = [3, 2, 5, 7, 6];
  const image = made(shape);
  const key = random.key(23);
  const got = augment.blur(key, { image }, { p: 0.6, perChannel: 0.7, sigma: [0.5, 1.2] });
  const u = await drawn(key, [5, 3, 2]);
  let values = Float64Array.from(await image.data());
  const blurred = (n: number, c: number): boolean => u[0][n * 2] < 0.6 && u[1][n * 2 + c] < 0.7;
  for (let axis = 0; axis < 3; axis++) {
    const size = shape[axis + 2];
    const next = values.slice();
    for (const place of places(shape)) {
      const [n, c] = place;
      if (!blurred(n, c)) continue;
      const sigma = 0.5 + 0.7 * u[2 + axis][n * 2 + c];
      let [sum, weights] = [0, 0];
      for (let d = -4; d <= 4; d++) {
        let v = place[axis + 2] + d;
        while (v < 0 || v >= size) v = v < 0 ? -v : 2 * (size - 1) - v;
        const weight = Math.exp((-d * d) / (2 * sigma * sigma));
        sum += weight * values[at(shape, replaced(place, axis + 2, v))];
        weights += weight;
      }
      next[at(shape, place)] = sum / weights;
    }
    values = next;
  }
  assert.ok(
    [0, 1, 2].some((n) => blurred(n, 0) !== blurred(n, 1)),
    "channels differ",
  );
  await assertClose(got.image, { shape, data: values }, 1e-6, "blur");
});

/** Weights of a coarse line of `count` voxels at `place`. */
function interpolation(place: number, count: number, mode: "linear" | "cubic"): [number, number][] {
  const inside = (v: number): number => Math.min(count - 1, Math.max(0, v));
  if (mode === "linear") {
    const p = Math.max(0, place);
    return [0, 1].map((k) => [inside(Math.floor(p) + k), k === 1 ? p - Math.floor(p) : 1 - (p - Math.floor(p))]);
  }
  const kernel = (d: number): number =>
    d <= 1 ? 1.25 * d ** 3 - 2.25 * d ** 2 + 1 : -0.75 * (d ** 3 - 5 * d ** 2 + 8 * d - 4);
  return [-1, 0, 1, 2].map((k) => {
    const v = Math.floor(place) + k;
    return [inside(v), kernel(Math.abs(place - v))];
  });
}

for (const mode of ["linear", "cubic"] as const) {
  for (const inPlane of [false, true]) {
    test(`lowResolution() takes nearest voxels and interpolates them: ${mode}${inPlane ? ", in plane" : ""}`, async () => {
      const shape = [3, 2, 5, 8, 7];
      const image = made(shape);
      const key = random.key(33);
      const got = augment.lowResolution(key, { image }, { p: 0.8, perChannel: 0.6, scale: [0.4, 0.9], mode, inPlane });
      const u = await drawn(key, [3, 3, 2]);
      let values = Float64Array.from(await image.data());
      for (let axis = inPlane ? 1 : 0; axis < 3; axis++) {
        const n = shape[axis + 2];
        const next = values.slice();
        for (const place of places(shape)) {
          const channel = place[0] * 2 + place[1];
          if (!(u[0][place[0] * 2] < 0.8 && u[1][channel] < 0.6)) continue;
          const size = Math.round(n * (0.4 + 0.5 * u[2][channel]));
          const taps = interpolation(((place[axis + 2] + 0.5) * size) / n - 0.5, size, mode);
          next[at(shape, place)] = taps.reduce((sum, [v, weight]) => {
            const nearest = Math.floor(((v + 0.5) * n) / size);
            return sum + weight * values[at(shape, replaced(place, axis + 2, nearest))];
          }, 0);
        }
        values = next;
      }
      await assertClose(got.image, { shape, data: values }, 3e-6, mode);
      assert.not.equal([...values], [...(await image.data())]);
    });
  }
}

test("brightness(), contrast() and gamma() as loops in float64", async () => {
  const shape = [5, 2, 4, 5, 6];
  const image = made(shape, 3);
  const values = await image.data();
  const key = random.key(17);
  const u = await drawn(key, [3, 5, 2]);
  const factor = (channel: number, [low, high]: readonly number[]): number =>
    u[1][channel] < 0.5 ? low + (1 - low) * u[2][channel] : 1 + (high - 1) * u[2][channel];
  const each = (p: number, f: (x: number[], channel: number) => number[]): number[] =>
    Array.from({ length: 10 }, (_, channel) => {
      const x = [...values.slice(channel * 120, (channel + 1) * 120)];
      return u[0][channel - (channel % 2)] < p ? f(x, channel) : x;
    }).flat();
  const mean = (x: number[]): number => x.reduce((a, b) => a + b) / x.length;
  const deviation = (x: number[]): number => Math.sqrt(mean(x.map((v) => (v - mean(x)) ** 2)));
  const range = [0.75, 1.25] as const;
  const bright = each(0.5, (x, c) => x.map((v) => v * factor(c, range)));
  await assertClose(
    augment.brightness(key, { image }, { p: 0.5, factor: range }).image,
    { shape, data: bright },
    1e-6,
    "brightness",
  );
  const contrasted = each(0.5, (x, c) => {
    const m = mean(x);
    return x.map((v) => Math.min(Math.max(...x), Math.max(Math.min(...x), (v - m) * factor(c, range) + m)));
  });
  await assertClose(
    augment.contrast(key, { image }, { p: 0.5, factor: range }).image,
    { shape, data: contrasted },
    1e-6,
    "contrast",
  );
  for (const invert of [false, true]) {
    const raised = each(0.5, (x, c) => {
      const sign = invert ? -1 : 1;
      const y = x.map((v) => sign * v);
      const [low, high] = [Math.min(...y), Math.max(...y)];
      const z = y.map((v) => ((v - low) / (high - low)) ** factor(c, [0.7, 1.5]) * (high - low) + low);
      return z.map((v) => sign * (((v - mean(z)) / deviation(z)) * deviation(y) + mean(y)));
    });
    const got = augment.gamma(key, { image }, { p: 0.5, gamma: [0.7, 1.5], invert }).image;
    await assertClose(got, { shape, data: raised }, 3e-6, `gamma, invert ${invert}`);
  }
});

test("a constant channel stays as it is, and nothing is NaN, in images of any scale", async () => {
  const shape = [2, 2, 4, 4, 4];
  for (const scale of [0, 1e-6, 0.1, 3000]) {
    const data = Float32Array.from({ length: 256 }, (_, i) => (i < 64 || i >= 192 ? scale : scale * Math.sin(i)));
    const image = tensor(data, { shape });
    for (const invert of [false, true]) {
      const raised = await augment.gamma(random.key(1), { image }, { p: 1, gamma: [0.7, 1.5], invert }).image.data();
      assert.ok(raised.every(Number.isFinite));
      assert.ok(raised.every((v, i) => (i >= 64 && i < 192) || v === data[i]));
    }
    const out = await augment.contrast(random.key(1), { image }, { p: 1, factor: [0.75, 1.25] }).image.data();
    assert.ok(out.every((v, i) => Number.isFinite(v) && ((i >= 64 && i < 192) || v === data[i])));
  }
});

test("every transform happens as often as its p says", async () => {
  const samples = 2000;
  const image = made([samples, 1, 3, 4, 4]);
  const before = await image.data();
  const run: [string, number, (key: Tensor) => { image: Tensor }][] = [
    [
      "rotation",
      0.2,
      (k) => augment.spatial(k, { image }, { patch: [3, 4, 4], rotation: { p: 0.2, degrees: [20, 30] } }),
    ],
    [
      "scaling",
      0.3,
      (k) => augment.spatial(k, { image }, { patch: [3, 4, 4], scaling: { p: 0.3, factor: [0.7, 0.9] } }),
    ],
    ["noise", 0.1, (k) => augment.noise(k, { image }, { p: 0.1, deviation: [0.1, 0.2] })],
    ["blur", 0.1, (k) => augment.blur(k, { image }, { p: 0.2, perChannel: 0.5, sigma: [0.5, 1] })],
    ["brightness", 0.15, (k) => augment.brightness(k, { image }, { p: 0.15, factor: [0.75, 1.25] })],
    ["contrast", 0.15, (k) => augment.contrast(k, { image }, { p: 0.15, factor: [0.75, 1.25] })],
    [
      "low",
      0.125,
      (k) => augment.lowResolution(k, { image }, { p: 0.25, perChannel: 0.5, scale: [0.3, 0.6], mode: "linear" }),
    ],
    ["gamma", 0.3, (k) => augment.gamma(k, { image }, { p: 0.3, gamma: [0.7, 1.5] })],
    ["mirror", 0.75, (k) => augment.mirror(k, { image }, { p: 0.5, axes: [0, 2] })],
  ];
  for (const [name, p, f] of run) {
    const after = await f(random.key(77)).image.data();
    let changed = 0;
    for (let n = 0; n < samples; n++) {
      for (let i = n * 48; i < (n + 1) * 48; i++) {
        if (after[i] === before[i]) continue;
        changed++;
        break;
      }
    }
    // Four deviations of a binomial frequency.
    assert.ok(
      Math.abs(changed / samples - p) < 4 * Math.sqrt((p * (1 - p)) / samples),
      `${name}: ${changed / samples}`,
    );
  }
});

test("nnunet() is one program whose key alone varies; the same key gives the same bits", async () => {
  const image = made([2, 3, 6, 28, 26]);
  const label = labels([2, 6, 28, 26], 3);
  const options = { patch: [6, 20, 20], elastic: {} };
  assert.ok(augment.defaults(options).inPlane);
  const apply = compile((key: Tensor, image: Tensor, label: Tensor) => augment.nnunet(key, { image, label }, options));
  const results: { image: string; label: string }[] = [];
  for (const seed of [1, 2, 1, 3]) {
    const out = await apply(random.key(seed), image, label);
    assert.equal(
      [[...out.image.shape], [...out.label!.shape]],
      [
        [2, 3, 6, 20, 20],
        [2, 6, 20, 20],
      ],
    );
    const values = await out.image.data();
    assert.ok(values.every(Number.isFinite));
    const marks = await out.label!.data();
    assert.ok(marks.every((v) => v === 0 || v === 1 || v === 2));
    results.push({ image: values.join(), label: marks.join() });
  }
  assert.is(apply.programs().length, 1);
  assert.equal(results[0], results[2]);
  assert.is(new Set(results.map((r) => r.image)).size, 3);
});

test("nnunet() takes images of two dimensions, and one channel of several samples", async () => {
  const flat = augment.nnunet(
    random.key(1),
    { image: made([2, 1, 20, 18]), label: labels([2, 20, 18], 2) },
    { patch: [16, 16] },
  );
  assert.equal(
    [[...flat.image.shape], [...flat.label.shape]],
    [
      [2, 1, 16, 16],
      [2, 16, 16],
    ],
  );
  assert.ok((await flat.image.data()).every(Number.isFinite));
});

test("transforms refuse what they cannot do", () => {
  const image = made([1, 1, 4, 4, 4]);
  const key = random.key(1);
  const cases: [() => unknown, RegExp][] = [
    [
      () => augment.spatial(key, { image }, { patch: [5, 4, 4] }),
      /augment\.spatial: patch has 3 sizes, at most those of the image \[4, 4, 4\]; got \[5, 4, 4\]/,
    ],
    [
      () => augment.spatial(key, { image }, { patch: [4, 4, 4], rotation: { p: 1, angle: 3 } as never }),
      /augment\.spatial: rotation: unknown option "angle"; it takes p, degrees/,
    ],
    [() => augment.noise(key, { image }, { p: 2, deviation: [0, 1] }), /augment\.noise: p is in \[0, 1\], got 2/],
    [() => augment.blur(key, { image }, { p: 1, perChannel: 1, sigma: [0, 1] }), /augment\.blur: sigma is above 0/],
    [
      () => augment.gamma(key, { image }, { p: 1, gamma: [2, 1] }),
      /augment\.gamma: gamma is \[lowest, highest\], got \[2, 1\]/,
    ],
    [() => augment.mirror(key, { image }, { p: 1, axes: [3] }), /augment\.mirror: axes are among 0 to 2, got \[3\]/],
    [
      () => augment.contrast(key, { image, label: labels([1, 4, 4, 3], 2) }, { p: 1, factor: [1, 1] }),
      /label covers the voxels of the image/,
    ],
    [
      () => augment.spatial(key, { image }, { patch: [4, 4, 4], entries: { q: { mode: "linear" } } }),
      /entries: the batch has no q/,
    ],
    [
      () => augment.brightness(key, { image: labels([1, 1, 4, 4, 4], 2) }, { p: 1, factor: [1, 1] }),
      /the image is a non-empty f32 tensor/,
    ],
  ];
  for (const [f, wanted] of cases) assert.match(message(f), wanted);
});

test.run();
