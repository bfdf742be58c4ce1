/**
 * Mean and reciprocal standard deviation of rows, in one pass. Means and squared deviations of blocks, then of lanes,
 * are merged by the rule of Chan, Golub and LeVeque ("Updating formulae", 1979), which avoids cancellation.
 */
import { wgsl } from "wgsl-preprocessor/wgsl-preprocessor.js";
import { foldGrid } from "./grid.ts";
import { librarySource } from "./library.ts";
import { operands } from "./operands.ts";
import { withSizes } from "./sizes.ts";
import { type Dispatch, type Fusion, type Lowered, type Slot, type Target, widestGroup } from "./types.ts";

export interface MomentsParams {
  readonly rows: number;
  readonly length: number;
  /** Added to the variance. */
  readonly eps: number;
}

/** Workgroup memory of `size` entries, and functions that merge them. */
const joining = (size: number): string =>
  `var<workgroup> counts: array<f32, ${size}>;
var<workgroup> means: array<f32, ${size}>;
var<workgroup> rests: array<f32, ${size}>;
var<workgroup> squares: array<f32, ${size}>;

// The mean of an entry is means + rests: for large means, rounding would otherwise swamp the deviations.
fn keep(entry: u32, count: f32, origin: f32, mean: f32, square: f32) {
  let rounded = vg_exact(origin + mean);
  counts[entry] = count;
  means[entry] = rounded;
  rests[entry] = mean - (rounded - origin);
  squares[entry] = square;
}

// Merges up to count entries, every step-th starting at first, into the first.
fn join(first: u32, step: u32, count: u32) {
  let origin = means[first];
  var total = 0f;
  var sum = 0f;
  for (var k = first; k < first + count * step; k += step) {
    total += counts[k];
    sum += counts[k] * (means[k] - origin + rests[k]);
  }
  let mean = sum / max(total, 1f);
  var square = 0f;
  for (var k = first; k < first + count * step; k += step) {
    let d = means[k] - origin + rests[k] - mean;
    square += squares[k] + counts[k] * d * d;
  }
  keep(first, total, origin, mean, square);
}`;

/** Lanes that merge the others before one lane merges theirs. */
const JOINERS = 16;
/** Number of values that keeps the lanes of a workgroup busy. */
const LONG = 1024;
/** Values that a lane processes at once: their mean and squares are merged into the lane's. */
const BLOCK = 8;

const each = (text: (t: number) => string): string => Array.from({ length: BLOCK }, (_, t) => text(t)).join("\n");
const sum = (text: (t: number) => string): string => Array.from({ length: BLOCK }, (_, t) => text(t)).join(" + ");

/**
 * Lanes per part of a row. On a CPU adapter one: its workgroups gain nothing from sharing memory, and barriers take up
 * to 150 ms longer to compile.
 */
function lanesOf({ length }: MomentsParams, target: Target): number {
  if (target.software) return 1;
  return length < LONG ? 32 : widestGroup(target);
}

/** Parts per row: a few long rows are split so that they occupy the device. */
function partsOf({ rows, length }: MomentsParams, target: Target): number {
  const lanes = widestGroup(target);
  if (target.software) {
    // Short parts: what rounding leaves of a mean grows with the values that a lane adds.
    return length < LONG || rows >= LONG ? 1 : Math.min(Math.floor(length / (LONG / 4)), lanes);
  }
  const wanted = Math.ceil(256 / rows);
  return Math.max(1, Math.min(wanted, Math.floor(length / (4 * lanes)), lanes));
}

/** Reads x [rows, length], writes [rows, 2]: mean, and 1 / sqrt(variance + eps). */
export function lowerMoments(p: MomentsParams, target: Target, fusion: Fusion | null = null): Lowered {
  const { rows, length } = p;
  const lanes = lanesOf(p, target);
  const widest = widestGroup(target);
  const share = Math.ceil(length / (lanes === widest || target.software ? partsOf(p, target) : 1));
  // No part is empty.
  const parts = Math.ceil(length / share);
  const kernel = (
    own: string,
    from: Slot,
    to: Slot,
    text: (load: (at: string) => string) => string,
    groups: number,
    lanes: number,
    flops: number,
  ): Dispatch => {
    const size = lanes === 1 ? Math.min(64, widest) : widest;
    const each = size / lanes;
    const { workgroups, index } = foldGrid(Math.ceil(groups / each), target);
    const x = operands([{ name: "x", type: "f32", slot: from }], { name: "result", type: "f32", slot: to }, fusion);
    const sizes = x.sizes({ groups, parts, share, length }, {}, { eps: p.eps });
    const last = "output" in to;
    const [whole, rest, squared, counted] = lanes > 1
      ? ["means[leader]", "rests[leader]", "squares[leader]", "counts[leader]"]
      : ["pivot", "mean", "square", "count"];
    const source = (): string =>
      wgsl`${x.enable}
${x.declarations()}
${librarySource(last ? ["vg_exact", "vg_rsqrt"] : ["vg_exact"])}
#if ${lanes > 1}
${joining(size)}
#endif
@compute @workgroup_size(${size})
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(local_invocation_index) local: u32) {
${sizes.lets}
  let lane = local % ${lanes}u;
  let leader = local - lane;
  // Beyond the end the last is repeated because all must reach the barriers; it is not stored.
  let flat = (${index}) * ${each}u + local / ${lanes}u;
  let group = min(flat, groups - 1u);
${text((at) => x.load("x", at))}
#if ${lanes > 1}
  keep(local, count, pivot, mean, square);
#if ${lanes > JOINERS}
  workgroupBarrier();
  if (lane < ${JOINERS}u) {
    join(local, ${JOINERS}u, ${lanes / JOINERS}u);
  }
  workgroupBarrier();
  if (lane == 0u) {
    join(leader, 1u, ${JOINERS}u);
  }
#endif
#endif
  if ((lane == 0u) & (flat < groups)) {
#if ${last}
    result[group * 2u] = ${whole} + ${rest};
    result[group * 2u + 1u] = vg_rsqrt(${squared} / ${counted} + eps);
#else
    result[group * 3u] = ${whole};
    result[group * 3u + 1u] = ${rest};
    result[group * 3u + 2u] = ${squared};
#endif
  }
}
`;
    const name = `${own}${x.suffix}`;
    return { kernel: withSizes({ name, source, workgroups, flops }, sizes), reads: x.reads, writes: [to] };
  };
  // Of the many values of a lane on a CPU adapter, the middle of three, which a single outlier is not.
  const pivot = (load: (at: string) => string): string =>
    lanes > 1 || parts === 1
      ? `  let pivot = ${load("first + min(begin + lane, end - 1u)")};`
      : `  let one = ${load("first + begin")};
  let two = ${load("first + (begin + end) / 2u")};
  let three = ${load("first + end - 1u")};
  let pivot = max(min(one, two), min(max(one, two), three));`;
  const read = (load: (at: string) => string): string =>
    `  let begin = group % parts * share;
  let end = min(begin + share, length);
  let first = group / parts * length;
  var count = 0f;
  var mean = 0f;
  var square = 0f;
  // Differences from a value of the lane keep it exact if the mean is large.
${pivot(load)}
  var k = begin + lane;
  for (; k + ${(BLOCK - 1) * lanes}u < end; k += ${BLOCK * lanes}u) {
${each((t) => `    let v${t} = ${load(`first + k + ${t * lanes}u`)} - pivot;`)}
    let own = (${sum((t) => `v${t}`)}) * ${1 / BLOCK};
${each((t) => `    let d${t} = v${t} - own;`)}
    let spread = ${sum((t) => `d${t} * d${t}`)};
    let delta = own - mean;
    let after = count + ${BLOCK}f;
    mean += delta * (${BLOCK}f / after);
    square += spread + delta * delta * (count * (${BLOCK}f / after));
    count = after;
  }
  for (; k < end; k += ${lanes}u) {
    let delta = ${load("first + k")} - pivot - mean;
    count += 1f;
    mean += delta / count;
    square += delta * delta * ((count - 1f) / count);
  }
`;
  // A row has at most as many parts as lanes.
  const merge = (load: (at: string) => string): string =>
    `  let part = min(lane, parts - 1u);
  let at = (group * parts + part) * 3u;
  let count = select(0f, f32(min(share, length - part * share)), lane < parts);
  let pivot = ${load("at")};
  let mean = ${load("at + 1u")};
  let square = select(0f, ${load("at + 2u")}, lane < parts);`;
  const meanOf = (load: (at: string) => string): string => load("(first + part) * 3u");
  const restOf = (load: (at: string) => string): string => load("(first + part) * 3u + 1u");
  const mergeAlone = (load: (at: string) => string): string =>
    `  let first = group * parts;
  let origin = ${load("first * 3u")};
  let count = f32(length);
  var total = 0f;
  for (var part = 0u; part < parts; part++) {
    total += f32(min(share, length - part * share)) * (${meanOf(load)} - origin + ${restOf(load)});
  }
  // Rounded, and off if the first part is: what it is off by is measured along with the squares.
  let pivot = vg_exact(origin + total / count);
  var mean = 0f;
  var square = 0f;
  for (var part = 0u; part < parts; part++) {
    let values = f32(min(share, length - part * share));
    let d = ${meanOf(load)} - pivot + ${restOf(load)};
    mean += values * d;
    square += ${load("(first + part) * 3u + 2u")} + values * d * d;
  }
  mean /= count;
  square -= count * mean * mean;`;
  const flops = 4 * rows * length;
  const input: Slot = { input: 0 };
  const output: Slot = { output: 0 };
  if (parts === 1) return { temps: [], dispatches: [kernel("moments", input, output, read, rows, lanes, flops)] };
  const between: Slot = { temp: 0 };
  return {
    temps: [12 * rows * parts],
    dispatches: [
      kernel("moments.parts", input, between, read, rows * parts, lanes, flops),
      lanes === 1
        ? kernel("moments.merge", between, output, mergeAlone, rows, 1, 0)
        : kernel("moments.merge", between, output, merge, rows, widest, 0),
    ],
  };
}
