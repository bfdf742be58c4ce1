/** Augmentation as a whole: sizes, defaults, how often each transform happens, the chain, what is refused. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { compile, random, slice, type Tensor, tensor } from "../../../engine/mod.ts";
import { augment } from "../../../engine/imaging/mod.ts";
import { labels, made, message, same } from "../../helpers/augment_helpers.ts";

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

test("augment.nnunet() leaves the crop of the input, bit for bit, when no transform is drawn", async () => {
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

test("augment.gamma() and others keep constant channels and give no NaN, in images of any scale", async () => {
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

test("augment.spatial(), noise() and others change samples as often as their p says", async () => {
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
      [[...out.image.shape], [...out.label.shape]],
      [
        [2, 3, 6, 20, 20],
        [2, 6, 20, 20],
      ],
    );
    const values = await out.image.data();
    assert.ok(values.every(Number.isFinite));
    const marks = await out.label.data();
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

test("augment.spatial() and others throw on options that they cannot meet", () => {
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
