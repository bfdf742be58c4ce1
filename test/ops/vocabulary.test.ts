/** Operators of the everyday vocabulary against PyTorch 1.13 in float64, and on empty and extreme inputs. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../engine/mod.ts";
import { type Tensor, tensor } from "../../engine/mod.ts";
import { near } from "../helpers/compare.ts";
import { goldenJson } from "../helpers/golden.ts";
import { type GoldenCase, goldenCases, wave } from "../helpers/reference/golden_cases.ts";
import { refuses } from "../helpers/refuse.ts";

const A = wave([3, 5], 0.4);
const positive = A.abs().add(0.3);
const [unit, other] = [A.mul(0.9), wave([3, 5], 1.1)];
const hole = tensor(Float32Array.from({ length: 15 }, (_, k) => Number(![2, 5, 8].includes(k))), { shape: [3, 5] });
const zeros = A.mul(hole);
const line = wave([2, 4, 9], 0.2);
const image = wave([1, 2, 7, 9], 0.2);

const unary: Record<string, Tensor> = {
  exp2: A.mul(3),
  expm1: A,
  log2: positive,
  reciprocal: positive,
  tan: A,
  asin: unit,
  acos: unit,
  atan: A.mul(3),
  sinh: A.mul(2),
  cosh: A.mul(2),
  asinh: A.mul(3),
  acosh: positive.add(1),
  atanh: unit,
  round: A.mul(3),
  ceil: A.mul(3),
  trunc: A.mul(3),
  silu: A.mul(3),
  selu: A.mul(3),
  hardSigmoid: A.mul(4),
  hardSwish: A.mul(4),
  mish: A.mul(3),
  globalAvgPool: image,
  globalMaxPool: image,
};
const operators = vg as unknown as Record<string, (x: Tensor) => Tensor>;
const binary = vg as unknown as Record<string, (a: Tensor, b: Tensor) => Tensor>;

const cases: Record<string, GoldenCase> = {
  ...Object.fromEntries(Object.entries(unary).map(([name, x]) => [name, [operators[name], x]])),
  elu: [(x) => x.elu({ alpha: 0.7 }), A.mul(3)],
  atan2: [(x) => x.atan2(other), A],
  "atan2 x": [(x) => vg.atan2(other, x), A],
  mod: [(x) => x.mod(other), A.mul(5)],
  "mod divisor": [(x) => other.mul(5).mod(x), positive],
  lerp: [(x) => x.lerp(other, 0.3), A],
  "lerp tensor": [(x) => other.lerp(wave([3, 5], 2.1), x), positive],
  prod: [(x) => x.prod(), A],
  "prod 1": [(x) => x.prod({ axes: [1] }), A],
  "prod zeros": [(x) => x.prod({ axes: [1] }), zeros],
  cumprod: [(x) => x.cumprod(), A],
  "cumprod 0": [(x) => x.cumprod({ axis: 0 }), A],
  "cumprod zeros": [(x) => x.cumprod(), zeros],
  cummax: [(x) => x.cummax(), wave([3, 17], 0.4)],
  cummin: [(x) => x.cummin({ axis: 0 }), wave([7, 3], 0.4)],
  std: [(x) => x.std({ axes: [1] }), A],
  "std all": [(x) => x.std({ correction: 0 }), A],
  norm: [(x) => x.norm({ axes: [1] }), A],
  "norm 1": [(x) => x.norm({ axes: [0], ord: 1 }), A],
  "norm 3": [(x) => x.norm({ ord: 3 }), A],
  "norm inf": [(x) => x.norm({ axes: [1], ord: Infinity }), A],
  "norm -inf": [(x) => x.norm({ axes: [1], ord: -Infinity }), A],
  "norm 0": [(x) => x.norm({ axes: [1], ord: 0 }), A],
  conv1d: [
    (x) => vg.conv1d(x, wave([6, 2, 3], 1), { bias: wave([6], 2), stride: 2, padding: 2, dilation: 2, groups: 2 }),
    line,
  ],
  "conv1d weight": [(w) => vg.conv1d(line, w, { padding: 1, groups: 2 }), wave([6, 2, 3], 1)],
  "conv1d same": [(x) => vg.conv1d(x, wave([3, 4, 4], 1), { padding: "same", dilation: 3 }), line],
  "conv2d same": [(x) => vg.conv2d(x, wave([3, 2, 2, 3], 1), { padding: "same" }), wave([1, 2, 5, 4], 0.2)],
  convTranspose1d: [
    (x) => vg.convTranspose1d(x, wave([4, 3, 4], 1), { stride: 3, padding: 1, outputPadding: 2 }),
    line,
  ],
  maxPool1d: [(x) => vg.maxPool1d(x, { kernel: 3, stride: 2, padding: 1 }), line],
  avgPool1d: [(x) => vg.avgPool1d(x, { kernel: 4, stride: 3, padding: 2 }), line],
  adaptiveAvgPool: [(x) => vg.adaptiveAvgPool(x, { size: [3, 4] }), image],
  adaptiveMaxPool: [(x) => vg.adaptiveMaxPool(x, { size: [3, 4] }), image],
  "adaptiveAvgPool 3d": [(x) => vg.adaptiveAvgPool(x, { size: [2, 3, 5] }), wave([1, 2, 4, 7, 5], 0.2)],
  "adaptiveMaxPool up": [(x) => vg.adaptiveMaxPool(x, { size: 13 }), line],
  ...Object.fromEntries((["reflect", "replicate", "circular"] as const).map((mode) => [
    `pad ${mode}`,
    [(x: Tensor) => x.pad({ before: [0, 0, 2, 3], after: [0, 0, 4, 1], mode }), image] as const,
  ])),
  layerNorm: [
    (x) => vg.layerNorm(x, { normalizedShape: [4, 9], weight: wave([4, 9], 1), bias: wave([4, 9], 2), eps: 1e-3 }),
    line,
  ],
  rmsNorm: [(x) => vg.rmsNorm(x, { normalizedShape: [4, 9], weight: wave([4, 9], 1), eps: 1e-3 }), line],
  pixelShuffle: [(x) => vg.pixelShuffle(x, { factor: 2 }), wave([2, 8, 3, 4], 0.2)],
  pixelUnshuffle: [(x) => vg.pixelUnshuffle(x, { factor: 2 }), wave([2, 3, 4, 6], 0.2)],
  unfold: [
    (x) => vg.unfold(x, { kernel: [2, 3], dilation: [2, 1], padding: [1, 2], stride: [2, 1] }),
    image,
  ],
  "resize scale": [(x) => vg.resize(x, { scale: [1.5, 0.6], mode: "linear" }), image],
};
goldenCases("vocabulary", cases);

test("every case of the file is tested", () => {
  assert.equal(Object.keys(goldenJson("vocabulary")).sort(), [...Object.keys(cases), "nanToNum"].sort());
});

test("nanToNum() is torch.nan_to_num, and passes no gradient where it replaced", async () => {
  const values = [...await A.data()];
  [values[0], values[6], values[12]] = [NaN, Infinity, -Infinity];
  const x = tensor(values, { shape: [3, 5] });
  const options = { nan: 0.5, posinf: 7, neginf: -8 };
  near(await x.nanToNum(options).data(), goldenJson("vocabulary").nanToNum.value, 1e-6, "value");
  const slope = await vg.grad((x: Tensor) => x.nanToNum(options).sum())(x).data();
  assert.equal([...slope], values.map((v) => Number(Number.isFinite(v))));
  assert.is(await tensor([Infinity]).nanToNum().sum().item(), 3.4028234663852886e38);
  const whole = tensor([1, 2], { dtype: "i32" });
  assert.is(whole.nanToNum(), whole);
});

test("any() and all() over axes, NaN and empty axes are those of NumPy", async () => {
  const x = tensor([[0, NaN, 0], [0, 0, 0], [1, 2, 3]]);
  assert.equal(await x.any({ axes: [1] }).array(), [true, false, true]);
  assert.equal(await x.all({ axes: [1], keepDims: true }).array(), [[false], [false], [true]]);
  assert.is(await x.any().item(), 1);
  const empty = vg.zeros([2, 0]);
  assert.equal(await empty.any({ axes: [1] }).array(), [false, false]);
  assert.equal(await empty.all({ axes: [1] }).array(), [true, true]);
});

test("argmin() takes the first of equals and the extremes of integers", async () => {
  assert.equal(await tensor([[3, 1, 1], [0, 2, -1]]).argmin({ axis: 1 }).array(), [1, 2]);
  assert.is(await tensor([5, -(2 ** 31), 2 ** 31 - 1], { dtype: "i32" }).argmin().item(), 1);
  assert.is(await tensor([2 ** 32 - 1, 7, 0, 0], { dtype: "u32" }).argmin().item(), 2);
  await refuses(() => vg.zeros([0]).argmin(), /^argmin: an empty axis of \[0\] has no argmin/);
});

test("prod(), cumprod(), cummax() of integers, empty axes and long lines are exact", async () => {
  const x = tensor([[1, 2, 3], [4, -5, 6]], { dtype: "i32" });
  assert.equal(await x.prod({ axes: [1] }).array(), [6, -120]);
  assert.equal(await x.cumprod({ axis: 1, reverse: true }).array(), [[6, 6, 3], [-120, -30, 6]]);
  assert.equal(await vg.zeros([2, 0]).prod({ axes: [1] }).array(), [1, 1]);
  assert.is(await tensor([true, true, false]).prod().item(), 0);
  const values = Float32Array.from({ length: 1000 }, (_, k) => 1 + 0.01 * Math.sin(k));
  let running = 1;
  const wanted = Float64Array.from(values, (v) => (running *= v));
  near(await tensor(values).cumprod().data(), wanted, 5e-6, "cumprod");
  near([await tensor(values).prod().item()], [running], 2e-6, "prod");
  const steps = Int32Array.from({ length: 999 }, (_, k) => (k * 7919) % 1009);
  let most = -1;
  assert.equal([...await tensor(steps).cummax().data()], [...steps].map((v) => (most = Math.max(most, v))));
  assert.equal([...await tensor([1, NaN, 3, 0]).cummax().data()], [1, NaN, NaN, NaN]);
});

test("quantile() and median() are NumPy's, with NaN, ties, one value and every interpolation", async () => {
  const x = tensor([[3, 1, 2, 8], [5, 5, 5, 6]]);
  // numpy.quantile(x, [0.1, 0.5, 0.9], axis=1, method=...)
  const wanted = {
    linear: [1.3, 5, 2.5, 5, 6.5, 5.7],
    lower: [1, 5, 2, 5, 3, 5],
    higher: [2, 5, 3, 5, 8, 6],
    nearest: [1, 5, 3, 5, 8, 6],
    midpoint: [1.5, 5, 2.5, 5, 5.5, 5.5],
  };
  for (const [interpolation, values] of Object.entries(wanted)) {
    const got = x.quantile({ q: [0.1, 0.5, 0.9], axis: 1, interpolation: interpolation as "linear" });
    assert.equal([...got.shape], [3, 2]);
    near(await got.data(), values, 1e-6, interpolation);
  }
  assert.is(await x.median().item(), 5);
  assert.equal(await x.median({ axis: 1, keepDims: true }).array(), [[2.5], [5]]);
  assert.equal(await x.median({ keepDims: true }).array(), [[5]]);
  assert.ok(Number.isNaN(await tensor([1, NaN, 3]).quantile({ q: 0 }).item()));
  assert.is(await tensor([7], { dtype: "i32" }).quantile({ q: 0.3 }).item(), 7);
  const slope = await vg.grad((x: Tensor) => x.quantile({ q: 0.25 }))(tensor([4, 1, 3, 2])).data();
  near(slope, [0, 0.25, 0, 0.75], 1e-6, "gradient");
  await refuses(() => vg.zeros([0]).median(), /^median: an empty axis of \[0\] has no median/);
});

test("norm() has the gradient 0 at 0, and norm() of an empty axis is 0", async () => {
  for (const ord of [1, 2, 3]) {
    const slope = await vg.grad((x: Tensor) => x.norm({ ord }))(vg.zeros([3])).data();
    assert.equal([...slope], [0, 0, 0], `ord ${ord}`);
  }
  assert.equal(await vg.zeros([2, 0]).norm({ axes: [1] }).array(), [0, 0]);
  await refuses(() => vg.zeros([0]).norm({ ord: Infinity }), /^norm: an empty axis of \[0\] has no largest/);
});

test("bit operators are those of JavaScript, with shifts of 32 and more", async () => {
  const values = [0, 1, -1, 6, -7, 2 ** 31 - 1, -(2 ** 31), 123456789];
  const pairs = values.flatMap((a) => values.map((b) => [a, b] as const));
  const [a, b] = [0, 1].map((k) => tensor(Int32Array.from(pairs, (pair) => pair[k])));
  const rules: [string, (a: number, b: number) => number][] = [
    ["bitwiseAnd", (a, b) => a & b],
    ["bitwiseOr", (a, b) => a | b],
    ["bitwiseXor", (a, b) => a ^ b],
    ["mod", (a, b) => (b === 0 ? 0 : ((a % b) + b) % b)],
  ];
  for (const [name, rule] of rules) {
    const got = await binary[name](a, b).data();
    pairs.forEach(([x, y], k) => assert.is(got[k] + 0, rule(x, y) + 0, `${name}(${x}, ${y})`));
  }
  assert.equal([...await a.bitwiseNot().data()], pairs.map(([x]) => ~x));
  for (const by of [0, 1, 31, 32, 40]) {
    const left = await a.leftShift(by).data();
    const right = await a.rightShift(by).data();
    const word = await a.cast("u32").rightShift(by).data();
    pairs.forEach(([x], k) => {
      assert.is(left[k], by > 31 ? 0 : x << by, `${x} << ${by}`);
      assert.is(right[k], x >> Math.min(31, by), `${x} >> ${by}`);
      assert.is(word[k], by > 31 ? 0 : x >>> by, `u32 ${x} >> ${by}`);
    });
  }
  await refuses(() => tensor([1.5]).bitwiseAnd(1), /^bitwiseAnd: operands are integers, got f32; cast\("i32"\) them/);
});

test("matmul() of integers is exact beyond the integers of f32", async () => {
  const a = tensor([[20000, 3], [-7, 2 ** 30]], { dtype: "i32" });
  const b = tensor([[30001], [2]], { dtype: "i32" });
  assert.equal(await a.matmul(b).array(), [[600020006], [2147273641]]);
  const stacked = vg.stack([a, a]).matmul(b);
  assert.equal([stacked.dtype, [...stacked.shape]], ["i32", [2, 2, 1]]);
  const words = tensor([[2 ** 32 - 1]], { dtype: "u32" });
  assert.equal(await words.matmul(words).array(), [[1]]);
  await refuses(
    () => a.matmul(tensor([[1], [2]])),
    /^matmul: the left factor is a tensor of rank >= 1, and both are f32/,
  );
});

test("pad(), resize(), layerNorm() and others say what they want", async () => {
  await refuses(
    () => A.pad({ before: 5, mode: "reflect" }),
    /mode "reflect" pads axis 0 of \[3, 5\] by at most 2, got 5/,
  );
  await refuses(() => A.pad({ before: 1, mode: "circular", value: 2 }), /value is for mode "constant"/);
  await refuses(() => vg.zeros([0]).pad({ before: 1, mode: "replicate" }), /by at most 0/);
  await refuses(() => vg.conv1d(line, wave([3, 4, 3], 1), { padding: "same", stride: 2 }), /"same" is for stride 1/);
  await refuses(() => vg.resize(image, { scale: 0.01 }), /^resize: scale is a number or 2 of them that leave a voxel/);
  await refuses(() => vg.resize(image, { scale: 2, size: 3 }), /^resize: give size or scale/);
  await refuses(
    () => vg.layerNorm(line, { normalizedShape: [9, 4] }),
    /^layerNorm: normalizedShape is that of the last/,
  );
  await refuses(() => vg.pixelShuffle(image, { factor: 2 }), /^pixelShuffle: the channels are a multiple of 2\^2 = 4/);
  await refuses(() => vg.adaptiveAvgPool(image, { size: 0 }), /^adaptiveAvgPool: size is an integer >= 1/);
});

test.after(vg.closeDevice);
test.run();
