/**
 * Time, rate and compile time of the convolution kernels at the sizes of a 3-D U-Net (features 8, 16, 32; batch 2 of 40
 * x 56 x 40) and at 32 to 32 channels on 32 cubed; `--large` takes the sizes of a U-Net for GPUs. Run: node --import
 * ./engine/platform/cli/register.mjs bench/probes/conv_kernels.ts [--large] [--storage f16] [--shape 16-16]
 *     [--family forward] [--every]
 * `--every` ranks all variants that support a size, the default marked by a star, with the largest difference from the
 * generic one relative to its largest value. Compile times are cold only if the driver has no cache (Mesa:
 * MESA_SHADER_CACHE_DISABLE=true).
 */
import mri from "mri";
import { convForwardVariants, convInputGradVariants } from "../../shaders/conv/variants.ts";
import { convWeightGradVariants } from "../../shaders/conv/weight_variants.ts";
import type { ConvParams } from "../../shaders/conv/variants.ts";
import { closeRunner, openRunner, runLowered } from "../../test/helpers/conv_kernel_runner.ts";

type Size3 = readonly [number, number, number];

const options = mri(process.argv.slice(2), {
  boolean: ["every", "large"],
  default: { shape: "", family: "", storage: "f32", repeats: 5 },
});

const cube = (n: number): Size3 => [n, n, n];

function conv(
  batch: number,
  inChannels: number,
  outChannels: number,
  input: Size3,
  kernel: number,
  stride: number,
): ConvParams {
  const padding = kernel === 3 ? 1 : 0;
  const size = (n: number): number => Math.floor((n + 2 * padding - kernel) / stride) + 1;
  return {
    batch,
    inChannels,
    outChannels,
    groups: 1,
    input,
    output: [size(input[0]), size(input[1]), size(input[2])],
    kernel: cube(kernel),
    stride: cube(stride),
    padding: cube(padding),
    dilation: cube(1),
    bias: false,
    storage: options.storage,
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

/** Patches of 128 cubed, as in nnU-Net. */
const large: Record<string, ConvParams> = {
  "1-32": conv(1, 1, 32, cube(128), 3, 1),
  "32-32": conv(1, 32, 32, cube(128), 3, 1),
  "32-64 stride 2": conv(1, 32, 64, cube(128), 3, 2),
  "64-64": conv(1, 64, 64, cube(64), 3, 1),
  "128-64": conv(1, 128, 64, cube(64), 3, 1),
  "128-128": conv(1, 128, 128, cube(32), 3, 1),
  "256-256": conv(1, 256, 256, cube(16), 3, 1),
  "320-320": conv(2, 320, 320, cube(8), 3, 1),
  // As the forward convolution whose input gradient the transposed one is.
  "transposed 64-32": conv(1, 32, 64, cube(128), 2, 2),
  "head 32-3": conv(1, 32, 3, cube(128), 1, 1),
};

const volume = (s: Size3): number => s[0] * s[1] * s[2];
const runner = await openRunner();
console.log(`${runner.adapterName}, ${options.storage}`);
if (options.storage === "f16" && !runner.target.features.has("shader-f16")) throw new Error("this adapter has no f16");
console.log(
  "family          shape              variant        tile                     ms    GFLOP/s  compile ms  differs",
);
for (const [name, p] of Object.entries(options.large ? large : shapes)) {
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
    const data = inputs.map(noise);
    const { repeats, storage } = options;
    const rows: { ms: number; text: string }[] = [];
    let expected: Float32Array | undefined;
    // The generic variant is the last.
    for (const variant of options.every ? fitting.reverse() : fitting.slice(0, 1)) {
      const lowered = variant.lower(p, runner.target);
      const run = await runLowered(runner, lowered, data, output, { repeats, storage });
      const { name: kernel, flops } = lowered.dispatches.map((d) => d.kernel).find((k) => k.flops !== undefined)!;
      if (variant.name === "generic") expected = run.output;
      const star = !options.every || variant === fitting.at(-1) ? "*" : "";
      const text = [
        family.padEnd(15),
        name.padEnd(18),
        (variant.name + star).padEnd(14),
        kernel.split(".")[1].padEnd(20),
        run.minMs.toFixed(run.minMs < 10 ? 3 : 1).padStart(7),
        (flops! / run.minMs / 1e6).toFixed(1).padStart(10),
        run.compileMs.toFixed(0).padStart(10),
        expected ? difference(run.output, expected).toExponential(1).padStart(10) : "",
      ].join(" ");
      rows.push({ ms: run.minMs, text });
    }
    for (const row of rows.sort((a, b) => a.ms - b.ms)) console.log(row.text);
  }
}
closeRunner(runner);

/** Repeating numbers in [-0.5, 0.5). */
function noise(length: number): Float32Array {
  const data = new Float32Array(length);
  const period = 1009;
  for (let i = 0; i < Math.min(length, period); i++) data[i] = ((i * 7919) % period) / period - 0.5;
  for (let done = period; done < length; done *= 2) data.copyWithin(done, 0, Math.min(done, length - done));
  return data;
}

/** Largest difference, relative to the largest expected value. */
function difference(actual: Float32Array, expected: Float32Array): number {
  let largest = 0, scale = 1e-30;
  for (let i = 0; i < expected.length; i++) {
    const d = Math.abs(actual[i] - expected[i]);
    // Negated comparison, so that NaN is kept.
    if (!(d <= largest)) largest = d;
    scale = Math.max(scale, Math.abs(expected[i]));
  }
  return largest / scale;
}
