/**
 * Weight gradient of a convolution, for every shape. Space is split into chunks of output rows; one invocation sums
 * one weight over one chunk, row by row, and a second kernel adds the chunks.
 */
import { wgsl } from "wgsl-preprocessor/wgsl-preprocessor.js";
import { convWork, volume, weightOperands } from "./common.wgsl.ts";
import { ceilDiv, foldGrid } from "../grid.ts";
import { withSizes } from "../sizes.ts";
import type { ConvParams } from "./common.wgsl.ts";
import { type Operands, operands } from "../operands.ts";
import type { Dispatch, Fusion, Kernel, Lowered, Target, Variant } from "../types.ts";

/**
 * Adds `parts` partial results of `count` elements each, in temporary `temp` [parts, count], into output 0 in a fixed
 * order; with a bias (input 2), adds the channel's bias, with `each` elements per channel.
 */
export function sumPartials(
  name: string,
  count: number,
  parts: number,
  type: ConvParams["storage"],
  target: Target,
  temp = 0,
  bias?: { readonly channels: number; readonly each: number },
  fusion: Fusion | null = null,
): Dispatch {
  const io = operands(
    [{ name: "partial", type: "f32", slot: { temp } }, ...(bias ? [{ name: "bias", type, slot: { input: 2 } }] : [])],
    { name: "result", type, slot: { output: 0 } },
    fusion,
  );
  const grid = foldGrid(ceilDiv(count, 64), target);
  const sizes = io.sizes({ count, parts, ...(bias && { each: bias.each, channels: bias.channels }) });
  // Sums of 16 terms are accumulated, so rounding grows with at most 16 + parts / 16 terms.
  const source = (): string =>
    wgsl`${io.enable}
${io.declarations()}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(local_invocation_index) lane: u32) {
${sizes.lets}
  let i = (${grid.index}) * 64u + lane;
  if (i >= count) { return; }
  var total = 0.0;
  for (var first = 0u; first < parts; first += 16u) {
    var sum = 0.0;
    for (var k = first; k < min(first + 16u, parts); k++) { sum += partial[k * count + i]; }
    total += sum;
  }
  ${io.store("i", bias ? `total + ${io.load("bias", "i / each % channels")}` : "total")}
}
`;
  return {
    kernel: withSizes({ name: `${io.prefix}${name}${io.suffix}`, source, workgroups: grid.workgroups }, sizes),
    reads: io.reads,
    writes: [{ output: 0 }],
  };
}

/** A kernel that computes `parts` partial sums of each of `count` weights, and the kernel that adds them. */
export function summedLater(
  { name, ...rest }: Kernel,
  io: Operands,
  p: ConvParams,
  { count, parts }: { readonly count: number; readonly parts: number },
  target: Target,
): Lowered {
  const kernel = { ...rest, name: `conv_weight_grad.${name}${io.suffix}`, ...convWork(p) };
  return {
    temps: [count * parts * 4],
    dispatches: [
      { kernel, reads: io.reads, writes: [{ temp: 0 }] },
      sumPartials("conv_weight_grad.sum_partials", count, parts, p.storage, target),
    ],
  };
}

function lower(p: ConvParams, target: Target, fusion: Fusion | null = null): Lowered {
  const [iD, iH, iW] = p.input;
  const [oD, oH, oW] = p.output;
  const [kD, kH, kW] = p.kernel;
  const ci = p.inChannels / p.groups,
    co = p.outChannels / p.groups;
  const count = p.outChannels * ci * volume(p.kernel);
  const rows = p.batch * oD * oH;
  // Enough chunks to occupy the device, few enough that the partial sums stay small compared with the data.
  const chunks = Math.max(1, Math.min(rows, ceilDiv(65536, count), Math.floor(target.maxBindingBytes / 4 / count)));
  const rowsPerChunk = ceilDiv(rows, chunks);
  const parts = ceilDiv(rows, rowsPerChunk);
  const grid = foldGrid(ceilDiv(count * parts, 64), target);
  const io = weightOperands(p, "x", "g", fusion);
  const source = (): string =>
    wgsl`${io.enable}
${io.declarations()}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = (${grid.index}) * 64u + lane;
  if (i >= ${count * parts}u) { return; }
  let kx = i32(i % ${kW}u);
  let ky = i32(i / ${kW}u % ${kH}u);
  let kz = i32(i / ${kW * kH}u % ${kD}u);
  let c = i / ${volume(p.kernel)}u % ${ci}u;
  let channel = i / ${volume(p.kernel) * ci}u % ${p.outChannels}u;
  let firstRow = i / ${count}u * ${rowsPerChunk}u;
  var total = 0.0;
  for (var row = firstRow; row < min(firstRow + ${rowsPerChunk}u, ${rows}u); row++) {
    let oy = i32(row % ${oH}u);
    let oz = i32(row / ${oH}u % ${oD}u);
    let sample = row / ${oH * oD}u;
    let iz = oz * ${p.stride[0]} + kz * ${p.dilation[0]} - ${p.padding[0]};
    let iy = oy * ${p.stride[1]} + ky * ${p.dilation[1]} - ${p.padding[1]};
    if (iz < 0 || iz >= ${iD} || iy < 0 || iy >= ${iH}) { continue; }
    let source = sample * ${p.inChannels}u + channel / ${co}u * ${ci}u + c;
    let x0 = i32(source * ${volume(p.input)}u) + (iz * ${iH} + iy) * ${iW};
    let g0 = (sample * ${p.outChannels}u + channel) * ${volume(p.output)}u + u32((oz * ${oH} + oy) * ${oW});
    var sum = 0.0;
    for (var ox = 0; ox < ${oW}; ox++) {
      let ix = ox * ${p.stride[2]} + kx * ${p.dilation[2]} - ${p.padding[2]};
      if (ix >= 0 && ix < ${iW}) { sum += ${io.load("x", "x0 + ix")} * ${io.load("g", "g0 + u32(ox)")}; }
    }
    total += sum;
  }
  partial[i] = total;
}
`;
  return summedLater({ name: "generic", source, workgroups: grid.workgroups }, io, p, { count, parts }, target);
}

export const convWeightGradGeneric: Variant<ConvParams> = { name: "generic", guard: () => true, lower };
