// deno-lint-ignore-file no-explicit-any
/** Kernels that measure an adapter's roofs: that they compute what they say, and do not let the compiler leave it out. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { convForwardVariants, type ConvParams } from "../../shaders/conv/variants.ts";
import { convWeightGradVariants } from "../../shaders/conv/weight_variants.ts";
import { matrixProducts, multiplyAdds, productShapes, triad } from "../../shaders/roofs.wgsl.ts";
import type { SubgroupMatrix, Target } from "../../shaders/types.ts";
import { closeRunner, openRunner, runLowered } from "../helpers/conv_kernel_runner.ts";
import { emulateMatrices } from "../helpers/conv_matrix_emulation.ts";
import { near } from "../helpers/compare.ts";
import { noise } from "../helpers/noise.ts";

const runner = await openRunner();
const sizes = { componentType: "f16", resultComponentType: "f32" };
const shapes: readonly SubgroupMatrix[] = [[16, 16, 16], [16, 8, 16], [8, 16, 16], [8, 8, 8]]
  .map(([M, N, K]) => ({ ...sizes, M, N, K }));
const gpu: Target = {
  ...runner.target,
  features: new Set(["shader-f16", "subgroups", "chromium-experimental-subgroup-matrix"]),
  subgroupMinSize: 32,
  subgroupMaxSize: 32,
  subgroupMatrices: shapes,
};

test("triad() gives a + b / 2 at every place, at each width", async () => {
  const [a, b] = [noise(1030 * 4, 1), noise(1030 * 4, 2)];
  for (const [width, each] of [[1, 8], [4, 1], [4, 4]] as const) {
    const dispatch = triad(a.length, width, each, runner.target);
    const { output } = await runLowered(runner, { temps: [], dispatches: [dispatch] }, [a, b], a.length);
    near(output, a.map((x, k) => x + 0.5 * b[k]), 1e-6, dispatch.kernel.name);
    assert.is(dispatch.kernel.flops, 2 * a.length);
  }
});

test("multiplyAdds() makes as many steps as it counts operations for", async () => {
  const [invocations, chains, turns] = [128, 3, 2];
  const dispatch = multiplyAdds(invocations, chains, turns, runner.target);
  const given = Float32Array.of(0.5, 0.25, turns);
  const { output } = await runLowered(runner, { temps: [], dispatches: [dispatch] }, [given], invocations);
  // s / 2 + 1 / 4 tends to 1 / 2: after n steps 1 / 2 + (s - 1 / 2) / 2^n.
  const steps = dispatch.kernel.flops! / (2 * invocations * chains);
  assert.is(steps, 32);
  const after = (s: number): number => 0.5 + (s - 0.5) * 2 ** -steps;
  near(output, Array.from({ length: invocations }, (_, i) => after(i) + after(i + 1) + after(i + 2)), 1e-6, "sums");
});

test("matrixProducts() adds up as many products as it counts operations for", async () => {
  const [shape, groups, chains, turns] = [shapes[2], 3, 2, 2];
  const dispatch = matrixProducts(shape, groups, chains, turns, 32);
  const emulated = emulateMatrices({ temps: [], dispatches: [dispatch] }, shape, 32);
  const given = Float32Array.of(0.5, 0.25, turns);
  const count = groups * 4 * shape.M * shape.N;
  const { output } = await runLowered(runner, emulated, [given], count);
  // Every element of a chain is the sum of K products a step; the factor of chain k is k + 1 times the first.
  const products = dispatch.kernel.flops! / (2 * count * chains);
  assert.is(products, turns * 16 * shape.K);
  near(output, new Float32Array(count).fill(products * 0.5 * 0.25 * (1 + 2)), 1e-6, "sums");
});

test("matrixProducts() is valid WGSL for the shapes of vendors, and not offered without the features", async () => {
  assert.equal(productShapes({ ...gpu, features: new Set(["shader-f16", "subgroups"]) }), []);
  assert.equal(productShapes({ ...gpu, subgroupMinSize: 8 }), [], "lanes not known");
  assert.equal(productShapes({ ...gpu, subgroupMatrices: [{ ...shapes[0], resultComponentType: "f16" }] }), []);
  assert.equal(productShapes(gpu), shapes);
  if (!("process" in globalThis) || "Deno" in globalThis) return;
  // Dawn's null backend has every feature: it checks shaders, and computes nothing.
  const dawn = (await import("webgpu")).create(["backend=null", "enable-dawn-features=allow_unsafe_apis"]);
  const requiredFeatures = [...gpu.features] as GPUFeatureName[];
  const device = await (await dawn.requestAdapter())!.requestDevice({ requiredFeatures });
  for (const shape of shapes) {
    const { kernel } = matrixProducts(shape, 4, 8, 16, 32);
    const module = device.createShaderModule({ code: kernel.source() });
    assert.equal((await module.getCompilationInfo()).messages.map((m) => m.message), [], kernel.name);
    device.pushErrorScope("validation");
    device.createComputePipeline({ layout: "auto", compute: { module, entryPoint: "main" } });
    assert.is(await device.popErrorScope(), null, kernel.name);
  }
  device.destroy();
});

test("lower() of convolutions counts products of f16 as work for matrices", () => {
  const p: ConvParams = {
    batch: 1,
    inChannels: 32,
    outChannels: 32,
    groups: 1,
    input: [4, 4, 4],
    output: [4, 4, 4],
    kernel: [3, 3, 3],
    stride: [1, 1, 1],
    padding: [1, 1, 1],
    dilation: [1, 1, 1],
    bias: false,
    storage: "f16",
  };
  for (const variants of [convForwardVariants, convWeightGradVariants] as any[]) {
    for (const variant of variants) {
      for (const storage of ["f16", "f32"] as const) {
        for (const target of [runner.target, gpu, { ...gpu, software: false }]) {
          if (!variant.guard({ ...p, storage }, target)) continue;
          const kernels = variant.lower({ ...p, storage }, target).dispatches.map((d: any) => d.kernel);
          const counted = kernels.filter((k: any) => k.flops > 0);
          assert.equal(counted.map((k: any) => [k.flops, k.matrix]), [[2 * 64 * 27 * 32 * 32, storage === "f16"]]);
        }
      }
    }
  }
});

test.after(() => closeRunner(runner));
test.run();
