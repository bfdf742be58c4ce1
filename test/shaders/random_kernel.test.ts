/**
 * shaders/random.wgsl.ts: published vectors of Threefry-2x32-20, host against device, and the distributions of uniform
 * and normal numbers by moments, by Kolmogorov and Smirnov's statistic, and number by number.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { threefry } from "../../engine/core/prng.ts";
import { librarySource } from "../../shaders/library.ts";
import { closeRunner, openRunner, runLowered } from "../helpers/conv_kernel_runner.ts";
import type { Runner } from "../helpers/conv_kernel_runner.ts";

let runner: Runner;
test.before(async () => {
  runner = await openRunner();
});
test.after(() => closeRunner(runner));

/** Evaluates a WGSL expression in `a` and `i` for each of `words`, element i being `a`. */
async function evaluate(names: string[], expression: string, words: Uint32Array): Promise<Float32Array> {
  const n = words.length;
  const source = `${librarySource(names)}
@group(0) @binding(0) var<storage, read> words: array<u32>;
@group(0) @binding(1) var<storage, read_write> result: array<f32>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x;
  if (i < ${n}u) {
    let a = words[i];
    result[i] = ${expression};
  }
}`;
  const kernel = { name: "random", source: () => source, workgroups: [Math.ceil(n / 64), 1, 1] as const };
  const lowered = { temps: [], dispatches: [{ kernel, reads: [{ input: 0 }], writes: [{ output: 0 as const }] }] };
  return (await runLowered(runner, lowered, [new Float32Array(words.buffer)], n)).output;
}

/** The first words of `count` device blocks with a fixed key and counters (a, 7), and what the host says. */
async function blocks(key: readonly [number, number], counters: Uint32Array): Promise<Uint32Array> {
  const call = `vg_threefry2x32(vec2u(${key[0]}u, ${key[1]}u), vec2u(a, 7u))`;
  // Half a word each, because a word read as f32 may be NaN, and then its bits need not survive.
  const low = await evaluate(["vg_threefry2x32"], `f32(${call}.x & 0xffffu)`, counters);
  const high = await evaluate(["vg_threefry2x32"], `f32(${call}.x >> 16u)`, counters);
  return Uint32Array.from(low, (word, i) => word + high[i] * 65536);
}

// The known-answer vectors that the authors publish with Random123: key, counter, block.
const known: readonly (readonly [readonly [number, number], readonly [number, number], readonly [number, number]])[] = [
  [[0, 0], [0, 0], [0x6b200159, 0x99ba4efe]],
  [[0xffffffff, 0xffffffff], [0xffffffff, 0xffffffff], [0x1cb996fc, 0xbb002be7]],
  [[0x13198a2e, 0x03707344], [0x243f6a88, 0x85a308d3], [0xc4923a9c, 0x483df7a0]],
];

test("threefry2x32() gives the known answers on the host", () => {
  for (const [key, counter, block] of known) assert.equal(threefry(...key, ...counter), block);
});

test("vg_threefry2x32() gives the known answers on the device", async () => {
  for (const [key, counter, block] of known) {
    const call = `vg_threefry2x32(vec2u(${key[0]}u, ${key[1]}u), vec2u(a, ${counter[1]}u))`;
    const words = Uint32Array.of(counter[0]);
    const same = await evaluate(
      ["vg_threefry2x32"],
      `select(0.0, 1.0, all(${call} == vec2u(${block[0]}u, ${block[1]}u)))`,
      words,
    );
    assert.equal([...same], [1], `key ${key}`);
  }
});

test("threefry2x32() agrees on host and device", async () => {
  const key = [0xdeadbeef, 12345] as const;
  const counters = Uint32Array.from({ length: 5000 }, (_, i) => Math.imul(i, 2654435761));
  const device = await blocks(key, counters);
  counters.forEach((counter, i) => assert.is(device[i], threefry(...key, counter, 7)[0], `counter ${counter}`));
});

const count = 1 << 20;
const random = (seed: number): Uint32Array => Uint32Array.from({ length: count }, (_, i) => threefry(seed, 1, i, 0)[0]);

/** Largest distance between the distribution of `values` and `cumulative`. */
function distance(values: Float32Array, cumulative: (x: number) => number): number {
  const sorted = values.slice().sort();
  return sorted.reduce((worst, x, i) => {
    const c = cumulative(x);
    return Math.max(worst, Math.abs(c - i / count), Math.abs(c - (i + 1) / count));
  }, 0);
}

// 2.2 / sqrt(n) is exceeded once in 8,000 trials; the words are always the same, so this passes always or never.
const limit = 2.2 / Math.sqrt(count);

test("vg_uniform() has the moments and distribution of uniform numbers", async () => {
  const u = await evaluate(["vg_uniform"], "vg_uniform(a)", random(1));
  const mean = u.reduce((s, x) => s + x, 0) / count;
  const variance = u.reduce((s, x) => s + (x - 0.5) ** 2, 0) / count;
  const neighbors = u.reduce((s, x, i) => s + (x - 0.5) * ((u[i + 1] ?? 0.5) - 0.5), 0) / count;
  console.log(`  mean ${mean}, variance ${variance}, KS ${distance(u, (x) => x)} of at most ${limit}`);
  assert.ok(Math.abs(mean - 0.5) < 4 * Math.sqrt(1 / 12 / count), `mean ${mean}`);
  assert.ok(Math.abs(variance - 1 / 12) < 4 * Math.sqrt(1 / 180 / count), `variance ${variance}`);
  assert.ok(Math.abs(neighbors) < 4 / 12 / Math.sqrt(count), `neighbors ${neighbors}`);
  assert.ok(distance(u, (x) => x) < limit);
  const edges = await evaluate(["vg_uniform"], "vg_uniform(a)", Uint32Array.of(0, 255, 256, 0x80000000, 0xffffffff));
  assert.equal([...edges], [0, 0, 2 ** -24, 0.5, 1 - 2 ** -24]);
});

/** The probability that a standard normal number is above z >= 0: a series near 0, else a continued fraction. */
function tail(z: number): number {
  const density = Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI);
  if (z < 3) {
    let term = z;
    let sum = z;
    for (let k = 1; k < 100; k++) {
      term *= (z * z) / (2 * k + 1);
      sum += term;
    }
    return 0.5 - density * sum;
  }
  let fraction = z;
  for (let k = 200; k > 0; k--) fraction = z + k / fraction;
  return density / fraction;
}

test("vg_normal() has the moments and distribution of normal numbers", async () => {
  const z = await evaluate(["vg_normal"], "vg_normal(a)", random(2));
  const moment = (k: number): number => z.reduce((s, x) => s + x ** k, 0) / count;
  const moments = [1, 2, 3, 4].map(moment);
  const ks = distance(z, (x) => (x < 0 ? tail(-x) : 1 - tail(x)));
  console.log(`  moments ${moments.map((m) => m.toFixed(5)).join(", ")}, KS ${ks} of at most ${limit}`);
  // Standard deviations of the sample moments: sqrt of 1, 2, 15 and 96 over n.
  [0, 1, 0, 3].forEach((want, k) => {
    const deviation = Math.sqrt([1, 2, 15, 96][k] / count);
    assert.ok(Math.abs(moments[k] - want) < 4 * deviation, `moment ${k + 1} is ${moments[k]}`);
  });
  assert.ok(ks < limit);
});

test("vg_normal() is the inverse distribution function of its word", async () => {
  const ladder = Array.from({ length: 31 * 64 }, (_, i) => Math.floor(2 ** (i / 64)));
  const words = Uint32Array.from([0, 1, 2, 3, 2 ** 30, 2 ** 31 - 1, ...ladder, ...random(3).subarray(0, 20000)]);
  const z = await evaluate(["vg_normal"], "vg_normal(a)", words);
  const mirrored = await evaluate(["vg_normal"], "vg_normal(a ^ 0x80000000u)", words);
  let worst = 0;
  words.forEach((word, i) => {
    const magnitude = Math.abs(z[i]);
    assert.is(mirrored[i], -z[i]);
    assert.ok(word >= 2 ** 31 ? z[i] <= 0 : z[i] >= 0, `sign of ${z[i]} for ${word}`);
    const q = ((word & 0x7fffffff) + 0.5) / 2 ** 31;
    const density = Math.exp((-magnitude * magnitude) / 2) / Math.sqrt(2 * Math.PI);
    const error = (tail(magnitude) - q / 2) / density;
    worst = Math.max(worst, Math.abs(error) / (magnitude + 0.1));
  });
  console.log(`  largest error ${worst.toExponential(1)}, largest magnitude ${Math.abs(z[0])}`);
  assert.ok(worst < 3e-6, `relative error ${worst}`);
  assert.ok(Math.abs(z[0]) > 6.2 && Math.abs(z[0]) < 6.4);
});

test.run();
