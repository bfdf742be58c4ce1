/**
 * Register-tiled convolution for forward and input gradient. One invocation computes `channels` output channels of
 * `width` neighboring voxels of a row in registers. It loops over input channels, kernel planes and kernel rows, loads
 * each input of such a row once, and multiplies it with every weight that uses it.
 *
 * On a CPU adapter a load costs one scalar load and one bounds check per lane, about twenty times a multiply-add. All
 * lanes of a subgroup need the same weights, so each lane loads a different one and subgroupBroadcast shares it.
 * Conditions are joined by `&`: each `&&` becomes a branch, and hundreds of those stall SwiftShader's compiler.
 */
import { wgsl } from "wgsl-preprocessor/wgsl-preprocessor.js";
import { convOperands, convWork, rowPlan, sides, tapsOf, volume } from "./common.wgsl.ts";
import { ceilDiv, foldGrid, gpuShare, pick, softwareShare } from "../grid.ts";
import type { ConvParams, RowPlan, Side, Size3 } from "./common.wgsl.ts";
import type { Operands } from "../operands.ts";
import type { Fusion, Lowered, Target, Variant } from "../types.ts";

interface Tile {
  readonly channels: number;
  readonly width: number;
  /** Lanes that share loaded weights by subgroup broadcast; 1 if every lane loads its own. */
  readonly share: number;
}

/**
 * About 32 sums, as many as a CPU adapter keeps in registers, split evenly among the channels. SwiftShader, whose
 * subgroups have four lanes, compiles fast and gains from twice as many.
 */
function chooseTile(p: ConvParams, backward: boolean, share: number): Tile {
  const { to } = sides(p, backward);
  const sums = share === 4 ? 64 : 32;
  const channels = ceilDiv(to.channels, ceilDiv(to.channels, sums / 4));
  let width = backward ? p.stride[2] : 1;
  while (channels * width * 2 <= sums && width < 16 && width < to.size[2]) width += width;
  return { channels, width, share };
}

/**
 * The variants of one direction: weights shared within a subgroup (not the default on a GPU), or loaded by every lane.
 */
export function tileVariants(backward: boolean): readonly Variant<ConvParams>[] {
  const variant = (name: string, shareOf: (target: Target) => number | undefined): Variant<ConvParams> => ({
    name,
    guard: (p, target) => {
      const share = shareOf(target);
      if (share === undefined) return false;
      // A phase of a strided gradient uses every stride-th kernel element, which does not work with dilation.
      if (backward && [0, 1].some((axis) => p.stride[axis] > 1 && p.dilation[axis] > 1)) return false;
      const tile = chooseTile(p, backward, share);
      return tile.channels * tapsOf(p, backward, tile.width) <= 400;
    },
    lower: (p, target, fusion) => lowerTile(p, target, backward, chooseTile(p, backward, shareOf(target) ?? 1), fusion),
  });
  return [variant("tile_shared", softwareShare), variant("tile", () => 1), variant("tile_subgroup", gpuShare)];
}

/** Lowers forward (`backward` false) or input gradient with one tile. */
export function lowerTile(
  p: ConvParams,
  target: Target,
  backward: boolean,
  tile: Tile,
  fusion: Fusion | null = null,
): Lowered {
  const { from, to } = sides(p, backward);
  const { channels: tc, width: tw, share } = tile;
  const [kD, kH, kW] = p.kernel;

  // In the gradient of a strided convolution, voxels with equal position mod stride use the same planes and rows of
  // the kernel. Each such phase fills whole workgroups, so that all lanes of one need the same weights.
  const [phasesZ, phasesY] = backward ? p.stride : [1, 1];
  const depth = ceilDiv(to.size[0], phasesZ),
    height = ceilDiv(to.size[1], phasesY);
  const blocks = ceilDiv(to.size[2], tw);
  const lanes = p.batch * depth * height * blocks;
  const size = Math.min(64, target.maxWorkgroupSize);
  const channelBlocks = ceilDiv(to.channels, tc);
  const perSpace = channelBlocks * p.groups * phasesZ * phasesY;
  const grid = foldGrid(ceilDiv(lanes, size) * perSpace, target);

  const io = convOperands(p, ["data", "w", "bias"], "result", fusion);
  const source = (): string => {
    const plan = rowPlan(p, backward, tw);
    const weights = weightLoads(p, to, tile, io);
    const gather = gathering(plan, from.size, tile, io);
    const sums: string[] = [],
      stores: string[] = [];
    for (let b = 0; b < tw; b++) {
      for (let c = 0; c < tc; c++) sums.push(`var a${c}_${b} = 0.0;`);
      const sum = `${pick(tc, (c) => `a${c}_${b}`)}${p.bias ? " + b" : ""}`;
      const store = io.store(`(at + ${b}u)`, sum);
      stores.push(blocks * tw > to.size[2] && b > 0 ? `if (x0 + ${b}u < ${to.size[2]}u) { ${store} }` : store);
    }
    const overhang = [
      `(flat < ${lanes}u)`,
      ...(to.size[0] % phasesZ === 0 ? [] : [`(z < ${to.size[0]}u)`]),
      ...(to.size[1] % phasesY === 0 ? [] : [`(y < ${to.size[1]}u)`]),
    ].join(" & ");

    return wgsl`${io.enable}
#if ${share > 1}
enable subgroups;
#endif
${io.declarations()}

@compute @workgroup_size(${size})
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(local_invocation_index) local: u32${
      share > 1 ? ", @builtin(subgroup_invocation_id) lane: u32" : ""
    }) {
  let block = ${grid.index};
  let first = block % ${channelBlocks}u * ${tc}u;
  let group = block / ${channelBlocks}u % ${p.groups}u;
  let phaseY = block / ${channelBlocks * p.groups}u % ${phasesY}u;
  let phaseZ = block / ${channelBlocks * p.groups * phasesY}u % ${phasesZ}u;
  // Lanes beyond the end repeat the last one because every lane must reach the broadcasts; they do not store.
  let flat = block / ${perSpace}u * ${size}u + local;
  let i = min(flat, ${lanes - 1}u);
  let x0 = i % ${blocks}u * ${tw}u;
  let y = i / ${blocks}u % ${height}u * ${phasesY}u + phaseY;
  let z = i / ${blocks * height}u % ${depth}u * ${phasesZ}u + phaseZ;
  let sample = i / ${blocks * height * depth}u;
#if ${backward}
  let fx = i32(x0) / ${p.stride[2]};
  let fy = i32(y + ${p.padding[1]}u);
  let fz = i32(z + ${p.padding[0]}u);
  let firstRow = (phaseY + ${p.padding[1]}u) % ${phasesY}u;
  let firstPlane = (phaseZ + ${p.padding[0]}u) % ${phasesZ}u;
  let rows = (${kH + phasesY - 1}u - firstRow) / ${phasesY}u;
  let planes = (${kD + phasesZ - 1}u - firstPlane) / ${phasesZ}u;
#else
  let fx = i32(x0) * ${p.stride[2]} - ${p.padding[2]};
  let fy = i32(y) * ${p.stride[1]} - ${p.padding[1]};
  let fz = i32(z) * ${p.stride[0]} - ${p.padding[0]};
  let firstRow = 0u;
  let firstPlane = 0u;
  let rows = ${kH}u;
  let planes = ${kD}u;
#endif
  ${gather.before}
  ${weights.before}
  ${sums.join("\n  ")}
  let base = i32((sample * ${p.groups}u + group) * ${from.channels * volume(from.size)}u);
  let weightBase = group * ${(p.outChannels / p.groups) * (p.inChannels / p.groups) * volume(p.kernel)}u
    + first * ${to.weightStride}u;
  // One loop instead of three, because each loop copies all sums per iteration on a CPU adapter.
  var channel = 0u;
  var plane = 0u;
  var row = 0u;
  for (var step = 0u; step < ${from.channels}u * planes * rows; step++) {
    let kz = firstPlane + plane * ${phasesZ}u;
    let ky = firstRow + row * ${phasesY}u;
#if ${backward}
    let iz = (fz - i32(kz) * ${p.dilation[0]}) / ${p.stride[0]};
    let iy = (fy - i32(ky) * ${p.dilation[1]}) / ${p.stride[1]};
#else
    let iz = fz + i32(kz) * ${p.dilation[0]};
    let iy = fy + i32(ky) * ${p.dilation[1]};
#endif
    // Loads outside the input are clamped to its edge and replaced by zero.
    let inside = (u32(iz) < ${from.size[0]}u) & (u32(iy) < ${from.size[1]}u);
    let at = base + i32(channel) * ${volume(from.size)}
      + (clamp(iz, 0, ${from.size[0] - 1}) * ${from.size[1]} + clamp(iy, 0, ${from.size[1] - 1})) * ${from.size[2]};
    let wAt = weightBase + channel * ${from.weightStride}u + (kz * ${kH}u + ky) * ${kW}u;
    ${weights.inside}
    ${gather.inside}
    let lastRow = row + 1u == rows;
    let lastPlane = lastRow & (plane + 1u == planes);
    row = select(row + 1u, 0u, lastRow);
    plane = select(plane + select(0u, 1u, lastRow), 0u, lastPlane);
    channel += select(0u, 1u, lastPlane);
  }
  if (${overhang}) {
    let corner = ((sample * ${p.groups}u + group) * ${to.channels}u + first) * ${volume(to.size)}u
      + (z * ${to.size[1]}u + y) * ${to.size[2]}u + x0;
    for (var c = 0u; c < ${to.channels % tc === 0 ? `${tc}u` : `min(${tc}u, ${to.channels}u - first)`}; c++) {
      let at = corner + c * ${volume(to.size)}u;
      ${p.bias ? `let b = ${io.load("bias", `group * ${to.channels}u + first + c`)};` : ""}
      ${stores.join("\n      ")}
    }
  }
}
`;
  };
  const family = backward ? "conv_input_grad" : "conv_forward";
  return {
    temps: [],
    dispatches: [
      {
        kernel: {
          name: `${io.prefix}${family}.tile${tc}x${tw}${share > 1 ? `_share${share}` : ""}${io.suffix}`,
          source,
          workgroups: grid.workgroups,
          ...convWork(p),
        },
        reads: io.reads,
        writes: [{ output: 0 }],
      },
    ],
  };
}

/** Loads one kernel row's weights as `w{channel}_{tap}`; channels beyond the last repeat it. */
function weightLoads(p: ConvParams, to: Side, tile: Tile, io: Operands): { before: string; inside: string } {
  const kW = p.kernel[2],
    count = tile.channels * kW;
  const before = to.channels % tile.channels === 0
    ? [`let lastChannel = ${tile.channels - 1}u;`]
    : [`let lastChannel = min(${tile.channels}u, ${to.channels}u - first) - 1u;`];
  const inside: string[] = [];
  if (tile.share > 1) {
    before.push(`let own = lane % ${tile.share}u;`);
    for (let v = 0; v < ceilDiv(count, tile.share); v++) {
      const element = `(own + ${v * tile.share}u)`;
      const channel = `min(${element} / ${kW}u, lastChannel)`;
      before.push(`let offset${v} = ${channel} * ${to.weightStride}u + ${element} % ${kW}u;`);
      inside.push(`let shared${v} = ${io.load("w", `wAt + offset${v}`)};`);
    }
  }
  for (let i = 0; i < count; i++) {
    const c = Math.floor(i / kW),
      t = i % kW;
    inside.push(
      tile.share > 1
        ? `let w${c}_${t} = subgroupBroadcast(shared${Math.floor(i / tile.share)}, ${i % tile.share}u);`
        : `let w${c}_${t} = ${io.load("w", `wAt + min(${c}u, lastChannel) * ${to.weightStride}u + ${t}u`)};`,
    );
  }
  return { before: before.join("\n  "), inside: inside.join("\n    ") };
}

/** Loads the inputs of the voxels in one row, as `x{index}`, and multiplies and adds them. */
function gathering(plan: RowPlan, size: Size3, tile: Tile, io: Operands): { before: string; inside: string } {
  const before: string[] = [],
    inside: string[] = [];
  plan.offsets.forEach((offset, i) => {
    if (plan.mayMiss(offset)) {
      before.push(`let in${i} = u32(fx + ${offset}) < ${size[2]}u;`);
      before.push(`let column${i} = clamp(fx + ${offset}, 0, ${size[2] - 1});`);
      inside.push(`let x${i} = select(0.0, ${io.load("data", `at + column${i}`)}, inside & in${i});`);
    } else {
      inside.push(`let x${i} = select(0.0, ${io.load("data", `at + fx + ${offset}`)}, inside);`);
    }
  });
  for (let b = 0; b < tile.width; b++) {
    const taps = plan.taps.filter((t) => t.position === b);
    if (taps.length === 0) continue;
    for (let c = 0; c < tile.channels; c++) {
      inside.push(`a${c}_${b} += ${taps.map((t) => `x${plan.offsets.indexOf(t.offset)} * w${c}_${t.k}`).join(" + ")};`);
    }
  }
  return { before: before.join("\n  "), inside: inside.join("\n    ") };
}
