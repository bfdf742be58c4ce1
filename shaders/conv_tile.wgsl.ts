/**
 * Register-tiled convolution for forward and input gradient. One invocation computes `channels` output channels of a
 * block of `height` x `width` voxels in registers; it loops over input channels and kernel planes, loads each value
 * that the block sees in that plane once, and multiplies it with every weight that meets it.
 *
 * On a CPU adapter a load costs one scalar load and one bounds test per lane, some twenty times a multiply-add. All
 * lanes of a subgroup need the same weights, so each lane loads a different one and subgroupBroadcast hands it round.
 */
import { wgsl } from "wgsl-preprocessor/wgsl-preprocessor.js";
import { axisPlan, ceilDiv, convFlops, foldGrid, volume } from "./conv_common.wgsl.ts";
import type { AxisPlan, ConvParams, Size3 } from "./conv_common.wgsl.ts";
import type { Lowered, Target, Variant } from "./types.ts";

interface Tile {
  readonly channels: number;
  readonly height: number;
  readonly width: number;
  /** Lanes that share loaded weights through subgroup broadcasts; 1 where every lane loads its own. */
  readonly share: number;
}

/** The two directions in one view: `to` is what the kernel writes, `from` what it gathers. */
interface View {
  readonly name: string;
  readonly from: { readonly channels: number; readonly size: Size3; readonly weightStride: number };
  readonly to: { readonly channels: number; readonly size: Size3; readonly weightStride: number };
  readonly backward: boolean;
}

function viewOf(p: ConvParams, backward: boolean): View {
  const perTap = volume(p.kernel);
  const x = { channels: p.inChannels / p.groups, size: p.input, weightStride: perTap };
  const y = { channels: p.outChannels / p.groups, size: p.output, weightStride: p.inChannels / p.groups * perTap };
  return backward
    ? { name: "conv_input_grad", from: y, to: x, backward }
    : { name: "conv_forward", from: x, to: y, backward };
}

/** Multiply-adds that one pass of the loop unrolls to: what compiling costs. */
function unrolled(p: ConvParams, backward: boolean, tile: Tile): number {
  const rows = axisPlan(p, 1, backward, tile.height), columns = axisPlan(p, 2, backward, tile.width);
  return tile.channels * rows.taps.length * columns.taps.length;
}

/**
 * The tile for these sizes: about as many sums as a CPU adapter has registers to hold them, shared evenly among the
 * channels, in blocks that the stride divides.
 */
function chooseTile(p: ConvParams, backward: boolean, share: number): Tile {
  const total = viewOf(p, backward).to.channels;
  const channels = ceilDiv(total, ceilDiv(total, 8));
  const [, strideY, strideX] = backward ? p.stride : [1, 1, 1];
  const [, sizeY, sizeX] = viewOf(p, backward).to.size;
  const sums = share === 4 ? 64 : 32;
  let height = strideY, width = strideX;
  while (channels * height * width * 2 <= sums && (width < sizeX || height < sizeY)) {
    if (width < sizeX && (width <= 2 * height || height >= sizeY)) width += width;
    else height += height;
  }
  return { channels, height, width, share };
}

/** The variants of one direction: weights shared within a subgroup, and every lane for itself. */
export function tileVariants(backward: boolean): readonly Variant<ConvParams>[] {
  const variant = (name: string, shareOf: (target: Target) => number | undefined): Variant<ConvParams> => ({
    name,
    guard: (p, target) => {
      const share = shareOf(target);
      // The phases of a strided gradient along depth take every stride-th kernel plane, which dilation would upset.
      if (share === undefined || (backward && p.stride[0] > 1 && p.dilation[0] > 1)) return false;
      return unrolled(p, backward, chooseTile(p, backward, share)) <= 1200;
    },
    lower: (p, target) => lowerTile(p, target, backward, chooseTile(p, backward, shareOf(target) ?? 1)),
  });
  return [
    variant("tile_shared", (target) =>
      target.software && target.features.has("subgroups") ? Math.min(8, subgroupMinSize(target)) : undefined),
    variant("tile", () => 1),
  ];
}

/** WebGPU guarantees four lanes; the engine may know better. */
const subgroupMinSize = (target: Target & { readonly subgroupMinSize?: number }): number =>
  target.subgroupMinSize ?? 4;

/** Lowers forward (`backward` false) or input gradient with one tile. */
export function lowerTile(p: ConvParams, target: Target, backward: boolean, tile: Tile): Lowered {
  const view = viewOf(p, backward);
  const { from, to } = view;
  const { channels: tc, height: th, width: tw, share } = tile;
  const planY = axisPlan(p, 1, backward, th), planX = axisPlan(p, 2, backward, tw);
  const [kD, kH, kW] = p.kernel;

  // Depth is not tiled. Where the gradient of a strided convolution is gathered, voxels z with the same remainder of
  // z / stride meet the same kernel planes: such a phase fills whole workgroups, so that weights stay uniform.
  const phases = backward ? p.stride[0] : 1;
  const depth = ceilDiv(to.size[0], phases);
  const lanes = p.batch * depth * planY.blocks * planX.blocks;
  const size = Math.min(64, target.maxWorkgroupSize);
  const spaceGroups = ceilDiv(lanes, size);
  const channelBlocks = ceilDiv(to.channels, tc);
  const grid = foldGrid(spaceGroups * channelBlocks * p.groups * phases, target);

  const weights = weightLoads(p, planY, planX, to, tile);
  const accumulators: string[] = [], stores: string[] = [];
  for (let c = 0; c < tc; c++) {
    const inner: string[] = [];
    for (let a = 0; a < th; a++) {
      for (let b = 0; b < tw; b++) {
        accumulators.push(`var a${c}_${a}_${b} = 0.0;`);
        const tests = [
          ...(planY.blocks * th > to.size[1] && a > 0 ? [`y0 + ${a}u < ${to.size[1]}u`] : []),
          ...(planX.blocks * tw > to.size[2] && b > 0 ? [`x0 + ${b}u < ${to.size[2]}u`] : []),
        ];
        const at = c * volume(to.size) + a * to.size[2] + b;
        const store = `result[at + ${at}u] = a${c}_${a}_${b}${p.bias ? ` + b${c}` : ""};`;
        inner.push(tests.length > 0 ? `if (${tests.join(" && ")}) { ${store} }` : store);
      }
    }
    const bias = p.bias ? [`let b${c} = bias[group * ${to.channels}u + first + ${c}u];`] : [];
    const body = [...bias, ...inner].join("\n    ");
    stores.push(to.channels % tc !== 0 && c > 0 ? `if (first + ${c}u < ${to.channels}u) {\n    ${body}\n    }` : body);
  }
  const gather = gathering(planY, planX, from.size, tile);

  const source = wgsl`
#if ${share > 1}
enable subgroups;
#endif
@group(0) @binding(0) var<storage, read> data: array<f32>;
@group(0) @binding(1) var<storage, read> w: array<f32>;
#if ${p.bias}
@group(0) @binding(2) var<storage, read> bias: array<f32>;
#endif
@group(0) @binding(${p.bias ? 3 : 2}) var<storage, read_write> result: array<f32>;

@compute @workgroup_size(${size})
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(local_invocation_index) local: u32${
  share > 1 ? ", @builtin(subgroup_invocation_id) lane: u32" : ""}) {
  let block = ${grid.index};
  let first = block % ${channelBlocks}u * ${tc}u;
  let group = block / ${channelBlocks}u % ${p.groups}u;
  let phase = block / ${channelBlocks * p.groups}u % ${phases}u;
  // Lanes beyond the end repeat the last one, for every lane must reach the broadcasts; they do not store.
  let flat = block / ${channelBlocks * p.groups * phases}u * ${size}u + local;
  let i = min(flat, ${lanes - 1}u);
  let x0 = i % ${planX.blocks}u * ${tw}u;
  let y0 = i / ${planX.blocks}u % ${planY.blocks}u * ${th}u;
  let z = i / ${planX.blocks * planY.blocks}u % ${depth}u * ${phases}u + phase;
  let sample = i / ${planX.blocks * planY.blocks * depth}u;
#if ${backward}
  let fx = i32(x0) / ${p.stride[2]};
  let fy = i32(y0) / ${p.stride[1]};
  let fz = i32(z + ${p.padding[0]}u);
  let firstPlane = (phase + ${p.padding[0]}u) % ${phases}u;
  let planes = ${phases === 1 ? `${kD}u` : `(${kD + phases - 1}u - firstPlane) / ${phases}u`};
#else
  let fx = i32(x0) * ${p.stride[2]} - ${p.padding[2]};
  let fy = i32(y0) * ${p.stride[1]} - ${p.padding[1]};
  let fz = i32(z) * ${p.stride[0]} - ${p.padding[0]};
  let firstPlane = 0u;
  let planes = ${kD}u;
#endif
  ${gather.before}
  ${weights.before}
  ${accumulators.join("\n  ")}
  var channel = 0u;
  var plane = 0u;
  let base = i32((sample * ${p.groups}u + group) * ${from.channels * volume(from.size)}u);
  let weightBase = group * ${p.outChannels / p.groups * (p.inChannels / p.groups) * volume(p.kernel)}u
    + first * ${to.weightStride}u;
  for (var step = 0u; step < ${from.channels}u * planes; step++) {
    let kz = firstPlane + plane * ${phases}u;
#if ${backward}
    let iz = (fz - i32(kz) * ${p.dilation[0]}) / ${p.stride[0]};
#else
    let iz = fz + i32(kz) * ${p.dilation[0]};
#endif
    let inside = u32(iz) < ${from.size[0]}u;
    let at = base + i32(channel) * ${volume(from.size)}
      + clamp(iz, 0, ${from.size[0] - 1}) * ${from.size[1] * from.size[2]};
    let wAt = weightBase + channel * ${from.weightStride}u + kz * ${kH * kW}u;
    ${weights.inside}
    ${gather.inside}
    plane++;
    if (plane == planes) { plane = 0u; channel++; }
  }
  if (flat < ${lanes}u${to.size[0] % phases === 0 ? "" : ` && z < ${to.size[0]}u`}) {
    let at = ((sample * ${p.groups}u + group) * ${to.channels}u + first) * ${volume(to.size)}u
      + (z * ${to.size[1]}u + y0) * ${to.size[2]}u + x0;
    ${stores.join("\n    ")}
  }
}
`;
  const name = `${view.name}.tile${tc}x${th}x${tw}${share > 1 ? `_share${share}` : ""}`;
  return {
    temps: [],
    dispatches: [{
      kernel: { name, source, workgroups: grid.workgroups, flops: convFlops(p) },
      reads: p.bias ? [{ input: 0 }, { input: 1 }, { input: 2 }] : [{ input: 0 }, { input: 1 }],
      writes: [{ output: 0 }],
    }],
  };
}

/** Weights of one kernel plane, as `w{channel}_{tap of the plane}`. */
function weightLoads(
  p: ConvParams, planY: AxisPlan, planX: AxisPlan, to: View["to"], tile: Tile,
): { before: string; inside: string } {
  const kW = p.kernel[2], perPlane = p.kernel[1] * kW;
  const count = tile.channels * perPlane;
  const last = to.channels % tile.channels === 0 ? "" : `min(`;
  const used = new Set(planY.taps.flatMap((y) => planX.taps.map((x) => y.k * kW + x.k)));
  const each = (text: (c: number, t: number, i: number) => string): string[] =>
    Array.from({ length: count }, (_, i) => [Math.floor(i / perPlane), i % perPlane, i] as const)
      .filter(([, t]) => used.has(t)).map(([c, t, i]) => text(c, t, i));
  if (tile.share === 1) {
    const clampTo = last && `let lastChannel = ${to.channels - 1}u - first;`;
    const offset = (c: number): string => last ? `min(${c}u, lastChannel) * ${to.weightStride}u` : `${c * to.weightStride}u`;
    return {
      before: clampTo,
      inside: each((c, t) => `let w${c}_${t} = w[wAt + ${offset(c)} + ${t}u];`).join("\n    "),
    };
  }
  const vectors = ceilDiv(count, tile.share);
  const before = [`let own = lane % ${tile.share}u;`, last && `let lastChannel = ${to.channels - 1}u - first;`];
  const inside: string[] = [];
  for (let v = 0; v < vectors; v++) {
    const element = `(own + ${v * tile.share}u)`;
    const channel = `${element} / ${perPlane}u`;
    const limit = last ? "lastChannel" : `${tile.channels - 1}u`;
    before.push(`let weightOf${v} = min(${channel}, ${limit}) * ${to.weightStride}u + ${element} % ${perPlane}u;`);
    inside.push(`let shared${v} = w[wAt + weightOf${v}];`);
  }
  inside.push(...each((c, t, i) =>
    `let w${c}_${t} = subgroupBroadcast(shared${Math.floor(i / tile.share)}, ${i % tile.share}u);`));
  return { before: before.join("\n  "), inside: inside.join("\n    ") };
}

/** Loads of the values that a block sees in one plane, each followed by its multiply-adds. */
function gathering(
  planY: AxisPlan, planX: AxisPlan, size: Size3, tile: Tile,
): { before: string; inside: string } {
  const [, height, width] = size;
  const before: string[] = [], inside: string[] = [];
  const kW = planX.kernel;
  // Rows and columns that can lie outside are clamped for the load, and what was loaded is replaced by zero.
  for (const offset of planX.offsets) {
    const name = columnName(offset);
    const column = `fx + ${offset}`;
    if (planX.mayMiss(offset)) {
      before.push(`let ${name}In = u32(${column}) < ${width}u;`, `let ${name} = clamp(${column}, 0, ${width - 1});`);
    }
  }
  for (const row of planY.offsets) {
    const y = columnName(row).replace("c", "r");
    if (planY.mayMiss(row)) {
      before.push(`let ${y}In = u32(fy + ${row}) < ${height}u;`);
      before.push(`let ${y} = clamp(fy + ${row}, 0, ${height - 1}) * ${width};`);
    } else {
      before.push(`let ${y} = (fy + ${row}) * ${width};`);
    }
    inside.push(`{`, `  let row = at + ${y};`, `  let ok = inside${planY.mayMiss(row) ? ` && ${y}In` : ""};`);
    for (const column of planX.offsets) {
      const x = columnName(column);
      inside.push(planX.mayMiss(column)
        ? `  let ${x}v = select(0.0, data[row + ${x}], ok && ${x}In);`
        : `  let ${x}v = select(0.0, data[row + fx + ${column}], ok);`);
    }
    for (const tapY of planY.taps.filter((t) => t.offset === row)) {
      for (let b = 0; b < tile.width; b++) {
        const tapsX = planX.taps.filter((t) => t.position === b);
        if (tapsX.length === 0) continue;
        for (let c = 0; c < tile.channels; c++) {
          const sum = tapsX.map((t) => `${columnName(t.offset)}v * w${c}_${tapY.k * kW + t.k}`).join(" + ");
          inside.push(`  a${c}_${tapY.position}_${b} += ${sum};`);
        }
      }
    }
    inside.push("}");
  }
  return { before: before.join("\n  "), inside: inside.join("\n    ") };
}

const columnName = (offset: number): string => (offset < 0 ? `cm${-offset}` : `c${offset}`);
