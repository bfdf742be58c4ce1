// deno-lint-ignore-file no-explicit-any
import { test } from "uvu";
import * as assert from "uvu/assert";
import { concat, conv3d, flip, random, type Tensor, tensor } from "../../../engine/mod.ts";
import {
  keepLargestComponent,
  labelsOf,
  makeVolume,
  type Plan,
  preprocessImage,
  Prng,
  scaling,
  type Slab,
  type Triple,
  type Volume,
} from "../../../engine/imaging/mod.ts";
import { resampledPlanes, toProbabilities } from "../../../engine/imaging/prepare/restore.ts";
import { checkPostprocessing, postprocess, predictor } from "../../../engine/train/mod.ts";
import { PostprocessingChoice } from "../../../engine/train/predict/postprocess.ts";
import { colab, plainConvUNet } from "../../../models/mod.ts";
import { resampleArray } from "../../../engine/imaging/prepare/resample.ts";
import { noise } from "../../helpers/noise.ts";
import { planFor } from "../../helpers/plans.ts";
import { message } from "../../helpers/refuse.ts";

const count = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
/** Slabs of random depths. */
async function* slabsOf(data: Float32Array, classes: number, [D, H, W]: Triple, prng: Prng): AsyncGenerator<Slab> {
  for (let start = 0; start < D;) {
    const depth = Math.min(D - start, 1 + prng.integer(4));
    const slab = new Float32Array(classes * depth * H * W);
    for (let c = 0; c < classes; c++) {
      const from = (c * D + start) * H * W;
      slab.set(data.subarray(from, from + depth * H * W), c * depth * H * W);
    }
    yield { start, depth, data: slab };
    start += depth;
  }
}

for (
  const [from, to, order] of [
    [
      [7, 6, 5],
      [12, 9, 5],
      [1, 1, 1],
    ],
    [
      [9, 8, 7],
      [4, 5, 3],
      [1, 1, 1],
    ],
    [
      [5, 6, 7],
      [11, 4, 9],
      [0, 1, 1],
    ],
    [
      [6, 7, 4],
      [6, 12, 8],
      [1, 0, 1],
    ],
    [
      [1, 1, 3],
      [4, 2, 1],
      [1, 1, 0],
    ],
    [
      [6, 5, 4],
      [6, 5, 4],
      [1, 1, 1],
    ],
  ] as [Triple, Triple, (0 | 1)[]][]
) {
  test(`resampledPlanes() is the resampling of the whole array: ${from} to ${to}, order ${order}`, async () => {
    const data = noise(2 * count(from));
    const want = await resampleArray(data.slice(), { channels: 2, shape: from, size: to, order });
    const prng = new Prng(1);
    let index = 0;
    const size = to[1] * to[2];
    for await (const plane of resampledPlanes(slabsOf(data, 2, from, prng), { classes: 2, from, to, order })) {
      for (let c = 0; c < 2; c++) {
        for (let i = 0; i < size; i++) {
          const wanted = want[(c * to[0] + index) * size + i];
          // The device's weights are of f32.
          assert.ok(
            Math.abs(plane[c * size + i] - wanted) < 2e-6,
            `${[c, index, i]}: ${plane[c * size + i]}, ${wanted}`,
          );
        }
      }
      index++;
    }
    assert.is(index, to[0]);
  });
}

test("labelsOf() and toProbabilities(): softmax, and regions painted in order", () => {
  const classes = { labels: ["background", "a", "b"] };
  const logits = Float32Array.from([1, 0, -5, 1, 3, -4, 0, 3, -6]);
  assert.equal([...labelsOf(logits, classes, { threshold: 0 })], [0, 1, 1]);
  toProbabilities(logits, classes);
  const e = Math.exp;
  assert.ok(Math.abs(logits[1] - e(0) / (e(0) + 2 * e(3))) < 1e-7);
  const extreme = Float32Array.from([2000, -2000, 1990, 3000, 0, 0]);
  toProbabilities(extreme, classes);
  assert.ok(extreme.every(Number.isFinite));
  const tumor = {
    labels: ["background", "oedema", "core", "enhancing"],
    regions: [
      { name: "whole", values: [1, 2, 3] },
      { name: "core", values: [2, 3] },
      { name: "enhancing", values: [3] },
    ],
  };
  const regions = Float32Array.from([1, 1, 1, -1, -1, 1, 1, -1, -1, -1, 1, -1]);
  assert.equal([...labelsOf(regions, tumor, { threshold: 0 })], [1, 2, 3, 0]);
  const painted = { ...tumor, regions: tumor.regions.map((r, k) => ({ ...r, value: 3 - k })) };
  assert.equal([...labelsOf(regions, painted, { threshold: 0 })], [3, 2, 1, 0]);
  toProbabilities(regions, tumor);
  assert.equal([...labelsOf(regions, tumor, { threshold: 0.5 })], [1, 2, 3, 0]);
});

/** Class 1 where the prepared image is above 0. */
const bright = { apply: (p: { weight: Tensor }, x: Tensor) => conv3d(x, p.weight) };
const weights = (scale = 1) => ({ weight: tensor([0, scale], { shape: [2, 1, 1, 1, 1] }) });
/** Smooth values of both signs in a box, zeros around it; axes LPS, or as given. */
function scan(shape: Triple, affine: number[], spacing: Triple): Volume {
  const data = new Float32Array(count(shape));
  const [X, Y, Z] = shape;
  for (let z = 2; z < Z - 1; z++) {
    for (let y = 1; y < Y - 3; y++) {
      for (let x = 3; x < X - 2; x++) {
        const value = Math.sin(x * spacing[0] * 0.35) + Math.cos(y * spacing[1] * 0.3) +
          0.7 * Math.sin(z * spacing[2] * 0.4 + 1);
        data[(z * Y + y) * X + x] = value + 0.01;
      }
    }
  }
  return makeVolume(data, { shape, affine, name: "scan" });
}
const lps = (s: Triple): number[] => [0, -s[1], 0, 9, -s[0], 0, 0, 7, 0, 0, s[2], -3, 0, 0, 0, 1];

test("predictor() goes to the plan's grid and back, without resampling to the voxel", async () => {
  const spacing: Triple = [1, 1.5, 2];
  const image = scan([17, 19, 13], lps(spacing), spacing);
  for (
    const transpose of [
      [0, 1, 2],
      [2, 0, 1],
      [1, 2, 0],
    ] as Triple[]
  ) {
    for (const orientation of ["RAS", "stored"] as const) {
      const oriented = orientation === "RAS" ? [2, 1, 1.5] : [2, 1.5, 1];
      const own = transpose.map((k) => oriented[k]) as unknown as Triple;
      const none = [{ name: "MR", normalization: "none" as const }];
      const plan = planFor({ spacing: own, transpose, orientation, patch: [6, 8, 10], channels: none });
      const { predict } = predictor([{ network: bright, params: [weights()], plan }]);
      const { labels, probabilities } = await predict(image, { probabilities: true });
      const { shape } = await preprocessImage(image, plan);
      assert.ok(count(shape) < count(image.shape), "it was cropped");
      assert.equal([labels.shape, labels.affine], [image.shape, image.affine]);
      assert.equal(
        [...labels.data],
        [...image.data].map((v) => Number(v > 0)),
        `${orientation} ${transpose}`,
      );
      const n = image.data.length;
      assert.equal([probabilities!.channels, probabilities!.data.length], [2, 2 * n]);
      image.data.forEach((v, i) => {
        const [p, q] = [probabilities!.data[i], probabilities!.data[n + i]];
        assert.ok(Math.abs(p + q - 1) < 1e-6);
        assert.ok(v === 0 ? q === 0 : Math.abs(q - 1 / (1 + Math.exp(-v))) < 1e-6);
      });
    }
  }
});

test("predictor() resamples there and back", async () => {
  const spacing: Triple = [0.8, 0.9, 2.5];
  const image = scan([40, 36, 20], lps(spacing), spacing);
  const none = [{ name: "MR", normalization: "none" as const }];
  for (
    const target of [
      [1.2, 1.2, 1.2],
      [2.5, 0.7, 0.8],
    ] as Triple[]
  ) {
    const plan = planFor({ spacing: target, orientation: "RAS", patch: [16, 16, 16], channels: none });
    const { labels } = await predictor([{ network: bright, params: [weights()], plan }]).predict(image);
    assert.equal(labels.shape, image.shape);
    let [agree, inside] = [0, 0];
    image.data.forEach((v, i) => {
      if (Math.abs(v) < 0.3) return;
      inside++;
      agree += Number(labels.data[i] === Number(v > 0));
    });
    assert.ok(agree / inside > 0.98, `${agree} of ${inside}`);
  }
});

test("predictor() averages mirror images, folds and configurations", async () => {
  // Logits that depend on the place in the patch, so that mirror images differ.
  const ramp = (n: number, axis: number): Tensor =>
    tensor(
      Float32Array.from({ length: n }, (_, i) => i / n),
      { shape: [0, 1, 2, 3, 4].map((k) => (k === axis ? n : 1)) },
    );
  const network = {
    apply: (p: { weight: Tensor }, x: Tensor) => {
      const y = x.mul(p.weight).add(ramp(6, 2)).add(ramp(4, 4).mul(2));
      return concat([y.mul(0), y.sub(1)], { axis: 1 });
    },
  };
  const image = makeVolume(Float32Array.from(noise(120)), {
    shape: [4, 5, 6],
    affine: scaling([1, 1, 1]),
    name: "image",
  });
  const plan = planFor({ patch: [6, 5, 4], channels: [{ name: "MR", normalization: "none" }] });
  const folds = [{ weight: tensor([0.5]) }, { weight: tensor([-1.5]) }];
  const run = async (members: Parameters<typeof predictor>[0], mirror: number[]) =>
    (await predictor(members, { mirror }).predict(image, { probabilities: true })).probabilities!.data;
  const x = tensor(noise(120), { shape: [1, 1, 6, 5, 4] });
  const logit = async (p: { weight: Tensor }, axes: number[]): Promise<number[]> => {
    const turned = flip(network.apply(p, flip(x, { axes: axes.map((k) => k + 2) })), { axes: axes.map((k) => k + 2) });
    return [...(await turned.data())].slice(120);
  };
  const mean = (lists: number[][]): number[] =>
    lists[0].map((_, i) => lists.reduce((s, l) => s + l[i], 0) / lists.length);
  const sigmoid = (v: number): number => 1 / (1 + Math.exp(-v));
  const close = (got: ArrayLike<number>, want: number[]): void =>
    want.forEach((v, i) => assert.ok(Math.abs(got[120 + i] - v) < 1e-6, `${i}: ${got[120 + i]}, ${v}`));
  const flips = [[], [0], [2], [0, 2]];
  const each = await Promise.all(flips.map((axes) => logit(folds[0], axes)));
  assert.ok(Math.abs(each[0][0] - each[1][0]) > 0.1);
  const one = { network, params: [folds[0]], plan };
  close(await run([one], [0, 2]), mean(each).map(sigmoid));
  close(
    await run([{ ...one, params: folds }], []),
    mean([await logit(folds[0], []), await logit(folds[1], [])]).map(sigmoid),
  );
  // Of two configurations the probabilities are averaged, not the logits.
  const other = { network, params: [folds[1]], plan: { ...plan, patch: [6, 5, 4] as Triple, dataset: "other" } };
  close(
    await run([one, other], []),
    mean([(await logit(folds[0], [])).map(sigmoid), (await logit(folds[1], [])).map(sigmoid)]),
  );
  const odd = { ...other, plan: { ...other.plan, labels: ["background", "liver"] } };
  assert.match(await message(() => predictor([one, odd])), /the networks differ in labels/);
  assert.match(await message(() => predictor([])), /there is no network/);
  assert.match(await message(() => predictor([one], { mirror: [3] })), /mirror lists axes/);
});

test("predictor() averages contexts one by one before they merge; probabilities are of all outputs", async () => {
  const config = { inputChannels: 1, features: [4, 4], classes: 4 };
  const within = plainConvUNet(config);
  const model = colab.contextUNet({ ...config, roiClasses: 1 });
  const image = makeVolume(Float32Array.from(noise(96)), {
    shape: [4, 4, 6],
    affine: scaling([1, 1, 1]),
    name: "image",
  });
  const plan = planFor({ patch: [6, 4, 4], channels: [{ name: "MR", normalization: "none" }] });
  const x = tensor(noise(96), { shape: [1, 1, 6, 4, 4] });
  // Weights of which no context is far above the others, so that the most likely changes from one mirror image to the
  // other.
  const folds = [1, 2].map((seed) => model.init(random.key(seed)));
  const outputs = async (params: any, axes: number[]): Promise<number[][]> => {
    const turned = flip(within.apply(params, flip(x, { axes })) as Tensor, { axes });
    const data = await turned.data();
    return [0, 1, 2, 3].map((k) => [...data.slice(96 * k, 96 * (k + 1))]);
  };
  /** Softmax of the mean over mirror images, voxel by voxel. */
  const chances = async (params: any): Promise<number[][]> => {
    const [a, b] = [await outputs(params, []), await outputs(params, [2])];
    return Array.from({ length: 96 }, (_, i) => {
      const e = a.map((row, k) => Math.exp((row[i] + b[k][i]) / 2));
      return e.map((v) => v / e.reduce((x, y) => x + y));
    });
  };
  for (const params of [[folds[0]], folds]) {
    const all = await Promise.all(params.map(chances));
    // ROI first; of several trainings contexts have nothing to do with each other.
    const wanted = all[0].map((_, i) => all.reduce((sum, p) => sum + p[i][0], 0) / all.length);
    const context = all[0].map((_, i) => all.reduce((sum, p) => sum + Math.max(...p[i].slice(1)), 0) / all.length);
    const { predict } = predictor([{ network: model, params, plan }], { mirror: [0] });
    const { labels, probabilities } = await predict(image, { probabilities: true });
    wanted.forEach((p, i) => {
      assert.ok(Math.abs(probabilities!.data[96 + i] - p) < 1e-5, `${i}: ${probabilities!.data[96 + i]}, ${p}`);
      assert.ok(Math.abs(probabilities!.data[i] - (1 - p)) < 1e-5);
      if (Math.abs(p - context[i]) > 1e-5) assert.is(labels.data[i], Number(p > context[i]));
    });
    assert.equal(labels.data, (await predict(image)).labels.data, "the same labels without probabilities");
    assert.ok(
      wanted.some((p, i) => p > context[i] && p < 0.5),
      "a ROI that is the most likely output and below one half",
    );
  }
  const fixed = (rows: number[]) => ({
    backgrounds: 4,
    apply: (_: unknown, y: Tensor) => concat(rows.map((v) => y.mul(0).add(v)), { axis: 1 }),
  });
  const { labels, probabilities } = await predictor([{ network: fixed([1, 1, 1, 1, 1.5]), params: [{}], plan }])
    .predict(image, { probabilities: true });
  assert.ok(labels.data.every((v) => v === 1));
  assert.ok(Math.abs(probabilities!.data[96] - Math.exp(1.5) / (Math.exp(1.5) + 4 * Math.E)) < 1e-6);
  const regions = [{ name: "whole", values: [1] }];
  assert.match(
    await message(() => predictor([{ network: fixed([1]), params: [{}], plan: { ...plan, regions } }])),
    /backgrounds/,
  );
});

test("predictor() paints regions, and tells its memory before", async () => {
  const network = { apply: (_: unknown, x: Tensor) => concat([x.add(1), x, x.sub(1)], { axis: 1 }) };
  const plan: Plan = planFor({
    labels: ["background", "oedema", "core", "enhancing"],
    regions: [
      { name: "whole", values: [1, 2, 3] },
      { name: "core", values: [2, 3] },
      { name: "enhancing", values: [3] },
    ],
    channels: [{ name: "MR", normalization: "none" }],
  });
  const image = makeVolume(
    Float32Array.from(noise(720), (v) => 2 * v),
    { shape: [8, 9, 10], affine: scaling([1, 1, 1]), name: "image" },
  );
  const { predict, memory } = predictor([{ network, params: [{}], plan }], { batch: 2 });
  const { labels } = await predict(image);
  assert.equal(
    [...labels.data],
    [...image.data].map((v) => (v > 1 ? 3 : v > 0 ? 2 : v > -1 ? 1 : 0)),
  );
  const estimate = await memory(image);
  // Result, prepared image, averages of 3 outputs with weights, finished planes, two batches of 2 patches and logits.
  assert.is(estimate.host, 720 + 4 * 720 + 4 * (4 * 8 * 72 + 3 * 8 * 72 + 512 * (1 + 2 * (2 + 6))));
  assert.ok(estimate.device > 0);
  const wrong = { apply: (_: unknown, x: Tensor) => x };
  assert.match(
    await message(() => predictor([{ network: wrong, params: [{}], plan }]).predict(image)),
    /the plan wants 3 channels/,
  );
});

/** The largest of 26-connected parts, all of ties, by flooding. */
function flooded(labels: Uint8Array, [X, Y, Z]: Triple, values: number[]): Uint8Array {
  const part = new Int32Array(labels.length);
  const sizes = [0];
  for (let i = 0; i < labels.length; i++) {
    if (!values.includes(labels[i]) || part[i]) continue;
    const stack = [i];
    part[i] = sizes.length;
    let size = 0;
    while (stack.length > 0) {
      const at = stack.pop()!;
      size++;
      const [x, y, z] = [at % X, Math.floor(at / X) % Y, Math.floor(at / (X * Y))];
      for (let n = 0; n < 27; n++) {
        const [a, b, c] = [x + (n % 3) - 1, y + (Math.floor(n / 3) % 3) - 1, z + Math.floor(n / 9) - 1];
        if (a < 0 || b < 0 || c < 0 || a >= X || b >= Y || c >= Z) continue;
        const next = (c * Y + b) * X + a;
        if (!values.includes(labels[next]) || part[next]) continue;
        part[next] = sizes.length;
        stack.push(next);
      }
    }
    sizes.push(size);
  }
  const most = Math.max(...sizes);
  return labels.map((v, i) => (values.includes(v) && sizes[part[i]] !== most ? 0 : v));
}

test("keepLargestComponent() is the largest part by flooding, in volumes of any density", () => {
  const prng = new Prng(3);
  for (let run = 0; run < 40; run++) {
    const shape: Triple = [1 + prng.integer(12), 1 + prng.integer(9), 1 + prng.integer(7)];
    const density = [0, 0.05, 0.1, 0.15, 0.3, 1][run % 6];
    const labels = Uint8Array.from({ length: count(shape) }, () => prng.uniform() < density ? 1 + prng.integer(3) : 0);
    const values = run % 2 ? [1, 3] : [2];
    const want = flooded(labels, shape, values);
    const got = labels.slice();
    const removed = keepLargestComponent(got, { shape, values });
    assert.equal([...got], [...want], `${shape}, density ${density}`);
    assert.is(removed, labels.filter((v, i) => v !== got[i]).length);
  }
  assert.throws(() => keepLargestComponent(new Uint8Array(5), { shape: [2, 2, 2], values: [1] }), /got 5 labels/);
});

test("PostprocessingChoice.decide() keeps the largest component where validation says so", () => {
  const shape: Triple = [12, 1, 1];
  const volume = (values: number[]): Volume =>
    makeVolume(Uint8Array.from(values), { shape, affine: scaling([1, 1, 1]), name: "labels" });
  const plan = { labels: ["background", "liver", "lesion"] };
  // A stray piece of liver; lesions that really are several.
  const cases: [number[], number[]][] = [
    [
      [1, 1, 1, 2, 1, 0, 1, 0, 0, 2, 2, 0],
      [1, 1, 1, 2, 1, 0, 0, 0, 0, 2, 2, 0],
    ],
    [
      [1, 1, 1, 1, 0, 0, 1, 0, 2, 0, 2, 2],
      [1, 1, 1, 1, 0, 0, 0, 0, 2, 0, 2, 2],
    ],
  ];
  const choice = new PostprocessingChoice(plan);
  assert.throws(() => choice.decide(), /there is no case/);
  for (const [prediction, reference] of cases) choice.add(volume(prediction), volume(reference));
  const rule = choice.decide();
  // Of case 1 the lone voxel behind the lesion goes as well (liver 0.8 to 6/7), of case 2 the stray one.
  assert.equal(rule.keepLargest, [{ name: "liver", values: [1] }]);
  assert.is(rule.cases, 2);
  assert.ok(rule.dice[0].after! > rule.dice[0].before!);
  assert.equal(rule.dice[1].after, rule.dice[1].before);
  const before = volume(cases[1][0]);
  assert.equal([...postprocess(before, rule).data], cases[1][1]);
  assert.is(postprocess(before, { keepLargest: [] }), before);
  assert.equal(checkPostprocessing(JSON.parse(JSON.stringify(rule)), "f.json").keepLargest, rule.keepLargest);
  assert.throws(() => checkPostprocessing({ keepLargest: [] }, "f.json"), /f\.json: it is no voxgrad postprocessing 1/);

  const clean = new PostprocessingChoice(plan);
  const both = volume([1, 2, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0]);
  clean.add(both, both);
  assert.equal(clean.decide().keepLargest, [], "a rule that lowers Dice is not taken");
  // All foreground would raise the mean (liver 0.6 to 1), but lose the lesion (0.2 to 0).
  const lost = new PostprocessingChoice(plan);
  lost.add(volume([1, 1, 1, 0, 1, 1, 0, 1, 0, 1, 0, 2]), volume([1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2]));
  assert.equal(lost.decide().keepLargest, [{ name: "liver", values: [1] }]);
  const stray = new PostprocessingChoice(plan);
  stray.add(volume([1, 1, 2, 2, 0, 1, 0, 2, 0, 0, 0, 0]), volume([1, 1, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0]));
  assert.equal(stray.decide().keepLargest, [{ name: "all foreground", values: [1, 2] }]);
  assert.throws(
    () => stray.add(both, { ...both, shape: [3, 1, 1], data: new Uint8Array(3) }),
    /that of its label 3 x 1 x 1/,
  );
});

test.run();
