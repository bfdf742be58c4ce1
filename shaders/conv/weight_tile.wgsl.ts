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
import { withSizes } from "../sizes.ts";
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
  const taps = kH * kW;
  // A load of four neighbors costs a CPU adapter little more than one of a single element.
  const loadsFour = tw % 4 === 0 && oW % tw === 0 && !fusion?.loads[1];
  const io = weightOperands(p, "x", "g", fusion, loadsFour);

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

  const sizes = io.sizes(
    {
      units,
      channelBlocks,
      outBlocks,
      groups: p.groups,
      inChannels: ci,
      outChannels: co,
      inDepth: iD,
      inHeight: iH,
      inWidth: iW,
      outDepth: oD,
      outHeight: oH,
      outWidth: oW,
      outElements: p.batch * p.outChannels * volume(p.output),
      kernelDepth: kD,
      tilesX,
      tilesY,
      tiles,
      perPart,
      count,
      strideZ: p.stride[0],
      dilationZ: p.dilation[0],
    },
    { paddingZ: p.padding[0], paddingY: p.padding[1], paddingX: p.padding[2] },
  );

  const source = (): string => {
    const loads: string[] = [],
      offsets: string[] = [];
    const places = rows * columns;
    if (share > 1) {
      for (let v = 0; v < ceilDiv(places, share); v++) {
        const element = `min(lane + ${v * share}u, ${places - 1}u)`;
        offsets.push(`let row${v} = i32(${element} / ${columns}u);`, `let column${v} = i32(${element} % ${columns}u);`);
        loads.push(`let iy${v} = y0 + row${v};`, `let ix${v} = x0 + column${v};`);
        loads.push(`let in${v} = inside & (u32(iy${v}) < inHeight) & (u32(ix${v}) < inWidth);`);
        loads.push(`let at${v} = clamp(iy${v}, 0, lastRow) * rowStride + clamp(ix${v}, 0, lastColumn);`);
      }
    } else {
      for (let r = 0; r < rows; r++) {
        loads.push(`let inY${r} = inside & (u32(y0 + ${r}) < inHeight);`);
        loads.push(`let row${r} = clamp(y0 + ${r}, 0, lastRow) * rowStride;`);
      }
      for (let c = 0; c < columns; c++) {
        loads.push(`let inX${c} = u32(x0 + ${c}) < inWidth;`, `let column${c} = clamp(x0 + ${c}, 0, lastColumn);`);
      }
    }
    for (let a = 0; a < th; a++) {
      const at = `gAt + ${a}u * outWidth`;
      const testY = tilesY * th > oH && a > 0 ? [`(oy + ${a}u < outHeight)`] : [];
      if (loadsFour) {
        for (let q = 0; q < tw / 4; q++) {
          const index = testY.length > 0 ? `min(${at} + ${4 * q}u, outElements - 4u)` : `${at} + ${4 * q}u`;
          const value = io.loadFour("g", `(${index}) / 4u`);
          const four = testY.length > 0 ? `select(vec4f(), ${value}, vec4<bool>(${testY[0]}))` : value;
          loads.push(`let four${a}_${q} = ${four};`);
          for (let k = 0; k < 4; k++) loads.push(`let g${a}_${4 * q + k} = four${a}_${q}.${"xyzw"[k]};`);
        }
        continue;
      }
      for (let b = 0; b < tw; b++) {
        const tests = [...testY, ...(tilesX * tw > oW && b > 0 ? [`(ox + ${b}u < outWidth)`] : [])];
        const value = io.load("g", tests.length > 0 ? `min(${at} + ${b}u, outElements - 1u)` : `${at} + ${b}u`);
        loads.push(`let g${a}_${b} = ${tests.length > 0 ? `select(0.0, ${value}, ${tests.join(" & ")})` : value};`);
      }
    }
    const sums: string[] = [],
      channels: string[] = [],
      steps: string[] = [];
    for (let c = 0; c < tc; c++) {
      const channel = ci % tc === 0 ? `first + ${c}u` : `min(first + ${c}u, inChannels - 1u)`;
      channels.push(`let channel${c} = i32(${channel}) * inVolume;`);
      steps.push("{", `  let plane = xAt + channel${c};`);
      const value = (r: number, column: number): string => `x${r * columns + column}`;
      const used = new Set<string>();
      const products: string[] = [];
      for (let ky = 0; ky < kH; ky++) {
        for (let kx = 0; kx < kW; kx++) {
          sums.push(`var s${c}_${ky * kW + kx} = 0.0;`);
          for (let a = 0; a < th; a++) {
            const terms: string[] = [];
            for (let b = 0; b < tw; b++) {
              const v = value(a * p.stride[1] + ky * p.dilation[1], b * p.stride[2] + kx * p.dilation[2]);
              used.add(v);
              terms.push(`${v} * g${a}_${b}`);
            }
            products.push(`  s${c}_${ky * kW + kx} += ${terms.join(" + ")};`);
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
    const sum = pick(tc * taps, (k) => `s${Math.floor(k / taps)}_${k % taps}`, "k");

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
#if ${share > 1}
  let flat = ${grid.index};
  let outLane = lane;
#else
  let flat = (${grid.index}) * ${size / lanes}u + local / ${lanes}u;
  let outLane = local % ${lanes}u;
#endif
  // Units beyond the end repeat the last one and do not store.
  var rest = min(flat, units - 1u);
  let first = rest % channelBlocks * ${tc}u;
  rest /= channelBlocks;
  let outBlock = rest % outBlocks * ${lanes}u;
  rest /= outBlocks;
  let kz = rest % kernelDepth;
  rest /= kernelDepth;
  let group = rest % groups;
  let part = rest / groups;
  let outChannel = group * outChannels + min(outBlock + outLane, outChannels - 1u);
  // What does not change is computed here, since not all compilers move it out of a loop.
  let inPlane = i32(inHeight * inWidth);
  let inVolume = i32(inDepth) * inPlane;
  let outPlane = outHeight * outWidth;
  let sampleStride = groups * outChannels * outDepth;
  let gBase = outChannel * outDepth;
  let xBase = group * inChannels;
  let xStride = groups * inChannels;
  let lastPlane = i32(inDepth) - 1;
  ${channels.join("\n  ")}
  let begin = part * perPart;
  let end = begin + perPart;
  let lastTile = tiles - 1u;
  let zBase = i32(kz * dilationZ) - paddingZ;
  let rowStride = i32(inWidth);
  let lastRow = i32(inHeight) - 1;
  let lastColumn = i32(inWidth) - 1;
  ${offsets.join("\n  ")}
  ${sums.join("\n  ")}
  rest = min(begin, lastTile);
  var tileX = rest % tilesX;
  rest /= tilesX;
  var tileY = rest % tilesY;
  rest /= tilesY;
  var oz = rest % outDepth;
  var sample = rest / outDepth;
  for (var step = begin; step < end; step++) {
    let ox = tileX * ${tw}u;
    let oy = tileY * ${th}u;
    let x0 = i32(ox) * ${p.stride[2]} - paddingX;
    let y0 = i32(oy) * ${p.stride[1]} - paddingY;
    let iz = i32(oz * strideZ) + zBase;
    let inside = (u32(iz) < inDepth) & (step < tiles);
    let gAt = (sample * sampleStride + gBase + oz) * outPlane + oy * outWidth + ox;
    let xAt = i32(sample * xStride + xBase) * inVolume + clamp(iz, 0, lastPlane) * inPlane;
    ${loads.join("\n    ")}
    ${steps.join("\n    ")}
    // Counted on, as a CPU adapter divides lane by lane; steps beyond the end repeat the last tile, as zeros.
    let next = select(0u, 1u, step < lastTile);
    let lastX = tileX + next == tilesX;
    let lastY = lastX & (tileY + 1u == tilesY);
    let lastZ = lastY & (oz + 1u == outDepth);
    tileX = select(tileX + next, 0u, lastX);
    tileY = select(tileY + select(0u, 1u, lastX), 0u, lastY);
    oz = select(oz + select(0u, 1u, lastY), 0u, lastZ);
    sample += select(0u, 1u, lastZ);
  }
  if ((flat < units) & (outBlock + outLane < outChannels)) {
    for (var k = 0u; k < ${taps}u * min(${tc}u, inChannels - first); k++) {
      let at = (outChannel * inChannels + first + k / ${taps}u) * kernelDepth + kz;
      partial[part * count + at * ${taps}u + k % ${taps}u] = ${sum};
    }
  }
}
`;
  };
  const name = `tile${tc}x${th}x${tw}${share > 1 ? `_share${share}` : ""}`;
  return summedLater(
    withSizes({ name, source, workgroups: grid.workgroups }, sizes),
    io,
    p,
    { count, parts },
    target,
  );
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
  // With one tap, eight wide tiles load what sixteen narrow ones do, and compile in half of the time.
  const few = share === 8 && taps === 1 ? 8 : 36;
  const most = Math.min((share > 1 ? few : 18) / taps, (share === 4 ? 220 : 130) / values(narrow));
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
