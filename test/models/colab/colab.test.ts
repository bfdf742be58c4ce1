// deno-lint-ignore-file no-explicit-any
/** CoLab's functions against PyTorch's numbers, against differentiating through the step, and on a U-Net. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  closeDevice,
  compile,
  concat,
  conv3d,
  distanceTransform,
  grad,
  leakyRelu,
  random,
  softmax,
  type Tensor,
  tensor,
  tree,
} from "../../../engine/mod.ts";
import * as nn from "../../../engine/nn/mod.ts";
import { colab, plainConvUNet } from "../../../models/mod.ts";
import { assertClose, relativeError } from "../../helpers/compare.ts";
import { goldenJson, goldenTensors, toTensor } from "../../helpers/golden.ts";
import { noise } from "../../helpers/noise.ts";

test.after(() => closeDevice());
const read = goldenTensors("methods");
const load = (key: string): Tensor => toTensor(read(key));

const network = (x: Tensor) => (p: Tensor[]) =>
  conv3d(conv3d(x, p[0], { bias: p[1], padding: 1 }).tanh(), p[2], { bias: p[3] });

/** Largest difference over the norm of the reference tensor, as a meta-gradient is compared. */
async function ofNorm(got: Tensor, key: string): Promise<number> {
  const wanted = read(key).data;
  const norm = Math.hypot(...wanted);
  return Math.max(...Array.from(await got.data(), (v, k) => Math.abs(v - wanted[k]))) / norm;
}

for (const c of goldenJson("methods").cases.filter((entry: any) => entry.name.startsWith("colab."))) {
  test(`colab masks, labels, losses and metaGradient() agree with PyTorch: ${c.name}`, async () => {
    const [image, roi, distance] = [load(c.image), load(c.roi), load(c.distance)];
    const [theta, omega] = [c.theta.map(load), c.omega.map(load)] as [Tensor[], Tensor[]];
    const mask = colab.softDilatedMask(distance, { margin: c.margin, tau: c.tau });
    await assertClose(mask, read(c.mask), 1e-5, "mask");
    const segment = network(image);
    const labels = colab.constrainedLabels(roi, softmax(segment(omega), { axis: 1 }), mask);
    await assertClose(labels, read(c.labels), 1e-5, "labels");
    const loss = (p: Tensor[]) => colab.segmentationLoss(segment(p), labels);
    assert.ok(Math.abs((await loss(theta).item()) / c.lossSeg - 1) < 1e-5);
    const slopes = grad(loss)(theta) as Tensor[];
    for (const [k, slope] of slopes.entries()) await assertClose(slope, read(c.thetaGrad[k]), 1e-4, `theta ${k}`);
    const stepped = theta.map((p, k) => p.sub(slopes[k].mul(c.alpha)));
    assert.ok(Math.abs((await colab.roiLoss(segment(stepped), roi).item()) / c.lossRoi - 1) < 1e-5);
    const options = { segment, generate: segment, theta, omega, roi, mask, alpha: c.alpha };
    const exact = colab.metaGradient(options) as Tensor[];
    for (const [k, g] of exact.entries()) assert.ok((await ofNorm(g, c.metaGradExact[k])) < 1e-4, `exact ${k}`);
    // Differences of two gradients: the rounding of f32 is 1 / (2 eps) of theirs, and eps |v| is 0.01.
    const differences = colab.metaGradient({ ...options, method: "finite-difference" }) as Tensor[];
    for (const [k, g] of differences.entries()) {
      assert.ok((await ofNorm(g, c.metaGradFiniteDifference[k])) < 1e-4, `finite difference ${k}`);
    }
  });
}

/** A batch of 2 with a ROI each, a network with one more output than the generator, both small U-Nets. */
function unets(contexts: number) {
  const config = { inputChannels: 1, features: [4, 8], convsPerStage: 1, decoderConvsPerStage: 1 } as const;
  const [segmenter, generator] = [contexts + 1, contexts].map((classes) => plainConvUNet({ ...config, classes }));
  const shape = [2, 1, 8, 10, 12];
  const x = tensor(noise(2 * 960, 3), { shape });
  const inside = (i: number): number => {
    const [z, y, w] = [Math.floor(i / 120) % 8, Math.floor(i / 12) % 10, i % 12];
    return Number((z - 3) ** 2 + (y - 5) ** 2 + (w - 4 - 2 * Math.floor(i / 960)) ** 2 < 6);
  };
  const roi = tensor(Float32Array.from({ length: 1920 }, (_, i) => inside(i)), { shape: [2, 8, 10, 12] });
  const distance = concat(
    [0, 1].map((n) =>
      distanceTransform(roi.equal(0).slice({ start: [n], end: [n + 1] }).reshape({ shape: [8, 10, 12] }), {})
        .reshape({ shape: [1, 8, 10, 12] })
    ),
    { axis: 0 },
  );
  const mask = colab.softDilatedMask(distance, { margin: 2, tau: 2 });
  return {
    segment: (p: any) => segmenter.apply(p, x) as unknown as Tensor,
    generate: (p: any) => generator.apply(p, x) as unknown as Tensor,
    theta: segmenter.init(random.key(1)),
    omega: generator.init(random.key(2)),
    roi,
    mask,
    alpha: 0.05,
  };
}

const values = async (t: any): Promise<number[]> => {
  const parts = await Promise.all(tree.leaves(t).map((leaf: Tensor) => leaf.data()));
  return parts.flatMap((part) => [...part]);
};
const inner = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, v, k) => sum + v * b[k], 0);
const cosine = (a: readonly number[], b: readonly number[]): number =>
  inner(a, b) / Math.sqrt(inner(a, a) * inner(b, b));

test("colab.metaGradient() of a U-Net agrees with the step and finite differences, and keeps theta", async () => {
  const options = unets(2);
  const before = await values(options.theta);
  const run = compile((theta: any, omega: any) => [
    colab.metaGradient({ ...options, theta, omega }),
    colab.metaGradient({ ...options, theta, omega, method: "finite-difference" }),
    grad((o: any) => {
      const labels = colab.constrainedLabels(options.roi, softmax(options.generate(o), { axis: 1 }), options.mask);
      const slopes = grad((p: any) => colab.segmentationLoss(options.segment(p), labels))(theta);
      const flat = tree.leaves(slopes) as Tensor[];
      let k = 0;
      return colab.roiLoss(
        options.segment(tree.map(theta, (p: Tensor) => p.sub(flat[k++].mul(options.alpha)))),
        options.roi,
      );
    })(omega),
  ]);
  const [exact, differences, through] = await Promise.all((await run(options.theta, options.omega)).map(values));
  assert.ok(relativeError(exact, through) < 1e-3, `${relativeError(exact, through)} from the way through the step`);
  assert.ok(cosine(exact, differences) > 0.9999, `cosine ${cosine(exact, differences)}`);
  assert.equal(await values(options.theta), before);
});

test("colab.metaGradient() per sample is the mean of those of single samples", async () => {
  const x = tensor(noise(2 * 105, 3), { shape: [2, 1, 3, 5, 7] });
  const weights = (classes: number, seed: number): Tensor[] =>
    [[3, 1, 3, 3, 3], [3], [classes, 3, 1, 1, 1], [classes]].map((shape, k) =>
      tensor(noise(shape.reduce((a, b) => a * b), 10 * seed + k), { shape })
    );
  const of = (n?: number) => network(n === undefined ? x : x.slice({ start: [n], end: [n + 1] }));
  const options = {
    segment: (p: Tensor[], n?: number) => of(n)(p),
    generate: (p: Tensor[], n?: number) => of(n)(p),
    theta: weights(3, 1),
    omega: weights(2, 2),
    alpha: 0.1,
    roi: tensor(Float32Array.from(noise(210, 4), (v) => Number(v > 0.5)), { shape: [2, 3, 5, 7] }),
    mask: tensor(Float32Array.from(noise(210, 5), (v) => (v + 1) / 2), { shape: [2, 3, 5, 7] }),
  };
  const alone = (n: number) => ({
    ...options,
    segment: of(n),
    generate: of(n),
    roi: options.roi.slice({ start: [n], end: [n + 1] }),
    mask: options.mask.slice({ start: [n], end: [n + 1] }),
  });
  const both = await values(colab.metaGradient({ ...options, per: "sample" }));
  const [first, second] = await Promise.all([0, 1].map((n) => values(colab.metaGradient(alone(n)))));
  const single = await values(colab.metaGradient({ ...alone(1), per: "sample" }));
  const batch = await values(colab.metaGradient(options));
  const mean = first.map((v, k) => (v + second[k]) / 2);
  // One rounding for the sum.
  assert.ok(relativeError(both, mean) < 1e-6, `${relativeError(both, mean)}`);
  assert.equal(single, second, "a batch of 1 has one gradient");
  assert.ok(relativeError(batch, mean) > 1e-3, "that of the batch is another");
  const whole = { ...options, segment: of(), per: "sample" as const };
  assert.throws(
    () => colab.metaGradient(whole),
    /segment\(parameters, 0\) for the logits of sample 0 alone, got Tensor/,
  );
  assert.throws(
    () => colab.metaGradient({ ...options, per: "voxel" as any }),
    /per is "batch" or "sample", got "voxel"/,
  );
});

test("colab.metaGradient() by the implicit rule solves with a known Hessian", async () => {
  // Two weights for two classes of one voxel type: the Hessian of the cross-entropy is diag(p) - p p'.
  const x = tensor(new Float32Array(64).fill(1), { shape: [1, 1, 4, 4, 4] });
  const roi = tensor(Float32Array.from({ length: 64 }, (_, i) => Number(i < 20)), { shape: [1, 4, 4, 4] });
  const linear = (p: Tensor) => conv3d(x, p.reshape({ shape: [p.size, 1, 1, 1, 1] }));
  const mask = tensor(new Float32Array(64).fill(1), { shape: [1, 4, 4, 4] });
  const [theta, omega] = [tensor([0.3, -0.2, 0.5]), tensor([0.4, -0.6])];
  const options = { segment: linear, generate: linear, theta, omega, roi, mask, alpha: 1, damping: 0.3 };
  const loss = (p: Tensor, o: Tensor) =>
    colab.segmentationLoss(linear(p), colab.constrainedLabels(roi, softmax(linear(o), { axis: 1 }), mask));
  // By differences in float64 of gradients in f32.
  const slope = async (p: number[], o: number[]) => [...(await (grad(loss)(tensor(p), tensor(o)) as Tensor).data())];
  const [p, o] = [[...(await theta.data())], [...(await omega.data())]];
  const step = 1e-2;
  const column = async (k: number, list: "p" | "o") => {
    const moved = (by: number) => (list === "p" ? p : o).map((v, j) => (j === k ? v + by : v));
    const [a, b] = await Promise.all(
      [1, -1].map((s) => (list === "p" ? slope(moved(s * step), o) : slope(p, moved(s * step)))),
    );
    return a.map((v, j) => (v - b[j]) / (2 * step));
  };
  const hessian = await Promise.all([0, 1, 2].map((k) => column(k, "p")));
  const mixed = await Promise.all([0, 1].map((k) => column(k, "o")));
  const v = [...(await (grad((q: Tensor) => colab.roiLoss(linear(q), roi))(theta) as Tensor).data())];
  const rows = hessian.map((row, k) => [...row.map((h, j) => h + (k === j ? 0.3 : 0)), v[k]]);
  for (let k = 0; k < 3; k++) {
    for (let r = 0; r < 3; r++) {
      if (r === k) continue;
      const factor = rows[r][k] / rows[k][k];
      rows[r] = rows[r].map((value, j) => value - factor * rows[k][j]);
    }
  }
  const solution = rows.map((row, k) => row[3] / row[k]);
  const wanted = mixed.map((row) => -inner(row, solution));
  const got = [...(await (colab.metaGradient({ ...options, method: "implicit", iterations: 3 }) as Tensor).data())];
  assert.ok(relativeError(got, wanted) < 2e-3, `${got} for ${wanted}`);
});

test("colab.constrainedLabels() add up to 1, keep the ROI, and give the far background context 1", async () => {
  const q = softmax(tensor(noise(2 * 3 * 24, 5), { shape: [2, 3, 2, 3, 4] }), { axis: 1 });
  const marks = noise(2 * 24, 6);
  const rois = [0.4, -0.4].map((t, k) =>
    tensor(Float32Array.from(marks, (v) => Number(k === 0 ? v > t : v < t)), { shape: [2, 1, 2, 3, 4] })
  );
  const roi = concat(rois, { axis: 1 });
  const near = tensor(Float32Array.from(noise(48, 7), (v) => (v + 1) / 2), { shape: [2, 2, 3, 4] });
  const labels = await colab.constrainedLabels(roi, q, near).data();
  const [qs, ms] = [await q.data(), await near.data()];
  for (let n = 0; n < 2; n++) {
    for (let i = 0; i < 24; i++) {
      const of = (k: number) => labels[(n * 5 + k) * 24 + i];
      const mark = marks[n * 24 + i];
      const m = ms[n * 24 + i];
      const context = (k: number) => m * qs[(n * 3 + k) * 24 + i] + (k === 0 ? 1 - m : 0);
      const wanted = mark > 0.4
        ? [1, 0, 0, 0, 0]
        : mark < -0.4
        ? [0, 1, 0, 0, 0]
        : [0, 0, context(0), context(1), context(2)];
      wanted.forEach((value, k) => assert.ok(Math.abs(of(k) - value) < 1e-6, `voxel ${n} ${i}, class ${k}`));
    }
  }
  const logits = leakyRelu(tensor(noise(2 * 5 * 24, 8), { shape: [2, 5, 2, 3, 4] }), { slope: 0.5 });
  const one = await colab.roiLoss(logits, roi, { only: 1 }).item();
  const other = await colab.roiLoss(logits, roi, { only: 0 }).item();
  assert.ok(Math.abs((await colab.roiLoss(logits, roi).item()) - (one + other) / 2) < 1e-6);
  assert.ok((await colab.roiLoss(logits, roi, { loss: "dice" }).item()) < 1);
  assert.throws(() => colab.softDilatedMask(near, { margin: 1, tau: 0 }), /tau > 0/);
  assert.throws(() => colab.constrainedLabels(roi, q.slice({ end: [1] }), near), /constrainedLabels/);
  assert.throws(() => colab.segmentationLoss(logits, q), /one shape/);
  assert.throws(() => colab.roiLoss(logits, roi, { only: 2 }), /only is a class from 0 to 1/);
});

/** L_seg of [2, 5, ...] by the book, in float64. */
function lossByLoop(
  logits: ArrayLike<number>,
  labels: ArrayLike<number>,
  options: { without: readonly number[]; batch: boolean; squared?: boolean; reduction?: "mean" | "sum" },
): number {
  const { without, batch, squared = false, reduction = "mean" } = options;
  const [N, K, V] = [2, 5, logits.length / 10];
  const at = (n: number, k: number, i: number) => (n * K + k) * V + i;
  let entropy = 0;
  const both = Array.from({ length: N }, () => new Float64Array(K));
  const either = Array.from({ length: N }, () => new Float64Array(K));
  for (let n = 0; n < N; n++) {
    for (let i = 0; i < V; i++) {
      const powers = Array.from({ length: K }, (_, k) => Math.exp(logits[at(n, k, i)]));
      const total = powers.reduce((a, b) => a + b);
      for (let k = 0; k < K; k++) {
        const [p, y] = [powers[k] / total, labels[at(n, k, i)]];
        entropy -= (y * Math.log(p)) / (N * V);
        both[batch ? 0 : n][k] += p * y;
        either[batch ? 0 : n][k] += squared ? p * p + y * y : p + y;
      }
    }
  }
  const dice: number[] = [];
  for (let n = 0; n < (batch ? 1 : N); n++) {
    for (let k = 0; k < K; k++) {
      if (!without.includes(k)) dice.push((2 * both[n][k] + 1e-5) / (either[n][k] + 1e-5));
    }
  }
  const classes = reduction === "sum" ? K - without.length : 1;
  return entropy + classes * (1 - dice.reduce((a, b) => a + b) / dice.length);
}

test("colab.segmentationLoss() with Dice by sample or batch, with and without a class, agrees with float64", async () => {
  const shape = [2, 5, 2, 3, 4];
  const logits = noise(240, 8);
  const labels = await softmax(tensor(noise(240, 9), { shape }).mul(4), { axis: 1 }).data();
  const loss = (options: object) =>
    colab.segmentationLoss(tensor(logits, { shape }), tensor(labels as Float32Array, { shape }), options);
  for (const batch of [false, true]) {
    for (const without of [undefined, 0, 2, 4, [1, 3], [4, 1, 2, 0]]) {
      for (const more of [{}, { squared: true }, { reduction: "sum" }, { squared: true, reduction: "sum" }] as const) {
        const options = { batch, ...(without !== undefined && { without }), ...more };
        const got = await loss(options).item();
        const wanted = lossByLoop(logits, labels, {
          batch,
          ...more,
          without: without === undefined ? [] : [without].flat(),
        });
        assert.ok(Math.abs(got / wanted - 1) < 1e-5, `${JSON.stringify(options)}: ${got}, wanted ${wanted}`);
      }
    }
  }
  for (const without of [5, [1, 1], [0, 1, 2, 3, 4]]) {
    assert.throws(() => loss({ without }), /without is a class from 0 to 4, or several of them but not all/);
  }
  assert.throws(() => loss({ reduction: "none" }), /reduction is "mean" or "sum", got "none"/);
});

test("colab.segmentationLoss() with squares is least where probabilities are the soft labels", async () => {
  const q = tensor([0.7, 0.1, 0.2, 0.3, 0.1, 0.6], { shape: [1, 3, 2] });
  const slopeOf = async (options: object) =>
    Math.max(...(await grad((z: Tensor) => colab.segmentationLoss(z, q, options))(q.log()).data()).map(Math.abs));
  assert.ok(await slopeOf({ squared: true }) < 1e-6);
  assert.ok(await slopeOf({}) > 1e-3, "plain sums pull to hard labels");
});

test("colab.contextUse() is the entropy of the shares of contexts, and 0 after a collapse", async () => {
  const values = [[0.9, 0.2, 0.5], [0.1, 0.8, 0.5]];
  const weights = [1, 0.5, 0];
  const { entropy, shares } = colab.contextUse(
    tensor(values.flat(), { shape: [1, 2, 3] }),
    tensor(weights, { shape: [1, 3] }),
  );
  const wanted = values.map((row) => row.reduce((sum, v, i) => sum + v * weights[i], 0) / 1.5);
  assert.ok(relativeError([...(await shares.data())], wanted) < 1e-6);
  const inNats = -wanted.reduce((sum, p) => sum + p * Math.log(p), 0);
  assert.ok(Math.abs((await entropy.item()) - inNats) < 1e-6);
  const collapsed = colab.contextUse(tensor([1, 1, 0, 0], { shape: [1, 2, 2] }), tensor([1, 1], { shape: [1, 2] }));
  assert.ok(Math.abs(await collapsed.entropy.item()) < 1e-6);
});

test("colab.mergedContexts() keeps the probabilities of the ROI classes", async () => {
  const logits = tensor(noise(2 * 5 * 24, 12), { shape: [2, 5, 2, 3, 4] }).mul(3);
  const of = async (t: Tensor) => [...(await softmax(t, { axis: 1 }).data())];
  const [all, merged] = [await of(logits), await of(colab.mergedContexts(logits, 2))];
  for (let n = 0; n < 2; n++) {
    for (let k = 0; k < 2; k++) {
      const [a, b] = [all, merged].map((list, which) => {
        const [classes, place] = which === 0 ? [5, k] : [3, k + 1];
        return list.slice((n * classes + place) * 24, (n * classes + place + 1) * 24);
      });
      assert.ok(relativeError(b, a) < 1e-6);
    }
  }
});

test("colab.withRoiPrior() makes outputs begin at the prior, and changes nothing else", async () => {
  const model = plainConvUNet({ inputChannels: 1, features: [4, 8], classes: 4, deepSupervision: true });
  const params = model.init(random.key(1));
  const started = colab.withRoiPrior(params, 0.02, { rois: 2, first: 1 });
  const [before, after] = [tree.flatten(params), tree.flatten(started)];
  const changed = [...after].filter(([path, t]) => t !== before.get(path)).map(([path]) => path);
  assert.equal(changed, [...before.keys()].filter((path) => /seg_layers\.\d\.bias/.test(path)));
  const p = await softmax(after.get(changed[0])!, { axis: 0 }).data();
  assert.ok(relativeError([...p], [0.49, 0.01, 0.01, 0.49]) < 1e-5, String(p));
  assert.throws(() => colab.withRoiPrior(params, 1, { rois: 1, first: 0 }), /above 0 and below 1, got 1/);
  assert.throws(
    () => colab.withRoiPrior({ weight: tensor([1]) }, 0.5, { rois: 1, first: 0 }),
    /they are those of a U-Net/,
  );
});

test("colab.adamScales() scales a gradient as a step of Adam without momentum does", async () => {
  const optimizer = nn.adam({ beta1: 0 });
  let params = { a: tensor([0.5, -1, 2]), b: tensor([3]) };
  let state = optimizer.init(params);
  for (const [k, values] of [[0.1, -2, 30], [0.2, 1, -4], [-0.5, 0.01, 7]].entries()) {
    const gradient = { a: tensor(values), b: tensor([k - 1]) };
    const scaled = colab.adamScales(state, gradient)(gradient);
    const [next, after] = optimizer.update(gradient, state, params, 1);
    for (const name of ["a", "b"] as const) {
      const moved = [...(await params[name].sub(next[name]).data())];
      assert.ok(relativeError([...(await scaled[name].data())], moved) < 1e-5, `${name} after ${k}`);
    }
    [params, state] = [next, after];
  }
  assert.throws(() => colab.adamScales({}, params), /it is that of nn.adam/);
});

test("colab.valueAndMetaGradient() of several outputs and scaled steps agrees with the way through the step", async () => {
  const config = { inputChannels: 1, features: [4, 8], convsPerStage: 1, decoderConvsPerStage: 1 } as const;
  const deep = plainConvUNet({ ...config, features: [4, 8, 8], classes: 3, deepSupervision: true });
  const generator = plainConvUNet({ ...config, classes: 2 });
  const x = tensor(noise(2 * 512, 3), { shape: [2, 1, 8, 8, 8] });
  const roi = x.greater(0.8).cast("f32").reshape({ shape: [2, 8, 8, 8] });
  const weights = [0.7, 0.3];
  const segmentation = { squared: true, without: [1, 2] };
  const options = {
    segment: (p: any) => deep.apply(p, x, { train: true }) as unknown as Tensor[],
    weights,
    generate: (p: any) => generator.apply(p, x) as unknown as Tensor,
    theta: deep.init(random.key(1)),
    omega: generator.init(random.key(2)),
    roi,
    mask: tensor(Float32Array.from(noise(1024, 5), (v) => (v + 1) / 2), { shape: [2, 8, 8, 8] }),
    alpha: 0.05,
    segmentation,
  };
  const scale = (tensors: any) => tree.map(tensors, (t: Tensor, path: string) => t.mul(1 + (path.length % 3)));
  const precondition = () => scale;
  const run = compile((theta: any, omega: any) => {
    const own = { ...options, theta, omega, precondition };
    const [value, exact] = colab.valueAndMetaGradient(own);
    const [, kept] = colab.valueAndMetaGradient({ ...own, recompute: false });
    const [, differences] = colab.valueAndMetaGradient({ ...own, method: "finite-difference" });
    const after = (o: any): Tensor => {
      const q = softmax(options.generate(o), { axis: 1 });
      const slopes = grad((p: any) => {
        const outputs = options.segment(p);
        const labels = colab.pyramidLabels(outputs, { roi, q, mask: options.mask });
        return outputs.map((each, k) => colab.segmentationLoss(each, labels[k], segmentation).mul(weights[k]))
          .reduce((a, b) => a.add(b));
      })(theta);
      const flat = tree.flatten(scale(slopes));
      const moved = tree.map(theta, (p: Tensor, path: string) => p.sub(flat.get(path)!.mul(options.alpha)));
      return colab.roiLoss(options.segment(moved)[0], roi);
    };
    return [value, after(omega), exact, kept, differences, grad(after)(omega)];
  });
  const results: any[] = await run(options.theta, options.omega) as any[];
  const [value, wanted, exact, kept, differences, through] = await Promise.all(results.map(values));
  assert.ok(Math.abs(value[0] / wanted[0] - 1) < 1e-5, `${value} for ${wanted}`);
  assert.ok(relativeError(exact, through) < 1e-3, `${relativeError(exact, through)} from the way through the step`);
  assert.ok(relativeError(kept, exact) < 1e-5, "kept or computed again");
  assert.ok(cosine(exact, differences) > 0.999, `cosine ${cosine(exact, differences)}`);
  assert.throws(
    () => colab.metaGradient({ ...options, method: "implicit", precondition }),
    /"implicit" takes no inner step; leave out precondition/,
  );
});

test.run();
