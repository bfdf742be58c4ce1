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
import type { ConvParams, Side } from "./common.wgsl.ts";
import { gemmMethod, gemmSize } from "./gemm_core.wgsl.ts";
import type { GemmMethod, GemmTile } from "./gemm_core.wgsl.ts";
import { sumPartials } from "./weight_grad.wgsl.ts";
import { operands } from "../operands.ts";
import { sizesOf } from "../sizes.ts";
import type { Dispatch, Fusion, Lowered, Slot, Target, Variant } from "../types.ts";

/** Along one axis, result j of a phase reads the data at j * `advance` + base + tap * `step`. */
interface Axis {
  readonly advance: number;
  readonly step: number;
  /** Kernel elements from one tap to the next. */
  readonly kernelStep: number;
  /** Result p belongs to phase p mod `phases.length`; all results of a phase use the same kernel elements. */
  readonly phases: readonly { readonly first: number; readonly taps: number; readonly base: number }[];
}

function axisOf(p: ConvParams, backward: boolean, axis: 0 | 1 | 2): Axis {
  const kernel = p.kernel[axis],
    stride = p.stride[axis],
    padding = p.padding[axis],
    dilation = p.dilation[axis];
  if (!backward) {
    return { advance: stride, step: dilation, kernelStep: 1, phases: [{ first: 0, taps: kernel, base: -padding }] };
  }
  // Result i reads the data at (i + padding - k dilation) / stride for those k where that is an integer.
  const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));
  const common = gcd(dilation, stride);
  const phases = Array.from({ length: stride }, (_, phase) => {
    const ks = Array.from({ length: kernel }, (_, k) => k).filter(
      (k) => (phase + padding - k * dilation) % stride === 0,
    );
    const first = ks[0] ?? 0;
    return { first, taps: ks.length, base: ks.length > 0 ? (phase + padding - first * dilation) / stride : 0 };
  });
  return { advance: 1, step: -dilation / common, kernelStep: stride / common, phases };
}

/** Selects the value of the phase in the WGSL variable `name`. */
const ofPhase = (axis: Axis, name: string, value: (phase: Axis["phases"][number]) => number): string =>
  axis.phases
    .slice(1)
    .reduce((text, phase, k) => `select(${text}, ${value(phase)}, ${name} == ${k + 1}u)`, `${value(axis.phases[0])}`);

/** Packs weights as [group, tap, from channels, to channels], channels padded to whole tiles. */
function packWeights(
  p: ConvParams,
  from: Side,
  to: Side,
  fromPadded: number,
  toPadded: number,
  target: Target,
): Dispatch {
  const taps = volume(p.kernel);
  const count = p.groups * taps * fromPadded * toPadded;
  const grid = foldGrid(ceilDiv(count, 64), target);
  const sizes = sizesOf({
    count,
    taps,
    fromPadded,
    toPadded,
    perGroup: from.channels * to.channels * taps,
    fromChannels: from.channels,
    toChannels: to.channels,
    fromStride: from.weightStride,
    toStride: to.weightStride,
  });
  const source = (): string =>
    wgsl`${p.storage === "f16" ? "enable f16;" : ""}
@group(0) @binding(0) var<storage, read> w: array<${p.storage}>;
@group(0) @binding(1) var<storage, read_write> packed: array<${p.storage}>;
${sizes.declaration(2)}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(local_invocation_index) local: u32) {
${sizes.lets}
  let i = (${grid.index}) * 64u + local;
  if (i >= count) { return; }
  let c = i % toPadded;
  var rest = i / toPadded;
  let k = rest % fromPadded;
  rest /= fromPadded;
  let tap = rest % taps;
  let group = rest / taps;
  let at = group * perGroup + c * toStride + k * fromStride + tap;
  let inside = (c < toChannels) & (k < fromChannels);
  packed[i] = select(${p.storage}(0.0), w[select(0u, at, inside)], inside);
}
`;
  return {
    kernel: { name: "conv.pack_weights", source, workgroups: grid.workgroups, sizes: sizes.values },
    reads: [{ input: 1 }],
    writes: [{ temp: 0 }],
  };
}

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
    [, tH, tW] = to.size,
    [fD, fH, fW] = from.size;
  const [, kH, kW] = p.kernel;
  const names = ["Z", "Y", "X"];

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
      loads.push(only(`a${v} = vec4f(packed[weightsAt + ${line} * ${toPadded / 4}u + ${place}]);`));
      stages.push(only(core.stage("a", line, place, `a${v}`)));
    }
    for (let v = 0; v < loadsB; v++) {
      const line = `line + ${v * linesAtOnce}u`;
      const tail = from.channels % depth !== 0;
      registers.push(`var b${v} = vec4f();`);
      loads.push(`{
      let channel = i32(${tail ? `min(channel0 + ${line}, ${from.channels - 1}u)` : `channel0 + ${line}`});
      let places = at + channel * ${volume(from.size)};
      let values = vec4f(${[0, 1, 2, 3].map((c) => io.load("data", `places[${c}]`)).join(", ")});
      b${v} = select(vec4f(), values, inside${tail ? ` & vec4<bool>(channel0 + ${line} < ${from.channels}u)` : ""});
    }`);
      stages.push(core.stage("b", line, "quad", `b${v}`));
    }
    const store = parts > 1 ? `result[part * ${results}u + to] = value;` : io.store(
      "to",
      p.bias ? `value + ${io.load("bias", `group * ${to.channels}u + channel`)}` : "value",
      moments ? "seen" : undefined,
    );
    const overhang = [0, 1, 2]
      .filter((axis) => to.size[axis] % phases[axis] !== 0)
      .map((axis) => ` & (${names[axis].toLowerCase()} < ${to.size[axis]}u)`)
      .join("");
    const atColumn = `let place = column0 + column;
  let x = place % ${sW}u * ${phases[2]}u + phaseX;
  let y = place / ${sW}u % ${sH}u * ${phases[1]}u + phaseY;
  let z = place / ${sW * sH}u % ${sD}u * ${phases[0]}u + phaseZ;
  let base = (place / ${volume(size)}u * ${p.groups}u + group) * ${to.channels * each}u + (z * ${tH}u + y) * ${tW}u + x;
  let isPlace = (place < ${places}u)${overhang};`;
    const atElement = `let channel = row0 + row;
    if (isPlace & (channel < ${to.channels}u)) {
      let to = base + channel * ${each}u;
      ${store}
    }`;
    const atRow = `let channel = row0 + row;
    if (channel < ${to.channels}u) {
      let at = (column0 / ${each}u * ${p.groups}u + group) * ${to.channels}u + channel;
      moments[at * ${rowParts}u + column0 % ${each}u / ${columns}u] = vec2f(mean, square);
    }`;

    return wgsl`${io.enable}
${core.enable}
${io.declarations()}
${moments ? `@group(0) @binding(${io.reads.length + 1}) var<storage, read_write> moments: array<vec2f>;` : ""}
${core.memory}

@compute @workgroup_size(${invocations})
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(local_invocation_index) local: u32${core.builtins}) {
  let block = ${grid.index};
  if (block >= ${blocks * parts}u) { return; }
  let row0 = block % ${rowBlocks}u * ${rows}u;
  let group = block / ${rowBlocks}u % ${p.groups}u;
  let phaseX = block / ${rowBlocks * p.groups}u % ${phases[2]}u;
  let phaseY = block / ${rowBlocks * p.groups * phases[2]}u % ${phases[1]}u;
  let phaseZ = block / ${rowBlocks * p.groups * phases[2] * phases[1]}u % ${phases[0]}u;
  let part = block / ${rowBlocks * p.groups * volume(phases)}u % ${parts}u;
  let column0 = block / ${rowBlocks * p.groups * volume(phases) * parts}u * ${columns}u;
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
  let i = min(vec4u(column0 + quad) + vec4u(0u, ${columns / 4}u, ${columns / 2}u, ${(columns * 3) / 4}u), vec4u(${
      places - 1
    }u));
  let seenX = vec4i(i % ${sW}u) * ${axes[2].advance} + ${ofPhase(axes[2], "phaseX", (f) => f.base)};
  let seenY = vec4i(i / ${sW}u % ${sH}u) * ${axes[1].advance} + ${ofPhase(axes[1], "phaseY", (f) => f.base)};
  let seenZ = vec4i(i / ${sW * sH}u % ${sD}u) * ${axes[0].advance} + ${ofPhase(axes[0], "phaseZ", (f) => f.base)};
  let corner = vec4i(i / ${volume(size)}u * ${p.groups}u + group) * ${from.channels * volume(from.size)};

  ${core.before}
  ${registers.join("\n  ")}
  let channelEnd = min((part + 1u) * ${perPart}u, ${channelSteps}u) * ${depth}u;
  var channel0 = part * ${perPart * depth}u;
  let steps = u32(tapsZ * tapsY * tapsX) * (channelEnd - channel0) / ${depth}u;
  var tapZ = 0;
  var tapY = 0;
  var tapX = 0;
  for (var step = 0u; step <= steps; step++) {
    if (step < steps) {
      let z = seenZ + tapZ * ${axes[0].step};
      let y = seenY + tapY * ${axes[1].step};
      let x = seenX + tapX * ${axes[2].step};
      let inside = (vec4u(z) < vec4u(${fD}u)) & (vec4u(y) < vec4u(${fH}u)) & (vec4u(x) < vec4u(${fW}u));
      let at = select(vec4i(), corner + (z * ${fH} + y) * ${fW} + x, inside);
      let kz = firstZ + tapZ * ${axes[0].kernelStep};
      let ky = firstY + tapY * ${axes[1].kernelStep};
      let kx = firstX + tapX * ${axes[2].kernelStep};
      let tap = u32((kz * ${kH} + ky) * ${kW} + kx);
      let weightsAt = (((group * ${volume(p.kernel)}u + tap) * ${fromPadded}u + channel0) * ${toPadded}u + row0) / 4u;
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
        ? `let count = min(${columns}u, ${places}u - column0);\n${core.finishWithMoments(atColumn, atElement, atRow)}`
        : core.finish(atColumn, atElement)
    }
}
`;
  };
  const family = backward ? "conv_input_grad" : "conv_forward";
  const kernel = {
    name: `${io.prefix}${family}.${name}${moments ? "&moments" : ""}${io.suffix}`,
    source,
    workgroups: grid.workgroups,
    ...convWork(p),
  };
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
