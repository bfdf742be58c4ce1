/** Rotation, scaling, elastic deformation and mirrors, against float64 loops and permutations. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { random, tensor } from "../../../engine/mod.ts";
import { augment } from "../../../engine/imaging/mod.ts";
import { at, count, drawn, labels, made, places, same } from "../../helpers/augment_helpers.ts";
import { assertClose } from "../../helpers/compare.ts";
import { noise } from "../../helpers/noise.ts";

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
    scaling: { p: 0.7, factor: [0.7, 1.4] as const, synchronized: false },
  };
  const got = augment.spatial(key, { image }, options);
  const u = await drawn(random.split(key)[0], [12, samples]);
  const values = await image.data();
  const want = new Float64Array(samples * count(patch));
  for (const [n, ...out] of places([samples, ...patch])) {
    let q = out.map((i, k) => i - (patch[k] - 1) / 2);
    const turned = u[0][n] < 0.7;
    const scaled = u[1][n] < 0.7;
    for (
      const [k, [a, b]] of [
        [1, 2],
        [0, 2],
        [0, 1],
      ].entries()
    ) {
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

for (const [space, patch] of [[[12, 13], [7, 9]], [[8, 9, 10], [5, 6, 7]]] as const) {
  test(`spatial(): shear and translation in ${space.length} dimensions, as loops in float64`, async () => {
    const shape = [4, 1, ...space];
    const image = made(shape);
    const key = random.key(5);
    const got = augment.spatial(key, { image }, {
      patch,
      shear: { p: 0.7, degrees: [-30, 20] },
      translation: { p: 0.6, voxels: [-2.5, 2] },
    });
    const [shiftKey, shearKey] = random.split(random.split(key)[0]);
    const planes = space.length === 2 ? [[0, 1]] : [[1, 2], [0, 2], [0, 1]];
    const [move, slant] = [
      await drawn(shiftKey, [1 + space.length, 4]),
      await drawn(shearKey, [1 + planes.length, 4]),
    ];
    assert.ok(new Set([...move[0]].map((u) => u < 0.6)).size === 2, "some are moved, some are not");
    const values = await image.data();
    const want = new Float64Array(4 * count(patch));
    for (const [n, ...out] of places([4, ...patch]) as Iterable<[number, ...number[]]>) {
      const q = out.map((i, k) => i - (patch[k] - 1) / 2);
      for (const [k, [a, b]] of planes.entries()) {
        if (slant[0][n] < 0.7) q[a] += Math.tan(((slant[1 + k][n] * 50 - 30) * Math.PI) / 180) * q[b];
      }
      const place = q.map((v, k) => {
        const middle = Math.floor(space[k] / 2) - Math.floor(patch[k] / 2) + (patch[k] - 1) / 2;
        return v + middle + (move[0][n] < 0.6 ? move[1 + k][n] * 4.5 - 2.5 : 0);
      });
      const low = place.map(Math.floor);
      for (const corner of places(space.map(() => 2))) {
        const voxel = corner.map((c, k) => low[k] + c);
        if (voxel.some((v, a) => v < 0 || v >= space[a])) continue;
        const weight = voxel.reduce((w, v, a) => w * (1 - Math.abs(place[a] - v)), 1);
        want[at([4, ...patch], [n, ...out])] += weight * values[at(shape, [n, 0, ...voxel])];
      }
    }
    await assertClose(got.image, { shape: [4, 1, ...patch], data: want }, 2e-5, "slanted and moved");
  });
}

test("spatial(): what cannot be a shear or a translation is refused", () => {
  const image = made([1, 1, 6, 6]);
  const run = (options: object) => () => augment.spatial(random.key(1), { image }, { patch: [4, 4], ...options });
  assert.throws(run({ shear: { p: 1, degrees: [-90, 0] } }), /degrees are between -90 and 90/);
  assert.throws(run({ translation: { p: 2, voxels: [0, 1] } }), /p is in \[0, 1\]/);
  assert.throws(run({ translation: { p: 1, pixels: [0, 1] } }), /pixels/);
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

test.run();
