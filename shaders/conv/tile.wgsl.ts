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
import { convWork, rowPlan, sides, tapsOf, volume } from "./common.wgsl.ts";
import { ceilDiv, each, foldGrid, gpuShare, MOST_PICKED, pick, softwareShare } from "../grid.ts";
import type { ConvParams, RowPlan, Side, Size3 } from "./common.wgsl.ts";
import { type Operands, operands } from "../operands.ts";
import { withSizes } from "../sizes.ts";
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

/** A convolution as the kernel computes it. */
interface Problem {
  readonly from: Side;
  readonly to: Side;
  /** Sizes along the axes, with the padding before the first result. */
  readonly params: ConvParams;
  /** Whether it inverts a stride: results with equal position mod stride use the same planes and rows of the kernel. */
  readonly backward: boolean;
  /** Whether elements of the kernel are taken from the last to the first. */
  readonly flipped: boolean;
}

/** The gradient of a convolution without strides is a convolution with the flipped kernel, so they share a pipeline. */
function problemOf(p: ConvParams, backward: boolean): Problem {
  const { from, to } = sides(p, backward);
  if (!backward || p.stride.some((stride) => stride > 1)) return { from, to, params: p, backward, flipped: false };
  const padding = p.kernel.map((k, axis) => (k - 1) * p.dilation[axis] - p.padding[axis]) as [number, number, number];
  const params = {
    ...p,
    inChannels: p.outChannels,
    outChannels: p.inChannels,
    input: p.output,
    output: p.input,
    padding,
  };
  return { from, to, params, backward: false, flipped: true };
}

/** Lowers forward (`backward` false) or input gradient with one tile. */
export function lowerTile(
  given: ConvParams,
  target: Target,
  inverse: boolean,
  tile: Tile,
  fusion: Fusion | null = null,
): Lowered {
  const problem = problemOf(given, inverse);
  const { from, to, params: p, backward, flipped } = problem;
  const { channels: tc, width: tw, share } = tile;
  const perTap = volume(p.kernel);

  // Each phase of an inverted stride fills whole workgroups, so that all lanes of one need the same weights.
  const [phasesZ, phasesY] = backward ? p.stride : [1, 1];
  const depth = ceilDiv(to.size[0], phasesZ),
    height = ceilDiv(to.size[1], phasesY);
  const blocks = ceilDiv(to.size[2], tw);
  const lanes = p.batch * depth * height * blocks;
  const size = Math.min(64, target.maxWorkgroupSize);
  const channelBlocks = ceilDiv(to.channels, tc);
  const perSpace = channelBlocks * p.groups * phasesZ * phasesY;
  const grid = foldGrid(ceilDiv(lanes, size) * perSpace, target);

  // A load of four neighbors costs a CPU adapter little more than one of a single element.
  const step = tw * (backward ? 1 / p.stride[2] : p.stride[2]);
  const loadsFour = step % 4 === 0 && from.size[2] % 4 === 0 && !fusion?.loads[0];
  const io = operands(
    [
      { name: "data", type: loadsFour ? `vec4<${p.storage}>` : p.storage, slot: { input: 0 } },
      { name: "w", type: p.storage, slot: { input: 1 } },
      ...(p.bias ? [{ name: "bias", type: p.storage, slot: { input: 2 } }] : []),
    ],
    { name: "result", type: p.storage, slot: { output: 0 } },
    fusion,
  );
  // Strides and dilations divide positions of an inverted stride, which only constants do fast.
  const along = (name: string, values: Size3): Record<string, number> =>
    backward ? {} : { [`${name}Z`]: values[0], [`${name}Y`]: values[1] };
  const sizes = io.sizes(
    {
      lanes,
      blocks,
      height,
      depth,
      channelBlocks,
      groups: p.groups,
      fromChannels: from.channels,
      toChannels: to.channels,
      toDepth: to.size[0],
      toHeight: to.size[1],
      toWidth: to.size[2],
      kernelZ: p.kernel[0],
      kernelY: p.kernel[1],
    },
    {
      fromDepth: from.size[0],
      fromHeight: from.size[1],
      fromWidth: from.size[2],
      fromStride: from.weightStride,
      toStride: to.weightStride,
      groupStride: (p.outChannels / p.groups) * (p.inChannels / p.groups) * perTap,
      firstTap: flipped ? perTap - 1 : 0,
      nextTap: flipped ? -1 : 1,
      paddingX: p.padding[2],
      paddingY: p.padding[1],
      paddingZ: p.padding[0],
      ...along("stride", p.stride),
      ...along("dilation", p.dilation),
    },
  );
  const source = (): string => {
    const plan = rowPlan(p, backward, tw);
    const weights = weightLoads(p, to, tile, io);
    const gather = gathering(problem, plan, tile, io, loadsFour);
    const sums: string[] = [];
    for (let b = 0; b < tw; b++) for (let c = 0; c < tc; c++) sums.push(`var a${c}_${b} = 0.0;`);
    const overhang = ["(flat < lanes)", ...(backward ? ["(z < toDepth)", "(y < toHeight)"] : [])].join(" & ");

    return wgsl`${io.enable}
#if ${share > 1}
enable subgroups;
#endif
${io.declarations()}

@compute @workgroup_size(${size})
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(local_invocation_index) local: u32${
      share > 1 ? ", @builtin(subgroup_invocation_id) lane: u32" : ""
    }) {
${sizes.lets}
  var rest = ${grid.index};
  let first = rest % channelBlocks * ${tc}u;
  rest /= channelBlocks;
  let group = rest % groups;
  rest /= groups;
#if ${backward}
  let phaseY = rest % ${phasesY}u;
  let phaseZ = rest / ${phasesY}u % ${phasesZ}u;
  rest /= ${phasesY * phasesZ}u;
#endif
  // Lanes beyond the end repeat the last one because every lane must reach the broadcasts; they do not store.
  let flat = rest * ${size}u + local;
  rest = min(flat, lanes - 1u);
  let x0 = rest % blocks * ${tw}u;
  rest /= blocks;
  let row0 = rest % height;
  rest /= height;
  let plane0 = rest % depth;
  let sample = rest / depth;
#if ${backward}
  let y = row0 * ${phasesY}u + phaseY;
  let z = plane0 * ${phasesZ}u + phaseZ;
  let fx = i32(x0) / ${p.stride[2]};
  let fy = i32(y) + paddingY;
  let fz = i32(z) + paddingZ;
  let firstRow = (phaseY + u32(paddingY)) % ${phasesY}u;
  let firstPlane = (phaseZ + u32(paddingZ)) % ${phasesZ}u;
  let rows = (kernelY + ${phasesY - 1}u - firstRow) / ${phasesY}u;
  let planes = (kernelZ + ${phasesZ - 1}u - firstPlane) / ${phasesZ}u;
#else
  let y = row0;
  let z = plane0;
  let fx = i32(x0) * ${p.stride[2]} - paddingX;
  let fy = i32(y) * strideY - paddingY;
  let fz = i32(z) * strideZ - paddingZ;
  let rows = kernelY;
  let planes = kernelZ;
#endif
  ${weights.before}
  ${sums.join("\n  ")}
  let unit = ${loadsFour ? "fromWidth / 4" : "fromWidth"};
  ${gather.before}
  let fromVolume = fromDepth * fromHeight * unit;
  var base = i32((sample * groups + group) * fromChannels) * fromVolume;
  var weightBase = i32(group) * groupStride + i32(first) * toStride + firstTap;
  // What does not change is computed here, since not all compilers move it out of a loop.
  let steps = fromChannels * planes * rows;
  let lastRow = rows - 1u;
  let lastPlane = planes - 1u;
  let bottom = fromHeight - 1;
  let back = fromDepth - 1;
  let rowTaps = nextTap * ${p.kernel[2]};
  let channelTaps = fromStride - rowTaps * i32(planes * rows);
  // One loop instead of three, because each loop copies all sums per iteration on a CPU adapter.
  var plane = 0u;
  var row = 0u;
  for (var step = 0u; step < steps; step++) {
#if ${backward}
    let kz = firstPlane + plane * ${phasesZ}u;
    let ky = firstRow + row * ${phasesY}u;
    let iz = (fz - i32(kz) * ${p.dilation[0]}) / ${p.stride[0]};
    let iy = (fy - i32(ky) * ${p.dilation[1]}) / ${p.stride[1]};
#else
    let kz = plane;
    let ky = row;
    let iz = fz + i32(kz) * dilationZ;
    let iy = fy + i32(ky) * dilationY;
#endif
    // Loads outside the input are clamped to its edge and replaced by zero.
    let inside = (u32(iz) < u32(fromDepth)) & (u32(iy) < u32(fromHeight));
    let at = base + (clamp(iz, 0, back) * fromHeight + clamp(iy, 0, bottom)) * unit;
#if ${backward}
    let wAt = weightBase + i32(kz * kernelY + ky) * rowTaps;
#else
    let wAt = weightBase;
#endif
    ${weights.inside}
    ${gather.inside}
    let nextPlane = row == lastRow;
    let nextChannel = nextPlane & (plane == lastPlane);
    row = select(row + 1u, 0u, nextPlane);
    plane = select(plane + select(0u, 1u, nextPlane), 0u, nextChannel);
    base += select(0, fromVolume, nextChannel);
#if ${backward}
    weightBase += select(0, fromStride, nextChannel);
#else
    weightBase += rowTaps + select(0, channelTaps, nextChannel);
#endif
  }
  if (${overhang}) {
    let toVolume = toDepth * toHeight * toWidth;
    let corner = ((sample * groups + group) * toChannels + first) * toVolume + (z * toHeight + y) * toWidth + x0;
${stores(p, to, tile, io)}
  }
}
`;
  };
  const family = inverse ? "conv_input_grad" : "conv_forward";
  return {
    temps: [],
    dispatches: [
      {
        kernel: withSizes({
          name: `${io.prefix}${family}.tile${tc}x${tw}${share > 1 ? `_share${share}` : ""}${io.suffix}`,
          source,
          workgroups: grid.workgroups,
          ...convWork(p),
        }, sizes),
        reads: io.reads,
        writes: [{ output: 0 }],
      },
    ],
  };
}

/** Stores the sums; channels beyond the last are none. */
function stores(p: ConvParams, to: Side, { channels: tc, width: tw }: Tile, io: Operands): string {
  const bias = (c: string): string => p.bias ? ` + ${io.load("bias", `group * toChannels + first + ${c}`)}` : "";
  const checked = (b: string, store: string): string =>
    to.size[2] % tw === 0 ? store : `if (x0 + ${b} < toWidth) { ${store} }`;
  if (tc * tw <= MOST_PICKED) {
    const sum = pick(tc * tw, (k) => `a${Math.floor(k / tw)}_${k % tw}`, "k");
    return `    for (var k = 0u; k < ${tw}u * min(${tc}u, toChannels - first); k++) {
      let at = corner + k / ${tw}u * toVolume + k % ${tw}u;
      ${checked(`k % ${tw}u`, io.store("at", sum + bias(`k / ${tw}u`)))}
    }`;
  }
  const lines = each(tw, (b) => checked(`${b}u`, io.store(`(at + ${b}u)`, pick(tc, (c) => `a${c}_${b}`) + bias("c"))));
  return `    for (var c = 0u; c < min(${tc}u, toChannels - first); c++) {
      let at = corner + c * toVolume;
      ${lines}
    }`;
}

/** Loads one kernel row's weights as `w{channel}_{tap}`; channels beyond the last repeat it. */
function weightLoads(p: ConvParams, to: Side, tile: Tile, io: Operands): { before: string; inside: string } {
  const kW = p.kernel[2],
    count = tile.channels * kW;
  const before = [
    to.channels % tile.channels === 0
      ? `let lastChannel = ${tile.channels - 1}u;`
      : `let lastChannel = min(${tile.channels}u, toChannels - first) - 1u;`,
  ];
  const inside: string[] = [];
  const offset = (channel: string, tap: string): string => `i32(${channel}) * toStride + nextTap * i32(${tap})`;
  if (tile.share > 1) {
    before.push(`let own = lane % ${tile.share}u;`);
    for (let v = 0; v < ceilDiv(count, tile.share); v++) {
      const element = `(own + ${v * tile.share}u)`;
      before.push(`let offset${v} = ${offset(`min(${element} / ${kW}u, lastChannel)`, `${element} % ${kW}u`)};`);
      inside.push(`let shared${v} = ${io.load("w", `wAt + offset${v}`)};`);
    }
  }
  for (let i = 0; i < count; i++) {
    const c = Math.floor(i / kW),
      t = i % kW;
    inside.push(
      tile.share > 1
        ? `let w${c}_${t} = subgroupBroadcast(shared${Math.floor(i / tile.share)}, ${i % tile.share}u);`
        : `let w${c}_${t} = ${io.load("w", `wAt + ${offset(`min(${c}u, lastChannel)`, `${t}u`)}`)};`,
    );
  }
  return { before: before.join("\n  "), inside: inside.join("\n    ") };
}

/** Loads the inputs of the voxels in one row, as `x{index}`, and multiplies and adds them. */
function gathering(
  { params: p, backward }: Problem,
  plan: RowPlan,
  tile: Tile,
  io: Operands,
  four: boolean,
): { before: string; inside: string } {
  const before: string[] = [],
    inside: string[] = [];
  const fours = new Map<number, string>();
  plan.offsets.forEach((offset, i) => {
    const mayMiss = plan.mayMiss(offset);
    if (four) {
      // Blocks begin at multiples of four, so the offset says where in its four an input is.
      const column = offset - (backward ? 0 : p.padding[2]);
      const place = Math.floor(column / 4);
      let name = fours.get(place);
      if (!name) {
        fours.set(place, name = `four${fours.size}`);
        const at = `${backward ? "fx" : `i32(x0) * ${p.stride[2]}`} / 4 + ${place}`;
        before.push(`let in_${name} = u32(${at}) < u32(unit);`);
        before.push(`let at_${name} = clamp(${at}, 0, unit - 1);`);
        const value = io.loadFour("data", `at + at_${name}`);
        inside.push(`let ${name} = select(vec4f(), ${value}, vec4<bool>(inside & in_${name}));`);
      }
      inside.push(`let x${i} = ${name}.${"xyzw"[column - 4 * place]};`);
    } else if (mayMiss) {
      before.push(`let in${i} = u32(fx + ${offset}) < u32(fromWidth);`);
      before.push(`let column${i} = clamp(fx + ${offset}, 0, fromWidth - 1);`);
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
