/**
 * Convolution and input gradient on GPUs as an implicit GEMM: weights [to channels, from channels x taps] times the
 * input of each voxel [from channels x taps, voxels]. A step of the product is one tap and `depth` channels, so an
 * invocation computes the input positions of its four voxels once per step.
 *
 * Weights are first packed in tile order, zero-padded to whole tiles. If the result has too few tiles to fill a GPU,
 * the channels are split into parts that are summed separately and then added in a fixed order.
 */
import { wgsl } from "wgsl-preprocessor/wgsl-preprocessor.js";
import { convWork, sides, volume } from "./common.wgsl.ts";
import { ceilDiv, foldGrid } from "../grid.ts";
import type { ConvParams } from "./common.wgsl.ts";
import { gemmMethod, gemmSize } from "./gemm_core.wgsl.ts";
import type { GemmMethod, GemmTile } from "./gemm_core.wgsl.ts";
import { packWeights } from "./pack_weights.wgsl.ts";
import { type Axis, axisOf, ofPhase } from "./phases.ts";
import { QUOTIENTS } from "./quotients.ts";
import { sumPartials } from "./weight_grad.wgsl.ts";
import { operands } from "../operands.ts";
import { withSizes } from "../sizes.ts";
import type { Fusion, Lowered, Slot, Target, Variant } from "../types.ts";

/** The partition of the work into workgroups. */
function plan(p: ConvParams, backward: boolean, tile: GemmTile, target: Target) {
  const { from, to } = sides(p, backward);
  const axes = ([0, 1, 2] as const).map((axis) => axisOf(p, backward, axis)) as [Axis, Axis, Axis];
  const phases = axes.map((axis) => axis.phases.length) as [number, number, number];
  /** Results per phase. */
  const size = to.size.map((n, axis) => ceilDiv(n, phases[axis])) as [number, number, number];
  const places = p.batch * volume(size);
  const columnBlocks = ceilDiv(places, tile.columns),
    rowBlocks = ceilDiv(to.channels, tile.rows);
  const channelSteps = ceilDiv(from.channels, tile.depth);
  const blocks = columnBlocks * rowBlocks * p.groups * volume(phases);
  const results = p.batch * p.groups * to.channels * volume(to.size);
  // Two workgroups for each of about 128 cores, while the partial sums stay small.
  const most = Math.floor(Math.min(target.maxBindingBytes, 2 ** 26) / 4 / results);
  const wanted = blocks >= 128 ? 1 : Math.max(1, Math.min(channelSteps, ceilDiv(256, blocks), most));
  const perPart = ceilDiv(channelSteps, wanted);
  const packed = p.groups * volume(p.kernel) * channelSteps * tile.depth * rowBlocks * tile.rows;
  return {
    from,
    to,
    axes,
    phases,
    size,
    places,
    rowBlocks,
    channelSteps,
    blocks,
    results,
    perPart,
    parts: ceilDiv(channelSteps, perPart),
    packed,
  };
}

function lowerGemm(
  p: ConvParams,
  target: Target,
  backward: boolean,
  tile: GemmTile,
  method: GemmMethod,
  name: string,
  fusion: Fusion | null = null,
): Lowered {
  const { from, to, axes, phases, size, places, rowBlocks, channelSteps, blocks, results, perPart, parts, packed } =
    plan(p, backward, tile, target);
  const io = operands(
    [
      { name: "data", type: p.storage, slot: { input: 0 } },
      { name: "packed", type: `vec4<${p.storage}>`, slot: { temp: 0 } },
      ...(p.bias && parts === 1 ? [{ name: "bias", type: p.storage, slot: { input: 2 } }] : []),
    ],
    { name: "result", type: parts > 1 ? "f32" : p.storage, slot: parts > 1 ? { temp: 1 } : { output: 0 } },
    fusion,
  );
  const { rows, columns, depth } = tile;
  const each = volume(to.size);
  // Tiles whose positions are part of one sample's row and whose results are final.
  const whole = parts === 1 && volume(phases) === 1 && (p.batch === 1 || each % columns === 0);
  const observed = fusion?.moments && whole && method.hasMoments;
  const moments = observed ? { temp: 1, length: each, share: columns } : null;
  const rowParts = ceilDiv(each, columns);
  const invocations = gemmSize(tile);
  const fromPadded = channelSteps * depth,
    toPadded = rowBlocks * rows;
  const grid = foldGrid(blocks * parts, target);
  const [sD, sH, sW] = size,
    [tD, tH, tW] = to.size,
    [fD, fH, fW] = from.size;
  const [, kH, kW] = p.kernel;
  const names = ["Z", "Y", "X"];
  const along = (name: string, value: (axis: Axis) => number): Record<string, number> =>
    Object.fromEntries(axes.map((axis, k) => [`${name}${names[k]}`, value(axis)]));
  const inPhases = volume(phases) > 1;
  const sizes = io.sizes(
    {
      units: blocks * parts,
      rowBlocks,
      groups: p.groups,
      parts,
      perPart,
      channelSteps,
      places,
      sizeZ: sD,
      sizeY: sH,
      sizeX: sW,
      toChannels: to.channels,
      toDepth: tD,
      toHeight: tH,
      toWidth: tW,
      toVolume: each,
      fromChannels: from.channels,
      fromDepth: fD,
      fromHeight: fH,
      fromWidth: fW,
      fromPadded,
      toPadded,
      taps: volume(p.kernel),
      results,
      ...(moments && { rowParts }),
    },
    {
      kernelY: kH,
      kernelX: kW,
      fromVolume: volume(from.size),
      ...along("advance", ({ advance }) => advance),
      ...along("step", ({ step }) => step),
      ...(inPhases ? {} : along("base", ({ phases: [{ base }] }) => base)),
    },
    { perZ: 1 / sD, perY: 1 / sH, perX: 1 / sW },
  );

  const source = (): string => {
    const core = method.core();
    // A step's loads go to registers first, so that they overlap with the computation of the previous step.
    const linesAtOnce = rows / 8,
      loadsB = depth / linesAtOnce;
    const vectorsA = (depth * rows) / 4,
      loadsA = ceilDiv(vectorsA, invocations);
    const registers: string[] = [],
      loads: string[] = [],
      stages: string[] = [];
    for (let v = 0; v < loadsA; v++) {
      const vector = v === 0 ? "local" : `(local + ${v * invocations}u)`;
      const line = `${vector} / ${rows / 4}u`,
        place = `${vector} % ${rows / 4}u`;
      const whole = (v + 1) * invocations <= vectorsA;
      const only = (text: string): string => (whole ? text : `if (${vector} < ${vectorsA}u) { ${text} }`);
      registers.push(`var a${v} = vec4f();`);
      loads.push(only(`a${v} = vec4f(packed[weightsAt + ${line} * (toPadded / 4u) + ${place}]);`));
      stages.push(only(core.stage("a", line, place, `a${v}`)));
    }
    for (let v = 0; v < loadsB; v++) {
      const line = `line + ${v * linesAtOnce}u`;
      const tail = from.channels % depth !== 0;
      registers.push(`var b${v} = vec4f();`);
      loads.push(`{
      let channel = i32(${tail ? `min(channel0 + ${line}, fromChannels - 1u)` : `channel0 + ${line}`});
      let seen = at + channel * fromVolume;
      let values = vec4f(${[0, 1, 2, 3].map((c) => io.load("data", `seen[${c}]`)).join(", ")});
      b${v} = select(vec4f(), values, inside${tail ? ` & vec4<bool>(channel0 + ${line} < fromChannels)` : ""});
    }`);
      stages.push(core.stage("b", line, "quad", `b${v}`));
    }
    const store = parts > 1 ? "result[to] = value;" : io.store(
      "to",
      p.bias ? `value + ${io.load("bias", "group * toChannels + channel")}` : "value",
      moments ? "seen" : undefined,
    );
    const overhang = [0, 1, 2]
      .filter((axis) => to.size[axis] % phases[axis] !== 0)
      .map((axis) => ` & (${names[axis].toLowerCase()} < ${["toDepth", "toHeight", "toWidth"][axis]})`)
      .join("");
    const placed = (at: string, axis: number): string =>
      inPhases ? `(${at}) * ${phases[axis]}u + phase${names[axis]}` : at;
    const atColumn = `let place = column0 + column;
  let rowOf = quotient(place, sizeX, perX);
  let planeOf = quotient(rowOf, sizeY, perY);
  let sampleOf = quotient(planeOf, sizeZ, perZ);
  let x = ${placed("place - rowOf * sizeX", 2)};
  let y = ${placed("rowOf - planeOf * sizeY", 1)};
  let z = ${placed("planeOf - sampleOf * sizeZ", 0)};
  let base = part * results + (sampleOf * groups + group) * toChannels * toVolume + (z * toHeight + y) * toWidth + x;
  let isPlace = (place < places)${overhang};`;
    const atElement = `let channel = row0 + row;
    if (isPlace & (channel < toChannels)) {
      let to = base + channel * toVolume;
      ${store}
    }`;
    const atRow = `let channel = row0 + row;
    if (channel < toChannels) {
      let at = (column0 / toVolume * groups + group) * toChannels + channel;
      moments[at * rowParts + column0 % toVolume / ${columns}u] = vec2f(mean, square);
    }`;

    return wgsl`${io.enable}
${core.enable}
${io.declarations(moments ? 2 : 1)}
${moments ? `@group(0) @binding(${io.reads.length + 1}) var<storage, read_write> moments: array<vec2f>;` : ""}
${core.memory}
${QUOTIENTS}

@compute @workgroup_size(${invocations})
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(local_invocation_index) local: u32${core.builtins}) {
${sizes.lets}
  let block = ${grid.index};
  if (block >= units) { return; }
  let row0 = block % rowBlocks * ${rows}u;
  var rest = block / rowBlocks;
  let group = rest % groups;
  rest /= groups;
#if ${inPhases}
  let phaseX = rest % ${phases[2]}u;
  let phaseY = rest / ${phases[2]}u % ${phases[1]}u;
  let phaseZ = rest / ${phases[2] * phases[1]}u % ${phases[0]}u;
  rest /= ${volume(phases)}u;
#endif
  let part = rest % parts;
  let column0 = rest / parts * ${columns}u;
${
      axes
        .map(
          (axis, k) =>
            `  let first${names[k]} = ${ofPhase(axis, `phase${names[k]}`, (f) => f.first)};
  let taps${names[k]} = ${ofPhase(axis, `phase${names[k]}`, (f) => f.taps)};`,
        )
        .join("\n")
    }

  // Four positions and their inputs; positions beyond the end repeat the last one and are not stored.
  let quad = local % ${columns / 4}u;
  let line = local / ${columns / 4}u;
  let i = min(vec4u(column0 + quad) + vec4u(0u, ${columns / 4}u, ${columns / 2}u, ${(columns * 3) / 4}u),
    vec4u(places - 1u));
  let rowOf = quotients(i, sizeX, perX);
  let planeOf = quotients(rowOf, sizeY, perY);
  let sampleOf = quotients(planeOf, sizeZ, perZ);
${
      inPhases
        ? axes.map((axis, k) => `  let base${names[k]} = ${ofPhase(axis, `phase${names[k]}`, (f) => f.base)};`).join(
          "\n",
        )
        : ""
    }
  let seenX = vec4i(i - rowOf * sizeX) * advanceX + baseX;
  let seenY = vec4i(rowOf - planeOf * sizeY) * advanceY + baseY;
  let seenZ = vec4i(planeOf - sampleOf * sizeZ) * advanceZ + baseZ;
  let corner = vec4i(sampleOf * groups + group) * (i32(fromChannels) * fromVolume);

  ${core.before}
  ${registers.join("\n  ")}
  let channelEnd = min((part + 1u) * perPart, channelSteps) * ${depth}u;
  var channel0 = part * perPart * ${depth}u;
  let steps = u32(tapsZ * tapsY * tapsX) * (channelEnd - channel0) / ${depth}u;
  var tapZ = 0;
  var tapY = 0;
  var tapX = 0;
  for (var step = 0u; step <= steps; step++) {
    if (step < steps) {
      let z = seenZ + tapZ * stepZ;
      let y = seenY + tapY * stepY;
      let x = seenX + tapX * stepX;
      let inside = (vec4u(z) < vec4u(fromDepth)) & (vec4u(y) < vec4u(fromHeight)) & (vec4u(x) < vec4u(fromWidth));
      let at = select(vec4i(), corner + (z * i32(fromHeight) + y) * i32(fromWidth) + x, inside);
      let kz = firstZ + tapZ * ${axes[0].kernelStep};
      let ky = firstY + tapY * ${axes[1].kernelStep};
      let kx = firstX + tapX * ${axes[2].kernelStep};
      let tap = u32((kz * kernelY + ky) * kernelX + kx);
      let weightsAt = (((group * taps + tap) * fromPadded + channel0) * toPadded + row0) / 4u;
      ${loads.join("\n      ")}
      tapX++;
      if (tapX == tapsX) { tapX = 0; tapY++; }
      if (tapY == tapsY) { tapY = 0; tapZ++; }
      if (tapZ == tapsZ) { tapZ = 0; channel0 += ${depth}u; }
    }
    if (step > 0u) {
      ${core.multiply}
    }
    workgroupBarrier();
    ${stages.join("\n    ")}
    workgroupBarrier();
  }
  ${
      moments
        ? `let count = min(${columns}u, places - column0);\n${core.finishWithMoments(atColumn, atElement, atRow)}`
        : core.finish(atColumn, atElement)
    }
}
`;
  };
  const family = backward ? "conv_input_grad" : "conv_forward";
  const kernel = withSizes({
    name: `${io.prefix}${family}.${name}${moments ? "&moments" : ""}${io.suffix}`,
    source,
    workgroups: grid.workgroups,
    ...convWork(p),
  }, sizes);
  const pack = packWeights(p, from, to, fromPadded, toPadded, target);
  const packedBytes = packed * (p.storage === "f16" ? 2 : 4);
  if (moments) {
    const writes: Slot[] = [{ output: 0 }, { temp: moments.temp }];
    const bytes = p.batch * p.groups * to.channels * rowParts * 8;
    return { temps: [packedBytes, bytes], dispatches: [pack, { kernel, reads: io.reads, writes }], moments };
  }
  if (parts === 1) {
    return { temps: [packedBytes], dispatches: [pack, { kernel, reads: io.reads, writes: [{ output: 0 }] }] };
  }
  const biases = { channels: p.groups * to.channels, each };
  const sum = sumPartials(
    `${family}.sum_partials`,
    results,
    parts,
    p.storage,
    target,
    1,
    p.bias ? biases : undefined,
    fusion,
  );
  return {
    temps: [packedBytes, results * parts * 4],
    dispatches: [pack, { kernel, reads: io.reads, writes: [{ temp: 1 }] }, sum],
  };
}

/** Tiles by the number of output channels that they suit. */
const tiles = [
  { rows: 64, columns: 128 },
  { rows: 32, columns: 128 },
  { rows: 16, columns: 128 },
];

/**
 * The variants of one direction for GPUs: registers, then f16 subgroup matrices. The latter are an experimental
 * extension, so they are only used if tuning selects them.
 */
export function gemmVariants(backward: boolean): readonly Variant<ConvParams>[] {
  const variant = (rows: number, columns: number, matrices: boolean): Variant<ConvParams> => {
    const name = `${matrices ? "matrix" : "gemm"}${rows}x${columns}`;
    const tileOf = (p: ConvParams): GemmTile => {
      const channels = sides(p, backward).from.channels;
      const deep = matrices ? 32 : 16;
      // A half-empty step costs as much as a full one.
      return { rows, columns, depth: rows > 16 && (channels % deep === 0 || channels > 3 * deep) ? deep : deep / 2 };
    };
    return {
      name,
      guard: (p, target) => {
        if (target.software) return false;
        const { from, to } = sides(p, backward);
        const tile = tileOf(p);
        if (from.channels <= 4 || to.channels <= rows / 2) return false;
        if (gemmMethod(tile, matrices, p, target) === null) return false;
        return plan(p, backward, tile, target).packed * 4 <= target.maxBindingBytes;
      },
      lower: (p, target, fusion) =>
        lowerGemm(p, target, backward, tileOf(p), gemmMethod(tileOf(p), matrices, p, target)!, name, fusion),
    };
  };
  return [false, true].flatMap((matrices) =>
    tiles
      .filter(({ rows }) => !matrices || rows % 32 === 0)
      .map(({ rows, columns }) => variant(rows, columns, matrices))
  );
}
