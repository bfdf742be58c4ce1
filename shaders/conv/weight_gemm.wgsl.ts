/**
 * Weight gradient on GPUs as an implicit GEMM: the gradient [out channels, positions] times the input that each weight
 * multiplies [positions, in channels x taps]. Positions are split into parts that are summed separately, enough to
 * fill a GPU; a second kernel adds the parts in a fixed order.
 */
import { wgsl } from "wgsl-preprocessor/wgsl-preprocessor.js";
import { volume, weightOperands } from "./common.wgsl.ts";
import { ceilDiv, foldGrid } from "../grid.ts";
import type { ConvParams, Size3 } from "./common.wgsl.ts";
import { gemmMethod, gemmSize } from "./gemm_core.wgsl.ts";
import type { GemmMethod, GemmTile } from "./gemm_core.wgsl.ts";
import { QUOTIENTS } from "./quotients.ts";
import { summedLater } from "./weight_grad.wgsl.ts";
import { withSizes } from "../sizes.ts";
import type { Fusion, Lowered, Target, Variant } from "../types.ts";

/** Bytes of workgroup memory for the input offsets of a tile's columns. */
const tableBytes = (columns: number): number => columns * 16;

function lowerWeightGemm(
  p: ConvParams,
  target: Target,
  tile: GemmTile,
  method: GemmMethod,
  name: string,
  fusion: Fusion | null = null,
): Lowered {
  const { rows, columns, depth } = tile;
  const invocations = gemmSize(tile);
  const [iD, iH, iW] = p.input;
  const [oD, oH, oW] = p.output;
  const ci = p.inChannels / p.groups,
    co = p.outChannels / p.groups;
  const taps = volume(p.kernel),
    weights = ci * taps;
  const count = p.outChannels * weights;
  const places = p.batch * volume(p.output);
  const rowBlocks = ceilDiv(co, rows),
    columnBlocks = ceilDiv(weights, columns);
  const blocks = rowBlocks * columnBlocks * p.groups;
  const steps = ceilDiv(places, depth);
  // Parts: enough to occupy the device and keep the sums short, but with a few hundred positions each.
  const wanted = Math.max(Math.min(ceilDiv(512, blocks), ceilDiv(places, 256)), ceilDiv(places, 16384));
  const most = Math.max(1, Math.floor(Math.min(target.maxBindingBytes, 2 ** 24) / 4 / count));
  const perPart = ceilDiv(steps, Math.min(wanted, most, steps));
  const parts = ceilDiv(steps, perPart);
  const grid = foldGrid(blocks * parts, target);
  const io = weightOperands(p, "data", "g", fusion);
  const along = (name: string, [z, y, x]: Size3) => ({ [`${name}Z`]: z, [`${name}Y`]: y, [`${name}X`]: x });
  const sizes = io.sizes(
    {
      units: blocks * parts,
      rowBlocks,
      columnBlocks,
      groups: p.groups,
      perPart,
      allSteps: steps,
      places,
      weights,
      count,
      ...along("kernel", p.kernel),
      ...along("dilation", p.dilation),
      outChannels: co,
      outDepth: oD,
      outHeight: oH,
      outWidth: oW,
      outVolume: volume(p.output),
      inChannels: ci,
      inDepth: iD,
      inHeight: iH,
      inWidth: iW,
      inVolume: volume(p.input),
    },
    { ...along("padding", p.padding), ...along("stride", p.stride) },
    { perDepth: 1 / oD, perHeight: 1 / oH, perWidth: 1 / oW },
  );

  const source = (): string => {
    const core = method.core();
    // A step's loads go to registers first, so that they overlap with the computation of the previous step.
    const atOnce = invocations / depth;
    const registers: string[] = [],
      loads: string[] = [],
      stages: string[] = [];
    for (let v = 0; v < rows / 4 / atOnce; v++) {
      const channel = (c: number): string => `min(row0 + (first + ${v * atOnce}u) * 4u + ${c}u, outChannels - 1u)`;
      const values = [0, 1, 2, 3].map((c) => io.load("g", `gAt + ${channel(c)} * outVolume`));
      registers.push(`var a${v} = vec4f();`);
      loads.push(`a${v} = select(vec4f(), vec4f(${values.join(", ")}), here);`);
      stages.push(core.stage("a", "line", `(first + ${v * atOnce}u)`, `a${v}`));
    }
    for (let v = 0; v < columns / 4 / atOnce; v++) {
      registers.push(`var b${v} = vec4f();`);
      loads.push(`{
        let q = first + ${v * atOnce}u;
        let z = u32(z0) + seenZ[q];
        let y = u32(y0) + seenY[q];
        let x = u32(x0) + seenX[q];
        let inside = vec4<bool>(here) & (z < vec4u(inDepth)) & (y < vec4u(inHeight)) & (x < vec4u(inWidth));
        let at = select(vec4u(), u32(xAt) + seenAt[q], inside);
        b${v} = select(vec4f(), vec4f(${[0, 1, 2, 3].map((c) => io.load("data", `at[${c}]`)).join(", ")}), inside);
      }`);
      stages.push(core.stage("b", "line", `first + ${v * atOnce}u`, `b${v}`));
    }

    return wgsl`${io.enable}
${core.enable}
${io.declarations()}

// For the columns q, q + columns / 4, ...: planes, rows, voxels and elements relative to the first that a position
// reads.
var<workgroup> seenZ: array<vec4u, ${columns / 4}>;
var<workgroup> seenY: array<vec4u, ${columns / 4}>;
var<workgroup> seenX: array<vec4u, ${columns / 4}>;
var<workgroup> seenAt: array<vec4u, ${columns / 4}>;
${core.memory}
${QUOTIENTS}

@compute @workgroup_size(${invocations})
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(local_invocation_index) local: u32${core.builtins}) {
${sizes.lets}
  let block = ${grid.index};
  if (block >= units) { return; }
  let row0 = block % rowBlocks * ${rows}u;
  var rest = block / rowBlocks;
  let column0 = rest % columnBlocks * ${columns}u;
  rest /= columnBlocks;
  let group = rest % groups;
  let part = rest / groups;
  for (var q = local; q < ${columns / 4}u; q += ${invocations}u) {
    let column = vec4u(column0 + q) + vec4u(0u, ${columns / 4}u, ${columns / 2}u, ${(columns * 3) / 4}u);
    var tap = min(column, vec4u(weights - 1u));
    let x = tap % kernelX * dilationX;
    tap /= vec4u(kernelX);
    let y = tap % kernelY * dilationY;
    tap /= vec4u(kernelY);
    let z = tap % kernelZ * dilationZ;
    seenZ[q] = z;
    seenY[q] = y;
    seenX[q] = x;
    seenAt[q] = tap / kernelZ * inVolume + (z * inHeight + y) * inWidth + x;
  }
  workgroupBarrier();

  let line = local % ${depth}u;
  let first = local / ${depth}u;
  ${core.before}
  ${registers.join("\n  ")}
  let steps = min((part + 1u) * perPart, allSteps) - part * perPart;
  for (var step = 0u; step <= steps; step++) {
    if (step < steps) {
      let place = (part * perPart + step) * ${depth}u + line;
      let here = place < places;
      let o = min(place, places - 1u);
      let rowOf = quotient(o, outWidth, perWidth);
      let planeOf = quotient(rowOf, outHeight, perHeight);
      let sample = quotient(planeOf, outDepth, perDepth);
      let x0 = i32(o - rowOf * outWidth) * strideX - paddingX;
      let y0 = i32(rowOf - planeOf * outHeight) * strideY - paddingY;
      let z0 = i32(planeOf - sample * outDepth) * strideZ - paddingZ;
      let gAt = (sample * groups + group) * (outChannels * outVolume) + o - sample * outVolume;
      let sampleAt = i32((sample * groups + group) * (inChannels * inVolume));
      let xAt = sampleAt + (z0 * i32(inHeight) + y0) * i32(inWidth) + x0;
      ${loads.join("\n      ")}
    }
    if (step > 0u) {
      ${core.multiply}
    }
    workgroupBarrier();
    ${stages.join("\n    ")}
    workgroupBarrier();
  }
  ${
      core.finish(
        `let weight = column0 + column;
  let isWeight = weight < weights;`,
        `let channel = row0 + row;
    if (isWeight & (channel < outChannels)) {
      partial[part * count + (group * outChannels + channel) * weights + weight] = value;
    }`,
      )
    }
}
`;
  };
  return summedLater(withSizes({ name, source, workgroups: grid.workgroups }, sizes), io, p, { count, parts }, target);
}

function variant(rows: number, columns: number, matrices: boolean): Variant<ConvParams> {
  const name = `${matrices ? "matrix" : "gemm"}${rows}x${columns}`;
  const tile: GemmTile = { rows, columns, depth: matrices ? 32 : 16 };
  const method = (p: ConvParams, target: Target): GemmMethod | null =>
    gemmMethod(tile, matrices, p, target, tableBytes(columns));
  return {
    name,
    // At least half of a tile is used.
    guard: (p, target) =>
      !target.software &&
      p.outChannels / p.groups > rows / 2 &&
      (p.inChannels / p.groups) * volume(p.kernel) > columns / 2 &&
      method(p, target) !== null,
    lower: (p, target, fusion) => lowerWeightGemm(p, target, tile, method(p, target)!, name, fusion),
  };
}

/** The variants for GPUs: registers, then f16 subgroup matrices, which are only used if tuning selects them. */
export const weightGemmVariants: readonly Variant<ConvParams>[] = [
  variant(64, 128, false),
  variant(32, 128, false),
  variant(16, 128, false),
  variant(64, 128, true),
  variant(32, 128, true),
];
