/**
 * Time, rate and compile time of the convolution kernels at the sizes of a 3-D U-Net (features 8, 16, 32; batch 2 of
 * 40 x 56 x 40) and at 32 to 32 channels on 32 cubed. Run:
 *   node --import ./engine/platform/cli/register.mjs bench/conv_kernels.ts [--shape 16-16] [--family forward] [--every]
 * `--every` runs every variant, not only the default. Compile times are cold only where the driver caches nothing
 * (Mesa: MESA_SHADER_CACHE_DISABLE=true).
 */
import mri from "mri";
import { convForwardVariants, convInputGradVariants, convWeightGradVariants } from "../shaders/conv.ts";
import type { ConvParams } from "../shaders/conv.ts";
import { closeRunner, openRunner, runLowered } from "../test/conv_kernel_runner.ts";

type Size3 = readonly [number, number, number];

const options = mri(process.argv.slice(2), { boolean: ["every"], default: { shape: "", family: "", repeats: 5 } });

const cube = (n: number): Size3 => [n, n, n];

function conv(
  batch: number, inChannels: number, outChannels: number, input: Size3, kernel: number, stride: number,
): ConvParams {
  const padding = kernel === 3 ? 1 : 0;
  const size = (n: number): number => Math.floor((n + 2 * padding - kernel) / stride) + 1;
  return {
    batch, inChannels, outChannels, groups: 1, input, output: [size(input[0]), size(input[1]), size(input[2])],
    kernel: cube(kernel), stride: cube(stride), padding: cube(padding), dilation: cube(1), bias: false, storage: "f32",
  };
}

const full: Size3 = [40, 56, 40], half: Size3 = [20, 28, 20], quarter: Size3 = [10, 14, 10];
const shapes: Record<string, ConvParams> = {
  "32-32 on 32 cubed": conv(1, 32, 32, cube(32), 3, 1),
  "1-8": conv(2, 1, 8, full, 3, 1),
  "8-8": conv(2, 8, 8, full, 3, 1),
  "16-8": conv(2, 16, 8, full, 3, 1),
  "8-16 stride 2": conv(2, 8, 16, full, 3, 2),
  "16-16": conv(2, 16, 16, half, 3, 1),
  "32-16": conv(2, 32, 16, half, 3, 1),
  "16-32 stride 2": conv(2, 16, 32, half, 3, 2),
  "32-32": conv(2, 32, 32, quarter, 3, 1),
  // As the forward convolution whose input gradient the transposed one is.
  "transposed 32-16": conv(2, 16, 32, half, 2, 2),
  "transposed 16-8": conv(2, 8, 16, full, 2, 2),
  "head 8-3": conv(2, 8, 3, full, 1, 1),
};

const volume = (s: Size3): number => s[0] * s[1] * s[2];
const runner = await openRunner();
console.log(runner.adapterName);
console.log("family          shape              variant      tile                     ms    GFLOP/s  compile ms");
for (const [name, p] of Object.entries(shapes)) {
  if (!name.includes(options.shape)) continue;
  const x = p.batch * p.inChannels * volume(p.input), y = p.batch * p.outChannels * volume(p.output);
  const w = p.inChannels * p.outChannels * volume(p.kernel);
  const families = [
    ["forward", convForwardVariants, [x, w], y],
    ["input gradient", convInputGradVariants, [y, w], x],
    ["weight gradient", convWeightGradVariants, [x, y], w],
  ] as const;
  for (const [family, variants, inputs, output] of families) {
    if (!family.includes(options.family)) continue;
    const fitting = variants.filter((v) => v.guard(p, runner.target));
    for (const variant of options.every ? fitting : fitting.slice(0, 1)) {
      const lowered = variant.lower(p, runner.target);
      const data = inputs.map((length) => Float32Array.from({ length }, (_, i) => (i * 7919 % 1009) / 1009 - 0.5));
      const run = await runLowered(runner, lowered, data, output, { repeats: options.repeats });
      const { name: kernel, flops } = lowered.dispatches[0]!.kernel;
      console.log(
        family.padEnd(15), name.padEnd(18), variant.name.padEnd(12), kernel.split(".")[1]!.padEnd(20),
        run.minMs.toFixed(1).padStart(7), (flops! / run.minMs / 1e6).toFixed(1).padStart(9),
        run.compileMs.toFixed(0).padStart(9),
      );
    }
  }
}
closeRunner(runner);
