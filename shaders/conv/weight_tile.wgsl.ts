/**
 * Register-tiled weight gradient. One invocation computes one output channel, `channels` input channels and one plane
 * of the kernel: those weights are accumulated in registers while it iterates over tiles of `height` x `width` outputs
 * of its share of batch and space. A second kernel adds the shares.
 *
 * Neighboring lanes compute neighboring output channels and read the same input, so on a CPU adapter, where loads
 * dominate, each lane loads a different part of the tile's input and subgroupBroadcast shares it. Conditions are
 * joined by `&`: each `&&` becomes a branch, and hundreds of those stall SwiftShader's compiler.
 */
import { wgsl } from "wgsl-preprocessor/wgsl-preprocessor.js";
import { volume, weightOperands } from "./common.wgsl.ts";
import { ceilDiv, foldGrid, pick, softwareShare } from "../grid.ts";
import { summedLater } from "./weight_grad.wgsl.ts";
import type { ConvParams } from "./common.wgsl.ts";
import type { Fusion, Lowered, Target, Variant } from "../types.ts";

interface Tile {
  readonly channels: number;
  readonly height: number;
  readonly width: number;
  /** Lanes that share loaded inputs by subgroup broadcast; 1 if every lane loads its own. */
  readonly share: number;
}

/** Rows and columns of the input that a tile of outputs reads. */
function patch(p: ConvParams, tile: Tile): { rows: number; columns: number } {
  return {
    rows: (tile.height - 1) * p.stride[1] + (p.kernel[1] - 1) * p.dilation[1] + 1,
    columns: (tile.width - 1) * p.stride[2] + (p.kernel[2] - 1) * p.dilation[2] + 1,
  };
}

function lowerWeightTile(p: ConvParams, target: Target, tile: Tile, fusion: Fusion | null = null): Lowered {
  const { channels: tc, height: th, width: tw, share } = tile;
  const [iD, iH, iW] = p.input;
  const [oD, oH, oW] = p.output;
  const [kD, kH, kW] = p.kernel;
  const ci = p.inChannels / p.groups,
    co = p.outChannels / p.groups;
  const count = p.outChannels * ci * volume(p.kernel);
  const { rows, columns } = patch(p, tile);
  const io = weightOperands(p, "x", "g", fusion);

  // With shared loads a workgroup is one set of lanes; otherwise its lanes cover channels and parts.
  const lanes = share > 1 ? share : Math.min(8, co);
  const channelBlocks = ceilDiv(ci, tc),
    outBlocks = ceilDiv(co, lanes);
  const blocks = channelBlocks * outBlocks * kD * p.groups;
  const tilesX = ceilDiv(oW, tw),
    tilesY = ceilDiv(oH, th);
  const tiles = p.batch * oD * tilesY * tilesX;
  // Parts: enough to occupy the device and keep the sums short, few enough to stay small compared with the data.
  const wanted = Math.max(ceilDiv(target.software ? 128 : 16384 / lanes, blocks), ceilDiv(tiles, 512));
  const most = Math.max(1, Math.floor(Math.min(target.maxBindingBytes, 2 ** 24) / 4 / count));
  const perPart = ceilDiv(tiles, Math.min(wanted, most, tiles));
  const parts = ceilDiv(tiles, perPart);
  const size = share > 1 ? share : lanes * Math.max(1, Math.floor(64 / lanes));
  const units = blocks * parts;
  const grid = foldGrid(ceilDiv(units * lanes, size), target);

  const source = (): string => {
    const loads: string[] = [],
      offsets: string[] = [];
    const places = rows * columns;
    if (share > 1) {
      for (let v = 0; v < ceilDiv(places, share); v++) {
        const element = `min(lane + ${v * share}u, ${places - 1}u)`;
        offsets.push(`let row${v} = i32(${element} / ${columns}u);`, `let column${v} = i32(${element} % ${columns}u);`);
        loads.push(`let iy${v} = y0 + row${v};`, `let ix${v} = x0 + column${v};`);
        loads.push(`let in${v} = inside & (u32(iy${v}) < ${iH}u) & (u32(ix${v}) < ${iW}u);`);
        loads.push(`let at${v} = clamp(iy${v}, 0, ${iH - 1}) * ${iW} + clamp(ix${v}, 0, ${iW - 1});`);
      }
    } else {
      for (let r = 0; r < rows; r++) {
        loads.push(`let inY${r} = inside & (u32(y0 + ${r}) < ${iH}u);`);
        loads.push(`let row${r} = clamp(y0 + ${r}, 0, ${iH - 1}) * ${iW};`);
      }
      for (let c = 0; c < columns; c++) {
        loads.push(`let inX${c} = u32(x0 + ${c}) < ${iW}u;`, `let column${c} = clamp(x0 + ${c}, 0, ${iW - 1});`);
      }
    }
    for (let a = 0; a < th; a++) {
      for (let b = 0; b < tw; b++) {
        const tests = [
          ...(tilesY * th > oH && a > 0 ? [`(oy + ${a}u < ${oH}u)`] : []),
          ...(tilesX * tw > oW && b > 0 ? [`(ox + ${b}u < ${oW}u)`] : []),
        ];
        const index = tests.length > 0
          ? `min(gAt + ${a * oW + b}u, ${p.batch * p.outChannels * volume(p.output) - 1}u)`
          : `gAt + ${a * oW + b}u`;
        const value = io.load("g", `${index}`);
        const load = tests.length > 0 ? `select(0.0, ${value}, ${tests.join(" & ")})` : value;
        loads.push(`let g${a}_${b} = ${load};`);
      }
    }
    const sums: string[] = [],
      steps: string[] = [],
      stores: string[] = [];
    const partial = ci % tc === 0 ? "" : `, ${ci - 1}u`;
    for (let c = 0; c < tc; c++) {
      const channel = partial ? `min(first + ${c}u${partial})` : `first + ${c}u`;
      steps.push("{", `  let plane = xAt + i32(${channel}) * ${volume(p.input)};`);
      const value = (r: number, column: number): string => `x${r * columns + column}`;
      const used = new Set<string>();
      const products: string[] = [];
      for (let ky = 0; ky < kH; ky++) {
        for (let kx = 0; kx < kW; kx++) {
          sums.push(`var s${c}_${ky}_${kx} = 0.0;`);
          for (let a = 0; a < th; a++) {
            const terms: string[] = [];
            for (let b = 0; b < tw; b++) {
              const v = value(a * p.stride[1] + ky * p.dilation[1], b * p.stride[2] + kx * p.dilation[2]);
              used.add(v);
              terms.push(`${v} * g${a}_${b}`);
            }
            products.push(`  s${c}_${ky}_${kx} += ${terms.join(" + ")};`);
          }
          if (c === 0) {
            stores.push(`partial[at + ${ky * kW + kx}u] = ${pick(tc, (i) => `s${i}_${ky}_${kx}`)};`);
          }
        }
      }
      if (share > 1) {
        for (let v = 0; v < ceilDiv(places, share); v++) {
          steps.push(`  let own${v} = select(0.0, ${io.load("x", `plane + at${v}`)}, in${v});`);
        }
      }
      for (let r = 0; r < rows; r++) {
        for (let k = 0; k < columns; k++) {
          const i = r * columns + k;
          if (!used.has(`x${i}`)) continue;
          steps.push(
            share > 1
              ? `  let x${i} = subgroupBroadcast(own${Math.floor(i / share)}, ${i % share}u);`
              : `  let x${i} = select(0.0, ${io.load("x", `plane + row${r} + column${k}`)}, inY${r} & inX${k});`,
          );
        }
      }
      steps.push(...products, "}");
    }

    return wgsl`${io.enable}
#if ${share > 1}
enable subgroups;
#endif
${io.declarations()}

@compute @workgroup_size(${size})
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(local_invocation_index) local: u32${
      share > 1 ? ", @builtin(subgroup_invocation_id) lane: u32" : ""
    }) {
#if ${share > 1}
  let flat = ${grid.index};
  let outLane = lane;
#else
  let flat = (${grid.index}) * ${size / lanes}u + local / ${lanes}u;
  let outLane = local % ${lanes}u;
#endif
  // Units beyond the end repeat the last one and do not store.
  let unit = min(flat, ${units - 1}u);
  let first = unit % ${channelBlocks}u * ${tc}u;
  let outBlock = unit / ${channelBlocks}u % ${outBlocks}u * ${lanes}u;
  let kz = unit / ${channelBlocks * outBlocks}u % ${kD}u;
  let group = unit / ${channelBlocks * outBlocks * kD}u % ${p.groups}u;
  let part = unit / ${blocks}u;
  let outChannel = group * ${co}u + min(outBlock + outLane, ${co - 1}u);
  ${offsets.join("\n  ")}
  ${sums.join("\n  ")}
  for (var step = 0u; step < ${perPart}u; step++) {
    let t = min(part * ${perPart}u + step, ${tiles - 1}u);
    let ox = t % ${tilesX}u * ${tw}u;
    let oy = t / ${tilesX}u % ${tilesY}u * ${th}u;
    let oz = t / ${tilesX * tilesY}u % ${oD}u;
    let sample = t / ${tilesX * tilesY * oD}u;
    let x0 = i32(ox) * ${p.stride[2]} - ${p.padding[2]};
    let y0 = i32(oy) * ${p.stride[1]} - ${p.padding[1]};
    let iz = i32(oz * ${p.stride[0]}u + kz * ${p.dilation[0]}u) - ${p.padding[0]};
    let inside = (u32(iz) < ${iD}u)${parts * perPart > tiles ? ` & (part * ${perPart}u + step < ${tiles}u)` : ""};
    let gAt = (sample * ${p.outChannels}u + outChannel) * ${volume(p.output)}u + (oz * ${oH}u + oy) * ${oW}u + ox;
    let xAt = i32((sample * ${p.groups}u + group) * ${ci * volume(p.input)}u) + clamp(iz, 0, ${iD - 1}) * ${iH * iW};
    ${loads.join("\n    ")}
    ${steps.join("\n    ")}
  }
  if ((flat < ${units}u) & (outBlock + outLane < ${co}u)) {
    for (var c = 0u; c < ${partial ? `min(${tc}u, ${ci}u - first)` : `${tc}u`}; c++) {
      let at = part * ${count}u + ((outChannel * ${ci}u + first + c) * ${kD}u + kz) * ${kH * kW}u;
      ${stores.join("\n      ")}
    }
  }
}
`;
  };
  const name = `tile${tc}x${th}x${tw}${share > 1 ? `_share${share}` : ""}`;
  return summedLater(name, source, grid.workgroups, io, p, { count, parts }, target);
}

/**
 * Eight lanes (lavapipe): about 36 sums and 130 input values, two rows; more takes seconds to compile and gains
 * little. Four lanes (SwiftShader) compile fast and load more, which taller tiles compensate. Without shared loads
 * every value costs a load: half as many sums, one row.
 */
function chooseTile(p: ConvParams, share: number): Tile {
  const taps = p.kernel[1] * p.kernel[2],
    ci = p.inChannels / p.groups;
  const tallest = share === 1 || p.kernel[1] <= p.stride[1] ? 1 : share === 8 ? 2 : 4;
  const height = Math.min(tallest, p.output[1]);
  const values = (width: number): number => {
    const { rows, columns } = patch(p, { channels: 1, height, width, share });
    return rows * columns;
  };
  const narrow = Math.min(4, p.output[2]),
    wide = Math.min(8, p.output[2]);
  const most = Math.min((share > 1 ? 36 : 18) / taps, (share === 4 ? 330 : 130) / values(narrow));
  const channels = ceilDiv(ci, ceilDiv(ci, Math.max(1, Math.floor(most))));
  const width = share > 1 && channels * values(wide) <= 64 ? wide : narrow;
  return { channels, height, width, share };
}

function variant(name: string, shareOf: (target: Target) => number | undefined): Variant<ConvParams> {
  return {
    name,
    guard: (p, target) => {
      const share = shareOf(target);
      if (share === undefined) return false;
      const tile = chooseTile(p, share);
      const { rows, columns } = patch(p, tile);
      const products = tile.channels * tile.height * tile.width * p.kernel[1] * p.kernel[2];
      return products <= 1000 && tile.channels * rows * columns <= 400;
    },
    lower: (p, target, fusion) => lowerWeightTile(p, target, chooseTile(p, shareOf(target) ?? 1), fusion),
  };
}

export const weightTileVariants: readonly Variant<ConvParams>[] = [
  variant("tile_shared", softwareShare),
  variant("tile", () => 1),
];
