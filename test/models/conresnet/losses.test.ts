// deno-lint-ignore-file no-explicit-any
/** ConResNet's labels and losses against loops in float64, golden numbers, finite differences and hand cases. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeDevice, compile, random, Tensor, tensor, valueAndGrad, zeros } from "../../../engine/mod.ts";
import { diceCrossEntropy, regionTargets } from "../../../engine/nn/mod.ts";
import { conres } from "../../../models/mod.ts";
import { assertClose, nearNumber } from "../../helpers/compare.ts";
import { goldenJson, goldenTensors, toTensor } from "../../helpers/golden.ts";
import { noise } from "../../helpers/noise.ts";
import { refuses } from "../../helpers/refuse.ts";

test.after(() => closeDevice());

const [N, R] = [2, 3];
const space = [4, 3, 5] as const;
const V = 60;
const shape = [N, R, ...space];
const count = N * R * V;

/** A third of the voxels 1; region 2 of sample 1 is not there. */
const targets = Float32Array.from(noise(count, 1), (v, i) => Number(v > 0.3 && Math.floor(i / V) !== 5));
const logits = noise(count, 2).map((v) => 4 * v);
const direction = noise(count, 3);
const [x, y] = [tensor(logits, { shape }), tensor(targets, { shape })];

/** Value, slope along `direction` in float64 differences, and curvature of both. */
async function agrees(
  loss: (logits: Tensor) => Tensor,
  reference: (logits: ArrayLike<number>) => number,
  what: string,
  at: Float32Array = logits,
): Promise<void> {
  const of = tensor(at, { shape });
  const [value, slope] = await compile((z: Tensor) => valueAndGrad(loss)(z) as [Tensor, Tensor])(of);
  const moved = (h: number): number => reference(Array.from(at, (v, i) => v + h * direction[i]));
  nearNumber(await value.item(), moved(0), 2e-6, what);
  const data = await slope.data();
  const inner = Array.from(data).reduce((total, g, i) => total + g * direction[i], 0);
  nearNumber(inner, (moved(1e-4) - moved(-1e-4)) / 2e-4, 2e-5, `${what}: slope`);
}

const sigmoid = (v: number): number => 1 / (1 + Math.exp(-v));
const entropyOf = (v: number, t: number): number => -t * Math.log(sigmoid(v)) - (1 - t) * Math.log(1 - sigmoid(v));
const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

/** Eq. 8 (paper), with the shares of each region, and what the official code computes, in float64. */
function residualReference(
  z: ArrayLike<number>,
  t: ArrayLike<number>,
  mode: "paper" | "region" | "code",
  w0?: number,
): number {
  const ones = Array.from(t).reduce((a, b) => a + b, 0);
  return mean(
    Array.from(z, (v, i) => {
      const region = Math.floor(i / V) % R;
      const own = Array.from(t).reduce((a, b, j) => a + (Math.floor(j / V) % R === region ? b : 0), 0);
      if (mode !== "code") {
        const [all, some] = mode === "paper" ? [count, ones] : [N * V, own];
        const k = t[i] === 1 ? Math.log(all / some) : (w0 ?? Math.log(all / (all - some)));
        return k * entropyOf(v, t[i]);
      }
      const p = Math.min(0.999, Math.max(0.001, v));
      return t[i] === 1 ? -Math.log(V / (own + 1)) * Math.log(p) : -(w0 ?? 1) * Math.log(1 - p);
    }),
  );
}

test("conres.residualLabels() and residualLoss() agree with the golden values and gradient", async () => {
  const golden = goldenJson("methods").cases.find((c: any) => c.name === "conres.residual");
  const stored = goldenTensors("methods");
  const labels = toTensor(stored(golden.labels));
  const residual = conres.residualLabels(labels, { axis: "axial" });
  await assertClose(residual, stored(golden.residual), 0, "residual");
  const z = toTensor(stored(golden.input));
  const [loss, slope] = valueAndGrad((v: Tensor) => conres.residualLoss(v, residual, { mode: "paper" }))(z) as any;
  nearNumber(await loss.item(), golden.loss, 1e-6, "loss");
  await assertClose(slope, stored(golden.grad), 1e-5, "gradient");
});

test("conres.residualLabels() agrees with loops for every axis, first slice and kind of label", async () => {
  const strides = [space[1] * space[2], space[2], 1];
  const classes = Int32Array.from(noise(N * V, 4), (v) => Math.floor((v + 1) * 2));
  for (const [k, axis] of (["axial", "coronal", "sagittal"] as const).entries()) {
    for (const first of ["zero", "label"] as const) {
      const of = (t: ArrayLike<number>): Float32Array =>
        Float32Array.from(t, (v, i) => {
          const at = Math.floor((i % V) / strides[k]) % space[k];
          return at > 0 ? Number(v !== t[i - strides[k]]) : first === "label" ? Number(v !== 0) : 0;
        });
      const wanted = { shape, data: of(targets) };
      for (const labels of [y, y.cast("bool"), y.cast("i32")]) {
        await assertClose(conres.residualLabels(labels, { axis, first }), wanted, 0, `${axis}, ${first}`);
      }
      const values = tensor(classes, { shape: [N, ...space] });
      const changed = conres.residualLabels(values, { axis, first });
      await assertClose(changed, { shape: values.shape, data: of(classes) }, 0, `${axis}, ${first}, class values`);
      const each = conres.residualLabels(values, { axis, first, classes: 4 });
      const channels = conres.residualLabels(regionTargets(values, [[1], [2], [3]]), { axis, first });
      assert.equal(each.shape, [N, 3, ...space]);
      await assertClose(each, { shape: each.shape, data: await channels.data() }, 0, "classes are regions");
      const one = Float32Array.from(classes, (v) => Number(v === 2));
      const second = each.slice({ start: [0, 1], end: [N, 2] });
      await assertClose(second, { shape: second.shape, data: of(one) }, 0, "class 2");
    }
  }
});

test("conres.residualLabels() of a volume constant along z has no axial residual but has others", async () => {
  const plane = tensor(
    noise(12, 5).map((v) => Number(v > 0)),
    { shape: [1, 1, 1, 3, 4] },
  );
  const constant = plane.add(zeros([1, 1, 6, 3, 4]));
  const total = (axis: conres.ResidualAxis, first: "zero" | "label" = "zero"): Promise<number> =>
    conres.residualLabels(constant, { axis, first }).sum().item();
  assert.is(await total("axial"), 0);
  assert.is(await total("axial", "label"), await plane.sum().item());
  assert.ok((await total("coronal")) > 0 && (await total("sagittal")) > 0);
  assert.is(await conres.residualLabels(plane).sum().item(), 0);
  // Labels between 0 and 1, of a resampled mask.
  const soft = tensor([0.25, 1, 0.5], { shape: [3, 1, 1] });
  assert.equal(await conres.residualLabels(soft).data(), Float32Array.of(0, 0.75, 0.5));
});

test("conres.residualLoss() and its gradient agree with float64 loops, in all modes", async () => {
  for (const mode of ["paper", "region", "code"] as const) {
    for (const backgroundWeight of [undefined, 0.25]) {
      const options = {
        ...(mode === "region" ? { residualWeights: mode } : { mode }),
        ...(backgroundWeight !== undefined && { backgroundWeight }),
      };
      // In code mode logits near the ends of the clamp would make differences cross them.
      const at = mode !== "code" ? logits : logits.map((v) => (Math.abs(v) < 0.01 || Math.abs(v - 1) < 0.01 ? 0.5 : v));
      await agrees(
        (z) => conres.residualLoss(z, y, options),
        (z) => residualReference(z, targets, mode, backgroundWeight),
        JSON.stringify(options),
        at,
      );
    }
  }
  const [paper, region, code] = (["paper", "region", "code"] as const).map((mode) =>
    residualReference(logits, targets, mode)
  );
  assert.ok(Math.abs(paper - code) > 0.1 && Math.abs(paper - region) > 1e-3, "the modes differ");
});

test("conres.residualLoss() is 0 for an empty or full residual in paper mode, and never NaN", async () => {
  for (const value of [0, 1]) {
    const residual = tensor(new Float32Array(count).fill(value), { shape });
    const byRegion = conres.residualLoss(x, residual, { residualWeights: "region" });
    assert.is(await byRegion.item(), 0);
    const [loss, slope] = valueAndGrad((z: Tensor) => conres.residualLoss(z, residual))(x) as any;
    assert.is(await loss.item(), 0);
    assert.ok((await slope.data()).every((g: number) => g === 0));
    assert.ok(Number.isFinite(await conres.residualLoss(x, residual, { mode: "code" }).item()));
  }
  const extreme = x.mul(1e4);
  for (
    const loss of [
      (z: Tensor) => conres.residualLoss(z, y),
      (z: Tensor) => conres.residualLoss(z, y, { mode: "code" }),
      (z: Tensor) => conres.segmentationLoss(z, y),
      (z: Tensor) => conres.boundaryLoss(z, y),
    ]
  ) {
    const [value, slope] = valueAndGrad(loss)(extreme) as any;
    assert.ok(Number.isFinite(await value.item()) && (await slope.data()).every(Number.isFinite));
  }
});

test("conres.deepResidualLoss() is the finest loss and lambda times the others", async () => {
  const outputs = [x, x.mul(0.5), x.add(1)];
  const each = await Promise.all(outputs.map((z) => conres.residualLoss(z, y).item()));
  for (const lambda of [undefined, 0, 0.1, 1]) {
    const got = await conres.deepResidualLoss(outputs, y, lambda === undefined ? {} : { lambda }).item();
    nearNumber(got, each[0] + (lambda ?? 0.5) * (each[1] + each[2]), 1e-6, `lambda ${lambda}`);
  }
  const code = await Promise.all(outputs.map((z) => conres.residualLoss(z, y, { mode: "code" }).item()));
  nearNumber(
    await conres.deepResidualLoss(outputs, y, { mode: "code" }).item(),
    code[0] + 0.5 * (code[1] + code[2]),
    1e-6,
    "code",
  );
});

/** Eq. 7 as the official code joins regions. */
function segmentationReference(z: ArrayLike<number>, smooth: number): number {
  const part = (f: (v: number, t: number) => number, from: number): number[] =>
    Array.from({ length: V }, (_, i) => f(z[from * V + i], targets[from * V + i]));
  const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
  const rows = Array.from({ length: N * R }, (_, k) => k);
  const entropy = sum(rows.map((k) => mean(part(entropyOf, k)))) / N;
  const dice = rows.map((k) => {
    const both = sum(part((v, t) => sigmoid(v) * t, k));
    return (2 * both) / (sum(part((v) => sigmoid(v), k)) + sum(part((_, t) => t, k)) + smooth);
  });
  return entropy + 1 - mean(dice);
}

test("conres.segmentationLoss() and its gradient agree with float64 loops", async () => {
  for (const smooth of [undefined, 1e-3]) {
    await agrees(
      (z) => conres.segmentationLoss(z, y, smooth === undefined ? {} : { smooth }),
      (z) => segmentationReference(z, smooth ?? 1),
      `smooth ${smooth}`,
    );
  }
});

test("conres.loss() joins its parts: regions, classes, the baseline", async () => {
  const labels = tensor(
    Int32Array.from(noise(N * V, 6), (v) => Math.floor((v + 1) * 2)),
    { shape: [N, ...space] },
  );
  const regions = [[1, 2, 3], [2, 3], [3]];
  const outputs = [x, x.mul(0.7), x.mul(-0.2)];
  const target = regionTargets(labels, regions).cast("f32");
  for (const options of [{}, { lambda: 0.1, mode: "code", axis: "sagittal", first: "label" }] as conres.LossOptions[]) {
    const { axis = "axial", first = "zero", ...own } = options;
    const residual = conres.residualLabels(target, { axis, first });
    const wanted = conres.segmentationLoss(x, target).add(conres.deepResidualLoss(outputs.slice(1), residual, own));
    nearNumber(
      await conres.loss(outputs, labels, { regions, ...options }).item(),
      await wanted.item(),
      1e-6,
      "regions",
    );
  }
  nearNumber(
    await conres.loss([x], labels, { regions }).item(),
    await conres.segmentationLoss(x, target).item(),
    1e-6,
    "baseline",
  );
  // Four classes, whose three residuals leave the background out.
  const scores = random.normal(random.key(1), { shape: [N, 4, ...space] });
  const residual = conres.residualLabels(labels, { classes: 4 });
  const wanted = diceCrossEntropy(scores, labels, { includeBackground: true }).add(conres.residualLoss(x, residual));
  nearNumber(await conres.loss([scores, x], labels).item(), await wanted.item(), 1e-6, "classes");
});

test("conres.signedDistances() agrees with brute force, with spacing; 0 where a region is empty or full", async () => {
  const spacing = [3, 1, 0.5];
  const masks = Float32Array.from(targets);
  masks.fill(1, V, 2 * V);
  const at = (i: number): number[] => [Math.floor(i / 15), Math.floor(i / 5) % 3, i % 5];
  const wanted = Float32Array.from(masks, (v, i) => {
    const row = Math.floor(i / V) * V;
    const here = at(i - row);
    let least = Infinity;
    for (let j = 0; j < V; j++) {
      if (masks[row + j] === v) continue;
      least = Math.min(least, Math.hypot(...at(j).map((p, k) => (p - here[k]) * spacing[k])));
    }
    return least === Infinity ? 0 : v === 1 ? -least : least;
  });
  const got = conres.signedDistances(tensor(masks, { shape }), { spacing });
  await assertClose(got, { shape, data: wanted }, 1e-6, "distances");
  const data = await got.data();
  assert.ok(data.subarray(V, 2 * V).every((v) => v === 0) && data.subarray(5 * V).every((v) => v === 0));
  await agrees(
    (z) => conres.boundaryLoss(z, got),
    (z) => mean(Array.from(z, (v, i) => sigmoid(v) * wanted[i])),
    "boundary loss",
  );
});

test("conres.boundaryLoss() of classes takes softmax without background, and falls for a better outline", async () => {
  const z = noise(N * 4 * V, 7);
  const distances = noise(count, 8);
  let total = 0;
  for (let n = 0; n < N; n++) {
    for (let v = 0; v < V; v++) {
      const e = [0, 1, 2, 3].map((k) => Math.exp(z[(n * 4 + k) * V + v]));
      const all = e[0] + e[1] + e[2] + e[3];
      for (let k = 1; k < 4; k++) total += (e[k] / all) * distances[(n * 3 + k - 1) * V + v];
    }
  }
  const got = conres.boundaryLoss(tensor(z, { shape: [N, 4, ...space] }), tensor(distances, { shape }), {
    multiClass: true,
  });
  nearNumber(await got.item(), total / count, 1e-6, "classes");
  const map = conres.signedDistances(y);
  const right = conres.boundaryLoss(y.mul(20).sub(10), map);
  const wrong = conres.boundaryLoss(y.mul(-20).add(10), map);
  assert.ok((await right.item()) < (await wrong.item()));
});

test("conres.boundarySchedule() raises the boundary's share to 0.99 (Eq. 14)", () => {
  const alpha = conres.boundarySchedule({ steps: 200 });
  nearNumber(alpha(0), 1, 0, "start");
  nearNumber(alpha(100), 0.505, 1e-12, "middle");
  nearNumber(alpha(200), 0.01, 1e-12, "end");
  nearNumber(alpha(300), 0.01, 1e-12, "beyond");
});

test("conres.residualLabels() and others throw on bad arguments with the fix", () => {
  const any = (value: unknown): any => value;
  const values = zeros([2, 4, 3, 5], { dtype: "i32" });
  refuses(() => conres.residualLabels(y, { axis: any(2) }), /axis is "axial", "coronal" or "sagittal", got 2/);
  refuses(() => conres.residualLabels(y, { first: any("pad") }), /first is "zero" or "label", got "pad"/);
  refuses(() => conres.residualLabels(zeros([3, 3])), /\[\.\.\., depth, height, width\]/);
  refuses(() => conres.residualLabels(values, { classes: 1 }), /integer from 2/);
  refuses(() => conres.residualLabels(y, { classes: 3 }), /class values are i32 or u32 \[N, depth, height, width\]/);
  refuses(() => conres.residualLoss(x, y.cast("bool")), /the residual is f32 of the shape of the logits/);
  refuses(() => conres.residualLoss(x, zeros([2, 3, 4, 3, 4])), /the shape of the logits/);
  refuses(() => conres.residualLoss(x, y, { mode: any("raw") }), /mode is "paper" or "code", got "raw"/);
  refuses(() => conres.residualLoss(x, y, { backgroundWeight: -1 }), /backgroundWeight is a number >= 0, got -1/);
  refuses(
    () => conres.residualLoss(x, y, { residualWeights: any("each") }),
    /residualWeights is "batch" or "region", got "each"/,
  );
  refuses(() => conres.residualLoss(x, y, { mode: "code", residualWeights: "region" }), /has no effect in code mode/);
  refuses(() => conres.deepResidualLoss([], y), /without mapping has none/);
  refuses(() => conres.deepResidualLoss([x], y, { lambda: -1 }), /lambda is a number >= 0/);
  refuses(() => conres.segmentationLoss(x, y, { smooth: 0 }), /smooth is a number > 0/);
  refuses(() => conres.segmentationLoss(values, y), /logits are f32 or f16/);
  refuses(() => conres.loss([], values), /outputs are those of conResNet/);
  refuses(() => conres.signedDistances(values), /targets are \[N, R/);
  refuses(() => conres.boundaryLoss(x, zeros([1])), /map of distances is f32 of the shape/);
  refuses(() => conres.boundarySchedule({ steps: 0 }), /steps is a number > 0/);
});

test.run();
