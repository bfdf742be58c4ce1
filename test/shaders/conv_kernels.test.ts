/** Every variant of every convolution kernel against a float64 loop, and the adjoint identity. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  convForwardVariants,
  convInputGradVariants,
  lowerConvForward,
  lowerConvInputGrad,
} from "../../shaders/conv/variants.ts";
import { convWeightGradVariants, lowerConvWeightGrad } from "../../shaders/conv/weight_variants.ts";
import { convert } from "../../engine/core/dtype.ts";
import type { ConvParams } from "../../shaders/conv/variants.ts";
import type { SubgroupMatrix, Target, Variant } from "../../shaders/types.ts";
import { closeRunner, openRunner, runLowered } from "../helpers/conv_kernel_runner.ts";
import { emulateMatrices } from "../helpers/conv_matrix_emulation.ts";
import { relativeError } from "../helpers/compare.ts";
import { noise } from "../helpers/noise.ts";
import { type ConvSpec, params, products } from "../helpers/reference/conv.ts";

const runner = await openRunner();
const gpu: Target = { ...runner.target, software: false };
/** A GPU with subgroup matrices, of which a subgroup has several in both directions. */
const matrix: SubgroupMatrix = { componentType: "f16", resultComponentType: "f32", M: 8, N: 16, K: 16 };
const matrixGpu: Target = {
  ...gpu,
  // Emulation takes up to twice as much.
  maxWorkgroupStorage: 24000,
  features: new Set(["shader-f16", "subgroups", "chromium-experimental-subgroup-matrix"]),
  subgroupMinSize: 32,
  subgroupMaxSize: 32,
  subgroupMatrices: [matrix],
};
const isMatrix = (v: Variant<ConvParams>): boolean => v.name.startsWith("matrix");
const volume = (s: readonly number[]): number => s.reduce((a, b) => a * b, 1);

interface Spec extends ConvSpec {
  /**
   * Run every variant that takes these sizes, or those for GPUs alone; else the default: compiling takes the time here.
   */
  readonly every?: true | "gpu";
}

const specs: Record<string, Spec> = {
  "3x3x3 padded": {
    every: true,
    batch: 2,
    channels: [5, 9],
    input: [5, 7, 9],
    kernel: [3, 3, 3],
    padding: [1, 1, 1],
    bias: true,
  },
  "3x3x3 one channel": { channels: [1, 8], input: [6, 5, 11], kernel: [3, 3, 3], padding: [1, 1, 1] },
  "3x3x3 to one": { channels: [3, 1], input: [5, 5, 21], kernel: [3, 3, 3], padding: [1, 1, 1], bias: true },
  "3x3x3 stride 2": {
    batch: 2,
    channels: [8, 16],
    input: [7, 8, 10],
    kernel: [3, 3, 3],
    padding: [1, 1, 1],
    stride: [2, 2, 2],
  },
  "3x3x3 stride 2 odd": {
    every: true,
    batch: 3,
    channels: [3, 5],
    input: [6, 7, 17],
    kernel: [3, 3, 3],
    padding: [1, 1, 1],
    stride: [2, 2, 2],
    bias: true,
  },
  "stride 3": { channels: [3, 4], input: [8, 7, 14], kernel: [3, 3, 3], padding: [1, 0, 2], stride: [3, 3, 3] },
  "1x3x3": { batch: 2, channels: [5, 4], input: [3, 8, 9], kernel: [1, 3, 3], padding: [0, 1, 1] },
  "1x1x1": { batch: 2, channels: [9, 5], input: [3, 5, 7], kernel: [1, 1, 1], bias: true },
  "2x2x2 stride 2": {
    batch: 2,
    channels: [8, 16],
    input: [4, 6, 8],
    kernel: [2, 2, 2],
    stride: [2, 2, 2],
    bias: true,
  },
  "1x2x2 stride 1 2 2": { channels: [4, 3], input: [3, 6, 10], kernel: [1, 2, 2], stride: [1, 2, 2], bias: true },
  "dilation 3 2 1, stride 2 1 3": {
    every: true,
    channels: [2, 3],
    input: [9, 8, 11],
    kernel: [3, 2, 3],
    padding: [1, 2, 0],
    dilation: [3, 2, 1],
    stride: [2, 1, 3],
  },
  "asymmetric kernel and padding after": {
    channels: [3, 5],
    input: [5, 4, 9],
    kernel: [1, 5, 3],
    padding: [0, 1, 2],
    extra: [0, 3, 1],
    bias: true,
  },
  "kernel 5": { channels: [2, 3], input: [5, 6, 9], kernel: [5, 5, 5], padding: [2, 2, 2] },
  "padding as wide as the kernel": { channels: [2, 3], input: [2, 3, 4], kernel: [3, 3, 3], padding: [3, 3, 3] },
  "groups": {
    every: true,
    batch: 2,
    channels: [6, 9],
    groups: 3,
    input: [4, 5, 7],
    kernel: [3, 3, 3],
    padding: [1, 1, 1],
    bias: true,
  },
  "depthwise": { channels: [5, 5], groups: 5, input: [4, 5, 9], kernel: [3, 3, 3], padding: [1, 1, 1] },
  "groups of 8": {
    channels: [16, 16],
    groups: 2,
    input: [3, 4, 9],
    kernel: [3, 3, 3],
    padding: [1, 1, 1],
    stride: [1, 1, 2],
  },
  "GPU, many channels": {
    every: "gpu",
    batch: 2,
    channels: [13, 37],
    input: [4, 5, 6],
    kernel: [3, 3, 3],
    padding: [1, 1, 1],
    bias: true,
  },
  "GPU, dilation 2, stride 2 3 1, groups": {
    every: "gpu",
    channels: [22, 24],
    groups: 2,
    input: [9, 8, 7],
    kernel: [3, 2, 3],
    padding: [2, 1, 2],
    dilation: [2, 2, 2],
    stride: [2, 3, 1],
    bias: true,
  },
  "GPU, stride 2": {
    every: "gpu",
    batch: 2,
    channels: [9, 16],
    input: [9, 10, 13],
    kernel: [3, 3, 3],
    padding: [1, 1, 1],
    stride: [2, 2, 2],
    bias: true,
  },
  "GPU, 1x1x1": { every: "gpu", batch: 2, channels: [10, 12], input: [5, 5, 7], kernel: [1, 1, 1], bias: true },
  "one voxel": { channels: [3, 5], input: [1, 1, 1], kernel: [1, 1, 1] },
};

/**
 * Largest of |actual - expected| beyond half a unit in the last place of f16, relative to the largest reference value.
 */
function largestErrorOfHalf(actual: Float32Array, expected: Float64Array): number {
  const rounded = Float32Array.from(expected, (e, i) => {
    const slack = Math.max(Math.abs(e) * 2 ** -11, 2 ** -25);
    return e + Math.sign(actual[i] - e) * Math.max(0, Math.abs(actual[i] - e) - slack);
  });
  return relativeError(rounded, expected);
}

/** The variants to run, and for which target: those for GPUs are right on any adapter, only slow. */
function candidates(
  variants: readonly Variant<ConvParams>[],
  p: ConvParams,
  every: Spec["every"],
): (readonly [Variant<ConvParams>, Target])[] {
  const usual = variants.filter((v) => v.guard(p, runner.target)).map((v) => [v, runner.target] as const);
  if (!every) return usual.slice(0, 1);
  // On some adapters a variant for GPUs is that of the CPU by another name.
  const source = (v: Variant<ConvParams>, target: Target): string => v.lower(p, target).dispatches[0].kernel.source();
  const known = new Set(usual.map(([v, target]) => source(v, target)));
  const others = variants.filter((v) => v.guard(p, gpu) && !known.has(source(v, gpu)));
  if (every === true) return [...usual, ...others.map((v) => [v, gpu] as const)];
  const products = others.filter((v) => v.name.startsWith("gemm"));
  // The narrowest is taken where it is the only one.
  return products.filter((v) => products.length === 1 || v.name !== "gemm16x128").map((v) => [v, gpu] as const);
}

for (const [name, spec] of Object.entries(specs)) {
  for (const kind of ["f32", "f16", "matrices"] as const) {
    const storage = kind === "f32" ? "f32" : "f16";
    if (kind === "f16" && !(spec.every && runner.target.features.has("shader-f16"))) continue;
    if (kind === "matrices" && spec.every !== "gpu") continue;
    test(`lowerConvForward() and its gradients agree with float64: ${name}, ${kind}`, async () => {
      const p = params(spec, storage);
      const held = (a: Float32Array): Float32Array => (storage === "f16" ? a.map((v) => convert(v, "f16")) : a);
      const wCount = p.outChannels * (p.inChannels / p.groups) * volume(p.kernel);
      const x = held(noise(p.batch * p.inChannels * volume(p.input), 1));
      const w = held(noise(wCount, 2));
      const g = held(noise(p.batch * p.outChannels * volume(p.output), 3));
      const y64 = new Float64Array(g.length), dx64 = new Float64Array(x.length), dw64 = new Float64Array(wCount);
      products(p, (i, k, o) => {
        y64[o] += x[i] * w[k];
        dx64[i] += g[o] * w[k];
        dw64[k] += x[i] * g[o];
      });
      const outBias = held(noise(p.outChannels, 4)), inBias = held(noise(p.inChannels, 5));
      if (p.bias) {
        const perOut = volume(p.output), perIn = volume(p.input);
        y64.forEach((_, i) => {
          y64[i] += outBias[Math.floor(i / perOut) % p.outChannels];
        });
        dx64.forEach((_, i) => {
          dx64[i] += inBias[Math.floor(i / perIn) % p.inChannels];
        });
      }
      const families = [
        ["forward", convForwardVariants, [x, w, outBias], y64],
        ["input gradient", convInputGradVariants, [g, w, inBias], dx64],
        ["weight gradient", convWeightGradVariants, [x, g], dw64],
      ] as const;
      for (const [family, variants, inputs, expected] of families) {
        const chosen = kind === "matrices"
          ? variants.filter((v) => isMatrix(v) && v.guard(p, matrixGpu)).slice(0, 1).map((v) => [v, matrixGpu] as const)
          : candidates(variants, p, spec.every);
        for (const [variant, target] of chosen) {
          let lowered = variant.lower(p, target);
          if (kind === "matrices") lowered = emulateMatrices(lowered, matrix, 32);
          const { output } = await runLowered(runner, lowered, inputs, expected.length, {
            storage: kind === "f16" ? "f16" : "f32",
          });
          const error = (storage === "f16" ? largestErrorOfHalf : relativeError)(output, expected);
          assert.ok(error < 2e-6, `${family}, variant ${variant.name}: relative error ${error}`);
        }
      }
    });
  }
}

test("lowerConvInputGrad() and lowerConvWeightGrad() are adjoint to lowerConvForward()", async () => {
  const p = params({
    batch: 2,
    channels: [5, 6],
    input: [7, 6, 19],
    kernel: [3, 3, 3],
    padding: [1, 1, 1],
    stride: [2, 1, 2],
  });
  const x = noise(p.batch * p.inChannels * volume(p.input), 6);
  const w = noise(p.outChannels * p.inChannels * volume(p.kernel), 7);
  const g = noise(p.batch * p.outChannels * volume(p.output), 8);
  const dot = (a: Float32Array, b: Float32Array): number => a.reduce((sum, v, i) => sum + v * b[i], 0);
  const run = async (lowered: ReturnType<typeof lowerConvForward>, inputs: Float32Array[], length: number) =>
    (await runLowered(runner, lowered, inputs, length)).output;
  const y = await run(lowerConvForward(p, runner.target), [x, w], g.length);
  const dx = await run(lowerConvInputGrad(p, runner.target), [g, w], x.length);
  const dw = await run(lowerConvWeightGrad(p, runner.target), [x, g], w.length);
  const scale = Math.sqrt(dot(y, y) * dot(g, g));
  assert.ok(Math.abs(dot(y, g) - dot(x, dx)) < 1e-6 * scale, "<y, g> = <x, dx>");
  assert.ok(Math.abs(dot(y, g) - dot(w, dw)) < 1e-6 * scale, "<y, g> = <w, dw>");
});

test("lowerConvForward() and its gradients fold a grid beyond the limit of one dimension", async () => {
  const p = params({ channels: [2, 3], input: [9, 17, 23], kernel: [3, 3, 3], padding: [1, 1, 1] });
  const target = { ...runner.target, maxWorkgroupsPerDimension: 9 };
  const x = noise(p.inChannels * volume(p.input), 9), w = noise(p.outChannels * p.inChannels * 27, 10);
  const g = noise(p.outChannels * volume(p.output), 11);
  const families = [[convForwardVariants, [x, w], g.length], [convInputGradVariants, [g, w], x.length], [
    convWeightGradVariants,
    [x, g],
    w.length,
  ]] as const;
  for (const [variants, inputs, length] of families) {
    for (const variant of variants.filter((v) => v.guard(p, target) && v.name !== "tile")) {
      const folded = variant.lower(p, target);
      for (const { kernel } of folded.dispatches) assert.ok(kernel.workgroups.every((n) => n <= 9), kernel.name);
      const a = await runLowered(runner, folded, inputs, length);
      const b = await runLowered(runner, variant.lower(p, runner.target), inputs, length);
      assert.equal(a.output, b.output, variant.name);
    }
  }
});

test("lowerConvForward() and its gradients give valid WGSL with subgroup matrices", async () => {
  if (!("process" in globalThis) || "Deno" in globalThis) return;
  // Dawn's null backend has every feature: it checks shaders and pipelines, and computes nothing.
  const dawn = (await import("webgpu")).create(["backend=null", "enable-dawn-features=allow_unsafe_apis"]);
  const adapter = (await dawn.requestAdapter())!;
  const names = ["shader-f16", "subgroups", "chromium-experimental-subgroup-matrix"] as GPUFeatureName[];
  const device = await adapter.requestDevice({ requiredFeatures: names });
  const spec: Spec = { channels: [40, 72], input: [5, 6, 7], kernel: [3, 3, 3], padding: [1, 1, 1], bias: true };
  const p = params(spec, "f16");
  const sizes = { componentType: "f16", resultComponentType: "f32" };
  let pipelines = 0;
  for (const [M, N, K, lanes] of [[16, 16, 16, 32], [16, 8, 16, 32], [8, 16, 16, 16], [8, 8, 8, 32]] as const) {
    const target: Target = {
      ...matrixGpu,
      maxWorkgroupStorage: 32768,
      subgroupMinSize: lanes,
      subgroupMaxSize: lanes,
      subgroupMatrices: [{ ...sizes, M, N, K }],
    };
    for (const variants of [convForwardVariants, convInputGradVariants, convWeightGradVariants]) {
      const fitting = variants.filter((v) => isMatrix(v) && v.guard(p, target));
      assert.ok(fitting.length > 0);
      for (const { kernel } of fitting.flatMap((v) => v.lower(p, target).dispatches)) {
        const module = device.createShaderModule({ code: kernel.source() });
        const { messages } = await module.getCompilationInfo();
        assert.equal(messages.map((m) => m.message), [], kernel.name);
        device.pushErrorScope("validation");
        device.createComputePipeline({ layout: "auto", compute: { module, entryPoint: "main" } });
        const error = await device.popErrorScope();
        // It has but the 16 KiB of workgroup memory that every adapter has.
        if (error?.message.includes("workgroup storage")) continue;
        assert.is(error, null, kernel.name);
        if (kernel.source().includes("subgroup_matrix")) pipelines++;
      }
    }
  }
  assert.ok(pipelines > 0);
  device.destroy();
});

test("lowerConvForward() throws on an unknown variant with those that fit", () => {
  const p = params({ channels: [1, 1], input: [1, 1, 1], kernel: [1, 1, 1] });
  assert.throws(() => lowerConvForward(p, runner.target, { variant: "fastest" }), /variant fastest.*generic/);
});

test.after(() => closeRunner(runner));
test.run();
