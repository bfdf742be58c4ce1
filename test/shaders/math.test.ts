/**
 * Every function of shaders/math.wgsl.ts and trigonometry.wgsl.ts against float64 on dense ranges and on special values, on the adapter at
 * hand. Prints the largest error of each range.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { mathFunctions, mathSource } from "../../shaders/math.wgsl.ts";
import { trigonometricFunctions } from "../../shaders/trigonometry.wgsl.ts";
import { closeRunner, openRunner, runLowered } from "../helpers/conv_kernel_runner.ts";
import type { Runner } from "../helpers/conv_kernel_runner.ts";

const count = 1 << 17;
let runner: Runner;

test.before(async () => {
  runner = await openRunner();
  console.log(runner.adapterName);
});
test.after(() => closeRunner(runner));

/** Values of `name(x)` or `name(x, y)`; x and y travel as bits, so that NaN and infinity arrive. */
async function evaluate(name: string, x: Float32Array, y?: Float32Array): Promise<Float32Array> {
  const n = x.length;
  const call = y ? `${name}(x[i], y[i])` : `${name}(x[i])`;
  const source = `${mathSource([name], { ...mathFunctions, ...trigonometricFunctions })}
@group(0) @binding(0) var<storage, read> x: array<f32>;
${y ? "@group(0) @binding(1) var<storage, read> y: array<f32>;" : ""}
@group(0) @binding(${y ? 2 : 1}) var<storage, read_write> result: array<f32>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x;
  if (i < ${n}u) { result[i] = ${call}; }
}`;
  const kernel = { name, source: () => source, workgroups: [Math.ceil(n / 64), 1, 1] as const };
  const reads = y ? [{ input: 0 }, { input: 1 }] : [{ input: 0 }];
  const lowered = { temps: [], dispatches: [{ kernel, reads, writes: [{ output: 0 as const }] }] };
  return (await runLowered(runner, lowered, y ? [x, y] : [x], n)).output;
}

/** Evenly spaced from low to high. */
function even(low: number, high: number): Float32Array {
  return Float32Array.from({ length: count }, (_, i) => low + ((high - low) * i) / (count - 1));
}

/** Evenly spaced exponents, from 2^low to 2^high, times `sign`. */
function powers(low: number, high: number, sign = 1): Float32Array {
  return Float32Array.from({ length: count }, (_, i) => sign * 2 ** (low + ((high - low) * i) / (count - 1)));
}

/** Error function by its Taylor series, which in float64 is good to 1e-7 for |x| < 5. */
function erf(x: number): number {
  if (Math.abs(x) > 5) return Math.sign(x);
  let term = x;
  let sum = x;
  for (let n = 1; n < 200; n++) {
    term *= (-x * x) / n;
    sum += term / (2 * n + 1);
  }
  return (sum * 2) / Math.sqrt(Math.PI);
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
const softplus = (x: number): number => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));

/** A range of inputs, and the error that is allowed there: relative, or absolute where that is given. */
interface Range {
  readonly name: string;
  readonly reference: (x: number) => number;
  readonly x: () => Float32Array;
  readonly relative?: number;
  readonly absolute?: number;
}

const ranges: Range[] = [
  { name: "vg_exp", reference: Math.exp, x: () => even(-87, 88.7), relative: 3e-7 },
  { name: "vg_exp", reference: Math.exp, x: () => even(-1, 1), relative: 2e-7 },
  { name: "vg_exp", reference: Math.exp, x: () => powers(-40, -1, -1), relative: 2e-7 },
  { name: "vg_expm1", reference: Math.expm1, x: () => even(-30, 88.7), relative: 4e-7 },
  { name: "vg_expm1", reference: Math.expm1, x: () => even(-1.5, 1.5), relative: 4e-7 },
  { name: "vg_expm1", reference: Math.expm1, x: () => powers(-100, 0), relative: 4e-7 },
  { name: "vg_expm1", reference: Math.expm1, x: () => powers(-100, 0, -1), relative: 4e-7 },
  { name: "vg_log", reference: Math.log, x: () => powers(-125.9, 127.9), relative: 3e-7 },
  { name: "vg_log", reference: Math.log, x: () => even(0.5, 2), relative: 4e-7 },
  { name: "vg_log", reference: Math.log, x: () => even(0.999, 1.001), relative: 3e-7 },
  { name: "vg_log1p", reference: Math.log1p, x: () => even(-0.9999, 3), relative: 4e-7 },
  { name: "vg_log1p", reference: Math.log1p, x: () => powers(-100, 127.9), relative: 4e-7 },
  { name: "vg_log1p", reference: Math.log1p, x: () => powers(-100, -0.01, -1), relative: 4e-7 },
  { name: "vg_sin", reference: Math.sin, x: () => even(-10, 10), absolute: 2e-7 },
  { name: "vg_sin", reference: Math.sin, x: () => even(-1e4, 1e4), absolute: 2e-7 },
  { name: "vg_sin", reference: Math.sin, x: () => even(-1e6, 1e6), absolute: 0.13 },
  { name: "vg_sin", reference: Math.sin, x: () => powers(-100, 1), relative: 4e-7 },
  { name: "vg_cos", reference: Math.cos, x: () => even(-10, 10), absolute: 2e-7 },
  { name: "vg_cos", reference: Math.cos, x: () => even(-1e4, 1e4), absolute: 2e-7 },
  { name: "vg_cos", reference: Math.cos, x: () => powers(-100, 0), relative: 2e-7 },
  { name: "vg_tanh", reference: Math.tanh, x: () => even(-12, 12), relative: 6e-7 },
  { name: "vg_tanh", reference: Math.tanh, x: () => even(-1, 1), relative: 6e-7 },
  { name: "vg_tanh", reference: Math.tanh, x: () => powers(-100, 100), relative: 6e-7 },
  { name: "vg_sigmoid", reference: sigmoid, x: () => even(-87, 87), relative: 4e-7 },
  { name: "vg_sigmoid", reference: sigmoid, x: () => even(-10, 10), relative: 4e-7 },
  { name: "vg_softplus", reference: softplus, x: () => even(-87, 87), relative: 4e-7 },
  { name: "vg_softplus", reference: softplus, x: () => even(-3, 3), relative: 4e-7 },
  { name: "vg_erf", reference: erf, x: () => even(-4.5, 4.5), relative: 6e-7, absolute: 6e-7 },
  { name: "vg_erf", reference: erf, x: () => powers(-100, 2), relative: 6e-7 },
  { name: "vg_exp2", reference: (x) => 2 ** x, x: () => even(-125.9, 127.9), relative: 3e-7 },
  { name: "vg_exp2", reference: (x) => 2 ** x, x: () => even(-1, 1), relative: 3e-7 },
  { name: "vg_log2", reference: Math.log2, x: () => powers(-125.9, 127.9), relative: 4e-7 },
  { name: "vg_log2", reference: Math.log2, x: () => even(0.5, 2), relative: 4e-7 },
  { name: "vg_tan", reference: Math.tan, x: () => even(-1.5, 1.5), relative: 8e-7 },
  { name: "vg_tan", reference: Math.tan, x: () => powers(-100, 0), relative: 6e-7 },
  { name: "vg_atan", reference: Math.atan, x: () => even(-20, 20), relative: 4e-7 },
  { name: "vg_atan", reference: Math.atan, x: () => powers(-100, 100), relative: 4e-7 },
  { name: "vg_asin", reference: Math.asin, x: () => even(-1, 1), relative: 4e-7 },
  { name: "vg_asin", reference: Math.asin, x: () => powers(-100, 0), relative: 4e-7 },
  { name: "vg_acos", reference: Math.acos, x: () => even(-1, 1), absolute: 5e-7 },
  { name: "vg_acos", reference: (x) => Math.acos(x), x: () => even(0.5, 1), relative: 6e-7 },
  { name: "vg_sinh", reference: Math.sinh, x: () => even(-89.4, 89.4), relative: 8e-7 },
  { name: "vg_sinh", reference: Math.sinh, x: () => powers(-100, 2), relative: 8e-7 },
  { name: "vg_cosh", reference: Math.cosh, x: () => even(-89.4, 89.4), relative: 8e-7 },
  { name: "vg_asinh", reference: Math.asinh, x: () => even(-20, 20), relative: 6e-7 },
  { name: "vg_asinh", reference: Math.asinh, x: () => powers(-100, 127), relative: 6e-7 },
  { name: "vg_acosh", reference: Math.acosh, x: () => even(1, 20), relative: 8e-7 },
  { name: "vg_acosh", reference: Math.acosh, x: () => powers(0.1, 127), relative: 8e-7 },
  { name: "vg_atanh", reference: Math.atanh, x: () => even(-0.99, 0.99), relative: 8e-7 },
  { name: "vg_atanh", reference: Math.atanh, x: () => powers(-100, -0.1), relative: 8e-7 },
  { name: "vg_sqrt", reference: Math.sqrt, x: () => powers(-125.9, 127.9), relative: 6e-7 },
  { name: "vg_rsqrt", reference: (x) => 1 / Math.sqrt(x), x: () => powers(-125.9, 127.9), relative: 3e-7 },
];

for (const range of ranges) {
  const x = range.x();
  const label = `${range.name}() is accurate on [${x[0].toPrecision(3)}, ${x[count - 1].toPrecision(3)}]`;
  test(label, async () => {
    const got = await evaluate(range.name, x);
    let relative = 0;
    let absolute = 0;
    for (let i = 0; i < count; i++) {
      const want = range.reference(x[i]);
      const error = Math.abs(got[i] - want);
      assert.not(Number.isNaN(error), `${range.name}(${x[i]}) = ${got[i]}, not ${want}`);
      absolute = Math.max(absolute, error);
      if (want !== 0) relative = Math.max(relative, error / Math.abs(want));
    }
    console.log(`  ${label}: error ${relative.toExponential(1)} relative, ${absolute.toExponential(1)} absolute`);
    if (range.relative !== undefined) assert.ok(relative <= range.relative, `relative error ${relative}`);
    if (range.absolute !== undefined) assert.ok(absolute <= range.absolute, `absolute error ${absolute}`);
  });
}

test("vg_pow() of positive bases is accurate", async () => {
  const bases = powers(-125, 127);
  const bands: [string, (i: number) => number, (i: number) => number][] = [
    ["wide", (i) => bases[i], (i) => Math.sin(i) * 0.69],
    ["extreme results", (i) => bases[i], (i) => (Math.sin(i) * 86) / (Math.abs(Math.log(bases[i])) + 0.01)],
    ["base near 1", (i) => 1 + (i - count / 2) * 2 ** -22, (i) => Math.sin(i) * 2000],
    ["base in [0.5, 2]", (i) => 0.5 + (1.5 * i) / count, (i) => Math.sin(i) * 120],
  ];
  for (const [name, base, exponent] of bands) {
    const x = Float32Array.from({ length: count }, (_, i) => base(i));
    const y = Float32Array.from({ length: count }, (_, i) => exponent(i));
    const got = await evaluate("vg_pow", x, y);
    let worst = 0;
    for (let i = 0; i < count; i++) {
      const want = x[i] ** y[i];
      if (want < 1.2e-38 || want > 3.4e38) continue;
      const error = Math.abs(got[i] - want) / want;
      assert.not(Number.isNaN(error), `vg_pow(${x[i]}, ${y[i]}) = ${got[i]}, not ${want}`);
      worst = Math.max(worst, error);
    }
    console.log(`  vg_pow, ${name}: largest error ${worst.toExponential(1)} relative`);
    assert.ok(worst <= 4e-7, `${name}: relative error ${worst}`);
  }
});

/** Equal as f32, where NaN equals NaN and anything below the normal numbers is zero. */
function same(got: number, want: number, tolerance = 1e-6): boolean {
  const f = Math.fround(want);
  if (Number.isNaN(f)) return Number.isNaN(got);
  if (!Number.isFinite(f)) return got === f;
  if (Math.abs(f) < 1.1754944e-38) return Math.abs(got) < 1.1754944e-38;
  return Math.abs(got - f) <= tolerance * Math.abs(f);
}

const special = [
  0,
  -0,
  1,
  -1,
  0.5,
  -0.5,
  2,
  -2,
  3,
  -3,
  10,
  -10,
  20,
  -20,
  87,
  -87,
  88,
  -88,
  88.7,
  88.8,
  89,
  -89,
  100,
  -100,
  103.9,
  104,
  -104,
  200,
  -200,
  1000,
  -1000,
  1e-30,
  -1e-30,
  1.1754944e-38,
  1e10,
  -1e10,
  1e30,
  -1e30,
  3.4028234e38,
  -3.4028234e38,
  Infinity,
  -Infinity,
  NaN,
];

test("vg_exp() and others take special values as C does", async () => {
  const references: Record<string, (x: number) => number> = {
    vg_exp: Math.exp,
    vg_expm1: Math.expm1,
    vg_log: Math.log,
    vg_log1p: Math.log1p,
    vg_tanh: Math.tanh,
    vg_sigmoid: sigmoid,
    vg_softplus: softplus,
    vg_erf: erf,
    vg_sqrt: Math.sqrt,
    vg_rsqrt: (x) => 1 / Math.sqrt(x),
    vg_exp2: (x) => 2 ** x,
    vg_log2: Math.log2,
    vg_atan: Math.atan,
    vg_asin: Math.asin,
    vg_acos: Math.acos,
    vg_sinh: Math.sinh,
    vg_cosh: Math.cosh,
    vg_asinh: Math.asinh,
    vg_acosh: Math.acosh,
    vg_atanh: Math.atanh,
  };
  const x = Float32Array.from(special);
  for (const [name, reference] of Object.entries(references)) {
    const got = await evaluate(name, x);
    for (let i = 0; i < x.length; i++) {
      const want = reference(x[i]);
      assert.ok(same(got[i], want), `${name}(${x[i]}) = ${got[i]}, not ${want}`);
    }
  }
});

test("vg_sin() and vg_cos() stay within [-1, 1], and are NaN of infinity and NaN", async () => {
  const x = Float32Array.from({ length: 4096 }, (_, i) => (i % 2 ? -1 : 1) * 2 ** (i / 32 - 0.3));
  for (const name of ["vg_sin", "vg_cos"]) {
    for (const y of await evaluate(name, x)) assert.ok(Math.abs(y) <= 1 + 1e-7, `${name} gave ${y}`);
    const edge = await evaluate(name, Float32Array.of(Infinity, -Infinity, NaN));
    assert.ok(edge.every(Number.isNaN), `${name} of infinity or NaN: ${edge}`);
  }
});

test("vg_pow() takes every pair of special values as C does", async () => {
  const integers = [4, -4, 5, -5, 16777216, -16777216, 16777215, -16777215];
  const more = [...special, ...integers, 1 / 3, -1 / 3, 1.0000001, 0.9999999];
  const pairs = more.flatMap((x) => more.map((y) => [Math.fround(x), Math.fround(y)] as const));
  const got = await evaluate("vg_pow", Float32Array.from(pairs, (p) => p[0]), Float32Array.from(pairs, (p) => p[1]));
  pairs.forEach(([x, y], i) => {
    // JavaScript differs from C in two cases: 1^y and (-1)^(+-inf) are 1 in C.
    const want = x === 1 || (x === -1 && Math.abs(y) === Infinity) ? 1 : x ** y;
    assert.ok(same(got[i], want), `vg_pow(${x}, ${y}) = ${got[i]}, not ${want}`);
  });
});

test("vg_atan2() takes every pair of special values as C does", async () => {
  const pairs = special.flatMap((y) => special.map((x) => [Math.fround(y), Math.fround(x)] as const));
  const got = await evaluate("vg_atan2", Float32Array.from(pairs, (p) => p[0]), Float32Array.from(pairs, (p) => p[1]));
  pairs.forEach(([y, x], i) => {
    const want = Math.atan2(y, x);
    assert.ok(same(got[i], want), `vg_atan2(${y}, ${x}) = ${got[i]}, not ${want}`);
  });
});

test("vg_mod() is Python's remainder", async () => {
  const values = [0, 1, -1, 0.5, 2.5, -2.5, 3, -3, 7, -7, 10.25, -10.25, 1000, Infinity, -Infinity, NaN];
  const pairs = values.flatMap((a) => values.map((b) => [a, b] as const));
  const got = await evaluate("vg_mod", Float32Array.from(pairs, (p) => p[0]), Float32Array.from(pairs, (p) => p[1]));
  pairs.forEach(([a, b], i) => {
    const r = a % b;
    const want = r !== 0 && r < 0 !== b < 0 ? r + b : r;
    assert.ok(same(got[i], want), `vg_mod(${a}, ${b}) = ${got[i]}, not ${want}`);
  });
});

test("vg_is_nan() and vg_is_finite() read the bits", async () => {
  const x = Float32Array.of(0, 1, -1, 3.4028234e38, Infinity, -Infinity, NaN);
  mathFunctions.probe_nan = {
    source: "fn probe_nan(x: f32) -> f32 { return select(0.0, 1.0, vg_is_nan(x)); }",
    needs: ["vg_is_nan"],
  };
  mathFunctions.probe_finite = {
    source: "fn probe_finite(x: f32) -> f32 { return select(0.0, 1.0, vg_is_finite(x)); }",
    needs: ["vg_is_finite"],
  };
  assert.equal([...await evaluate("probe_nan", x)], [0, 0, 0, 0, 0, 0, 1]);
  assert.equal([...await evaluate("probe_finite", x)], [1, 1, 1, 1, 0, 0, 0]);
  delete mathFunctions.probe_nan;
  delete mathFunctions.probe_finite;
});

test("mathSource() gives each function once, after what it needs, and throws on unknown names", () => {
  const source = mathSource(["vg_tanh", "vg_exp", "vg_tanh"]);
  for (const name of ["vg_tanh", "vg_exp", "vg_exp_core", "vg_exp2_bits"]) {
    assert.is(source.split(`fn ${name}(`).length, 2, name);
  }
  assert.ok(source.indexOf("fn vg_exp_core(") < source.indexOf("fn vg_tanh("));
  assert.is(mathSource([]), "");
  assert.throws(() => mathSource(["vg_nothing"]), /no function vg_nothing/);
  assert.throws(() => mathSource(["toString"]), /no function toString/);
});

test.run();
