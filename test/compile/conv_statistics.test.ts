/**
 * Convolutions for GPUs that leave moments of what they write to a norm that follows: which do, and what comes of it.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { compile, type Tensor, tensor, type Tree, tree } from "../../engine/mod.ts";
import * as vg from "../../engine/mod.ts";
import { device } from "../../engine/gpu/mod.ts";
import { moments } from "../../engine/ops/reduce/moments.ts";
import { lowerPartialMoments } from "../../shaders/moments_parts.wgsl.ts";
import { closeRunner, openRunner, runLowered } from "../helpers/conv_kernel_runner.ts";
import { convForwardVariants } from "../../shaders/conv/variants.ts";
import type { ConvParams } from "../../shaders/conv/variants.ts";
import type { Fused, Slot, SubgroupMatrix } from "../../shaders/types.ts";
import { NO_NUMBERS } from "../../shaders/sizes.ts";
import { emulateMatrices } from "../helpers/conv_matrix_emulation.ts";
import { relativeError } from "../helpers/compare.ts";
import { noise } from "../helpers/noise.ts";

const { target } = await device();
const runner = await openRunner();
const usual = { ...target };
const half = target.features.has("shader-f16");

type Size3 = readonly [number, number, number];
const count = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
const field = (seed: number, ...shape: number[]): Tensor => tensor(noise(count(shape), seed), { shape });

type Compute = (...args: Tensor[]) => Tree;

/** Does as on a GPU, where kernels leave moments or not. */
async function onGpu<T>(sharesStatistics: boolean, work: () => Promise<T>): Promise<T> {
  Object.assign(target, { software: false, fusesPrologues: true, sharesStatistics });
  try {
    return await work();
  } finally {
    Object.assign(target, usual);
  }
}

/** What f gives, and its kernels. */
const outcome = (sharesStatistics: boolean, f: Compute, args: Tensor[]) =>
  onGpu(sharesStatistics, async () => {
    const compiled = compile(f);
    const results = tree.leaves(await compiled(...args));
    const values = await Promise.all(results.map(async (t) => Float32Array.from(await t.data())));
    return { kernels: compiled.programs()[0].kernels, values };
  });

/** Its kernels alone. */
const kernelsOf = (sharesStatistics: boolean, f: Compute, args: Tensor[]): Promise<readonly string[]> =>
  onGpu(sharesStatistics, async () => (await compile(f).plan(...args)).kernels);

const leaving = (kernels: readonly string[]): readonly string[] => kernels.filter((name) => name.includes("&moments"));
const joins = (kernels: readonly string[]): readonly string[] => kernels.filter((name) => name.startsWith("moments."));
const reading = (kernels: readonly string[]): readonly string[] =>
  kernels.filter((name) => /^moments(\.parts|\.merge|$| )/.test(name));

interface Case {
  batch?: number;
  /**
   * Input and output channels; the former are one step of the product, whose parts else are summed by another kernel.
   */
  channels: readonly [number, number];
  size: Size3;
  kernel?: number;
  stride?: number;
  dilation?: number;
  convGroups?: number;
  bias?: number;
  groups: number;
  residual?: boolean;
  /** Whether the convolution leaves moments; default true. */
  leaves?: boolean;
}

const cases: Record<string, Case> = {
  "tiles overhang": { channels: [6, 10], size: [5, 7, 31], groups: 2 },
  "one group, more channels than a tile has rows": { channels: [7, 75], size: [3, 5, 23], kernel: 1, groups: 1 },
  "tiles of 32 rows": { channels: [8, 20], size: [10, 11, 12], kernel: 1, groups: 4 },
  "stride, dilation and bias": {
    channels: [5, 9],
    size: [27, 25, 29],
    stride: 2,
    dilation: 2,
    bias: 1,
    groups: 3,
  },
  "groups of the convolution": { channels: [12, 18], size: [9, 10, 13], convGroups: 2, bias: 1, groups: 6 },
  "a residual": { channels: [6, 10], size: [9, 11, 13], residual: true, groups: 5 },
  "two samples of whole tiles, an instance norm": { batch: 2, channels: [6, 10], size: [8, 8, 18], groups: 10 },
  "two samples in one tile": { batch: 2, channels: [6, 10], size: [9, 11, 13], groups: 5, leaves: false },
  "parts of the sums": { channels: [40, 10], size: [9, 11, 13], groups: 5, leaves: false },
  "few channels, which have another kernel": { channels: [3, 10], size: [9, 11, 13], groups: 5, leaves: false },
  "a large mean": { channels: [6, 10], size: [9, 11, 13], bias: 1e4, groups: 5 },
};

/** Convolution in float64, [batch, channels, places]. */
function reference(x: Float32Array, w: Float32Array, b: Float32Array | null, c: Case, out: Size3): Float64Array {
  const { batch = 1, channels: [from, to], size, kernel = 3, stride = 1, dilation = 1, convGroups: g = 1 } = c;
  const pad = Math.floor(kernel / 2) * dilation;
  const y = new Float64Array(batch * to * count(out));
  let at = 0;
  for (let n = 0; n < batch; n++) {
    for (let k = 0; k < to; k++) {
      for (let oz = 0; oz < out[0]; oz++) {
        for (let oy = 0; oy < out[1]; oy++) {
          for (let ox = 0; ox < out[2]; ox++, at++) {
            let sum = b ? b[k] : 0;
            for (let c0 = 0; c0 < from / g; c0++) {
              for (let t = 0; t < kernel ** 3; t++) {
                const z = oz * stride + Math.floor(t / kernel ** 2) * dilation - pad;
                const yy = oy * stride + (Math.floor(t / kernel) % kernel) * dilation - pad;
                const xx = ox * stride + (t % kernel) * dilation - pad;
                if (z < 0 || yy < 0 || xx < 0 || z >= size[0] || yy >= size[1] || xx >= size[2]) continue;
                const channel = Math.floor(k / (to / g)) * (from / g) + c0;
                sum += x[((n * from + channel) * size[0] + z) * size[1] * size[2] + yy * size[2] + xx] *
                  w[(k * (from / g) + c0) * kernel ** 3 + t];
              }
            }
            y[at] = sum;
          }
        }
      }
    }
  }
  return y;
}

/** relu of the norm of each of `rows` rows. */
function normalized(y: Float64Array, rows: number): Float64Array {
  const length = y.length / rows;
  const result = new Float64Array(y.length);
  for (let r = 0; r < rows; r++) {
    const row = y.subarray(r * length, (r + 1) * length);
    const mean = row.reduce((a, v) => a + v, 0) / length;
    const variance = row.reduce((a, v) => a + (v - mean) ** 2, 0) / length;
    row.forEach((v, k) => {
      result[r * length + k] = Math.max(0, (v - mean) / Math.sqrt(variance + 1e-5));
    });
  }
  return result;
}

for (const [name, c] of Object.entries(cases)) {
  test(`conv3d() with a norm agrees with float64: ${name}`, async () => {
    const { batch = 1, channels: [from, to], size, kernel = 3, stride = 1, dilation = 1, convGroups = 1, groups } = c;
    const padding = Math.floor(kernel / 2) * dilation;
    const out = size.map((n) => Math.floor((n - 1) / stride) + 1) as unknown as Size3;
    const x = noise(batch * from * count(size), 1);
    // The deviation of the result is about 1.
    const gain = 3 / Math.sqrt((from / convGroups) * kernel ** 3);
    const w = noise((to * from * kernel ** 3) / convGroups, 2).map((v) => v * gain);
    const b = noise(to, 3).map((v) => (c.bias ?? 0) + v);
    const r = noise(batch * to * count(out), 4);
    const args = [
      tensor(x, { shape: [batch, from, ...size] }),
      tensor(w, { shape: [to, from / convGroups, kernel, kernel, kernel] }),
      tensor(b),
      tensor(r, { shape: [batch, to, ...out] }),
    ];
    const f = (x: Tensor, w: Tensor, b: Tensor, r: Tensor): Tensor => {
      const y = vg.conv3d(x, w, { padding, stride, dilation, groups: convGroups, ...(c.bias ? { bias: b } : {}) });
      const z = c.residual ? y.add(r) : y;
      return vg.relu(groups === to ? vg.instanceNorm(z) : vg.groupNorm(z, { groups }));
    };
    const apart = await kernelsOf(false, f, args);
    assert.is(leaving(apart).length, 0);
    if (c.leaves === false) {
      assert.equal(await kernelsOf(true, f, args), apart);
      return;
    }
    const { kernels, values } = await outcome(true, f, args);
    assert.is(leaving(kernels).length, 1, `${kernels}`);
    assert.is(joins(kernels).length, 1, `${kernels}`);
    assert.is(reading(kernels).length, 0, `${kernels}`);
    assert.is(kernels.length, apart.length - reading(apart).length + 1);
    const y = reference(x, w, c.bias ? b : null, c, out);
    if (c.residual) {
      y.forEach((v, k) => {
        y[k] = v + r[k];
      });
    }
    const wanted = normalized(y, batch * groups);
    // A value of 1e4 has an error of 5e-4, the deviation is 1.
    const tolerance = c.bias === 1e4 ? 1e-3 : 3e-6;
    const error = relativeError(values[0], wanted);
    assert.ok(error < tolerance, `relative error ${error}`);
  });
}

/** Two convolutions, the second of which computes the norm of the first as it reads. */
function network(x: Tensor, w0: Tensor, w1: Tensor): Tensor {
  const y = vg.relu(vg.groupNorm(vg.conv3d(x, w0, { padding: 1 }), { groups: 4 }));
  return vg.relu(vg.instanceNorm(vg.conv3d(y, w1, { padding: 1 })));
}

test("valueAndGrad() through two convolutions with shared statistics equals that of separate norms", async () => {
  const args = [field(1, 1, 6, 5, 14, 17), field(2, 16, 6, 3, 3, 3), field(3, 20, 16, 3, 3, 3)];
  const f = (...args: Tensor[]) => {
    const weights = field(4, 1, 20, 5, 14, 17);
    return vg.valueAndGrad(([x, w0, w1]: Tensor[]) => network(x, w0, w1).mul(weights).sum())(args);
  };
  const apart = await outcome(false, f, args);
  const together = await outcome(true, f, args);
  assert.is(leaving(apart.kernels).length, 0, `${apart.kernels}`);
  assert.is(leaving(together.kernels).length, 2, `${together.kernels}`);
  assert.is(reading(together.kernels).length, 0, `${together.kernels}`);
  together.values.forEach((v, k) => {
    const error = relativeError(v, Float64Array.from(apart.values[k]));
    assert.ok(error < 1e-5, `output ${k}: relative error ${error}`);
  });
});

/** Mean and 1 / deviation of `rows` rows, and of what. */
const withMoments = (rows: number): Compute => (x: Tensor, w: Tensor, b: Tensor) => {
  const y = vg.conv3d(x, w, { padding: 1, bias: b });
  const z = vg.cast(y, "f32");
  return [z, moments(vg.reshape(z, { shape: [rows, y.size / rows] }), { eps: 0 })];
};

for (const dtype of half ? (["f32", "f16"] as const) : (["f32"] as const)) {
  test(`conv3d() leaves moments of the result as it is stored, in ${dtype}`, async () => {
    // Beyond 1024 values of f16 are integers.
    const given = [field(1, 1, 6, 9, 11, 13), field(2, 10, 6, 3, 3, 3), field(3, 10).add(1500)];
    const args = await vg.evaluate(given.map((t) => vg.cast(t, dtype)));
    const { kernels, values } = await outcome(true, withMoments(5), args);
    assert.is(leaving(kernels).length, 1, `${kernels}`);
    const [y, got] = values as [Float32Array, Float32Array];
    if (dtype === "f16") assert.ok(y.every(Number.isInteger));
    for (let row = 0; row < 5; row++) {
      const own = Float64Array.from(y.subarray((row * y.length) / 5, ((row + 1) * y.length) / 5));
      const mean = own.reduce((a, v) => a + v, 0) / own.length;
      const variance = own.reduce((a, v) => a + (v - mean) ** 2, 0) / own.length;
      assert.ok(Math.abs(got[2 * row] / mean - 1) < 1.5e-7, `mean ${got[2 * row]} for ${mean}`);
      const deviation = 1 / got[2 * row + 1];
      assert.ok(Math.abs(deviation / Math.sqrt(variance) - 1) < 3e-6, `deviation ${deviation} for ${variance} squared`);
    }
  });
}

test("conv3d() leaves no finite moments for NaN and infinity", async () => {
  for (const bad of [NaN, Infinity]) {
    const x = noise(6 * 9 * 11 * 13, 1);
    x[700] = bad;
    const args = [tensor(x, { shape: [1, 6, 9, 11, 13] }), field(2, 10, 6, 3, 3, 3), field(3, 10)];
    const { values } = await outcome(true, withMoments(5), args);
    for (let row = 0; row < 5; row++) {
      const [mean, rstd] = values[1].subarray(2 * row, 2 * row + 2);
      assert.not(Number.isFinite(mean * rstd), `${bad} gives ${mean} and ${rstd}`);
    }
  }
});

test("moments() reads rows that are not whole channels", async () => {
  const args = [field(1, 1, 6, 9, 11, 13), field(2, 10, 6, 3, 3, 3), field(3, 10)];
  assert.equal(await kernelsOf(true, withMoments(3), args), await kernelsOf(false, withMoments(3), args));
});

/** With subgroup matrices, of which a subgroup has several in both directions. */
const matrix: SubgroupMatrix = { componentType: "f16", resultComponentType: "f32", M: 8, N: 16, K: 16 };
const matrixTarget = {
  ...usual,
  software: false,
  subgroupMinSize: 32,
  subgroupMaxSize: 32,
  subgroupMatrices: [matrix],
  // Emulation takes up to twice as much.
  maxWorkgroupStorage: 24000,
  features: new Set(["shader-f16", "subgroups", "chromium-experimental-subgroup-matrix"]),
};
const identity: Fused = {
  name: "",
  reads: [],
  type: "f32",
  code: () => ({ functions: [], body: "", value: "given", numbers: NO_NUMBERS }),
};

for (const rows of [32, 64]) {
  test(`lowerConvForward() leaves moments of a tile of subgroup matrices with ${rows} rows`, async () => {
    const [to, size] = [rows - 7, [3, 5, 9] as const];
    const places = count(size);
    const p: ConvParams = {
      batch: 1,
      inChannels: 6,
      outChannels: to,
      groups: 1,
      input: size,
      output: size,
      kernel: [1, 1, 1],
      stride: [1, 1, 1],
      padding: [0, 0, 0],
      dilation: [1, 1, 1],
      bias: true,
      storage: "f16",
    };
    const fusion = { loads: [], store: null, moments: identity, first: 3 };
    const variant = convForwardVariants.find((v) => v.name === `matrix${rows}x128`)!;
    assert.ok(variant.guard(p, matrixTarget));
    const lowered = variant.lower(p, matrixTarget, fusion);
    assert.equal(lowered.moments, { temp: 1, length: places, share: 128 });
    // Whole numbers, which f16 holds.
    const x = noise(6 * places, 1).map((v) => Math.round(8 * v)), w = noise(6 * to, 2).map((v) => Math.round(8 * v));
    const b = noise(to, 3).map((v) => Math.round(100 * v));
    const { temps, dispatches } = emulateMatrices(lowered, matrix, 32);
    // The moments as the output, the output as a temporary.
    const swap = (slot: Slot): Slot =>
      "output" in slot ? { temp: 1 } : "temp" in slot && slot.temp === 1 ? { output: 0 } : slot;
    const swapped = {
      temps: [temps[0], to * places * 4],
      dispatches: dispatches.map((d) => ({ ...d, writes: d.writes.map(swap) })),
    };
    const { output } = await runLowered(runner, swapped, [x, w, b], to * 4);
    for (let channel = 0; channel < to; channel++) {
      for (const [part, from] of [0, 128].entries()) {
        const own: number[] = [];
        for (let place = from; place < Math.min(places, from + 128); place++) {
          let sum = b[channel];
          for (let c = 0; c < 6; c++) sum += x[c * places + place] * w[channel * 6 + c];
          own.push(sum);
        }
        const mean = own.reduce((a, v) => a + v, 0) / own.length;
        const square = own.reduce((a, v) => a + (v - mean) ** 2, 0);
        const [m, s] = output.subarray(4 * channel + 2 * part, 4 * channel + 2 * part + 2);
        assert.ok(Math.abs(m - mean) < 1e-4, `channel ${channel}: mean ${m} for ${mean}`);
        assert.ok(Math.abs(s / square - 1) < 1e-5, `channel ${channel}: squares ${s} for ${square}`);
      }
    }
  });
}

test("lowerPartialMoments() merges many parts in two kernels", async () => {
  // One tile each, of a row that no convolution of this size could make: the kernels alone.
  const [rows, length, share] = [2, 700_000, 5];
  const x = noise(rows * length, 8).map((v, k) => v * (k % 1000 === 0 ? 30 : 1) + 50);
  const parts = new Float32Array((rows * length * 2) / share);
  for (let k = 0; k < parts.length / 2; k++) {
    const own = Float64Array.from(x.subarray(k * share, (k + 1) * share));
    const mean = own.reduce((a, v) => a + v, 0) / share;
    parts.set([mean, own.reduce((a, v) => a + (v - mean) ** 2, 0)], 2 * k);
  }
  const lowered = lowerPartialMoments({ rows, length, eps: 0 }, { temp: 0, length: length / 7, share }, runner.target)!;
  assert.is(lowered.dispatches.length, 2);
  const { output } = await runLowered(runner, lowered, [parts], 2 * rows);
  for (let row = 0; row < rows; row++) {
    const own = x.subarray(row * length, (row + 1) * length);
    let mean = 0, variance = 0;
    for (const v of own) mean += v / length;
    for (const v of own) variance += (v - mean) ** 2 / length;
    assert.ok(Math.abs(output[2 * row] / mean - 1) < 3e-7, `mean ${output[2 * row]} for ${mean}`);
    assert.ok(
      Math.abs(output[2 * row + 1] * Math.sqrt(variance) - 1) < 3e-6,
      `${output[2 * row + 1]} for ${variance}`,
    );
  }
});

test.after(async () => {
  await vg.closeDevice();
  closeRunner(runner);
});
test.run();
