/**
 * Exact Euclidean distance to the nearest zero voxel, axis by axis (Felzenszwalb and Huttenlocher, "Distance transforms
 * of sampled functions", 2012): a sweep both ways along one axis gives squared distances on its lines, and along each
 * further axis the result is the lower envelope of parabolas, one per voxel. An invocation takes a line, in linear
 * time.
 *
 * Takeover places are whole numbers that are confirmed by comparing the parabolas there (Meijster, Roerdink, Hesselink,
 * 2000), so that with whole spacings squared distances are exact below 2^24.
 */
import { wgsl } from "wgsl-preprocessor/wgsl-preprocessor.js";
import { fold } from "../map.wgsl.ts";
import { insideFunction } from "./mask.wgsl.ts";
import type { Kernel, Lowered, Slot, Target } from "../types.ts";

export interface DistanceTransformParams {
  readonly batch: number;
  readonly size: readonly [number, number, number];
  readonly spacing: readonly [number, number, number];
  /** The mask holds f32. */
  readonly float: boolean;
}

interface Lines {
  readonly count: number;
  readonly length: number;
  /** Lines side by side, which is also the step from a voxel of a line to the next. */
  readonly inner: number;
  /** Squared spacing. */
  readonly weight: number;
  /** Gives the distance, infinity where there is no zero; other passes give the squared distance or FAR. */
  readonly last: boolean;
}

const WORKGROUP = 64;
/** Squared distance where there is no zero voxel: above any, and still a number, since WGSL may lack infinity. */
const FAR = "3e38f";
/** Entries of the envelope hold two places of a line in one word. */
const LONGEST = 65536;

/** Mask [batch, ...size] to f32 distances, one dispatch an axis. */
export function lowerDistanceTransform(p: DistanceTransformParams, target: Target): Lowered {
  const elements = p.batch * p.size[0] * p.size[1] * p.size[2];
  // The sweep takes lines of any length, and no tensor has two axes above 65536.
  const long = p.size.findIndex((n) => n > LONGEST);
  const swept = long < 0 ? 2 : long;
  const axes = [swept, ...[2, 1, 0].filter((axis) => axis !== swept && p.size[axis] > 1)];
  // Passes write the temporary and the output in turns, so that the last one writes the output.
  const slot = (pass: number): Slot => ((axes.length - pass) % 2 === 1 ? { output: 0 } : { temp: 0 });
  const dispatches = axes.map((axis, pass) => {
    const length = p.size[axis];
    const lines: Lines = {
      count: elements / length,
      length,
      inner: p.size.slice(axis + 1).reduce((product, n) => product * n, 1),
      weight: p.spacing[axis] ** 2,
      last: pass === axes.length - 1,
    };
    return pass === 0
      ? { kernel: sweep(lines, p.float, target), reads: [{ input: 0 }], writes: [slot(0)] }
      : { kernel: envelope(lines, target), reads: [slot(pass - 1)], writes: [slot(pass)] };
  });
  return { temps: axes.length > 1 ? [4 * elements] : [], dispatches };
}

/**
 * A kernel whose invocations run `body` for the line that begins at `start`. The result is bits: places, then numbers.
 */
function lineKernel(
  name: string,
  lines: Lines,
  source: string,
  functions: string,
  body: string,
  target: Target,
): Kernel {
  const { workgroups, row } = fold(lines.count, WORKGROUP, target);
  const { inner, length } = lines;
  return {
    name: `distance_transform.${name}`,
    workgroups,
    source: () =>
      wgsl`
@group(0) @binding(0) var<storage, read> source: array<${source}>;
@group(0) @binding(1) var<storage, read_write> result: array<u32>;
const weight = ${lines.weight}f;
const step = ${inner}u;

${functions}

// Infinity is written as bits.
fn finished(squared: f32) -> u32 {
#if ${lines.last}
  return select(bitcast<u32>(sqrt(squared)), 0x7f800000u, squared >= ${FAR});
#else
  return bitcast<u32>(squared);
#endif
}

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let line = id.x + id.y * ${row}u;
  if (line >= ${lines.count}u) { return; }
#if ${inner === 1}
  let start = line * ${length}u;
#else
  let start = (line / ${inner}u) * ${length * inner}u + line % ${inner}u;
#endif
${body}
}`,
  };
}

/** Voxels to the last zero, forwards, then the nearer of that and the one behind. */
function sweep(lines: Lines, float: boolean, target: Target): Kernel {
  const never = 2 ** 31;
  const body = wgsl`
  var far = ${never}u;
  var at = start;
  for (var i = 0u; i < ${lines.length}u; i++) {
    far = select(0u, min(far + 1u, ${never}u), inside(source[at]));
    result[at] = far;
    at += step;
  }
  far = ${never}u;
  for (var i = 0u; i < ${lines.length}u; i++) {
    at -= step;
    let before = result[at];
    far = select(min(far + 1u, before), 0u, before == 0u);
    let distance = f32(far);
    result[at] = finished(select(weight * (distance * distance), ${FAR}, far >= ${never}u));
  }`;
  return lineKernel("sweep", lines, "u32", insideFunction(float), body, target);
}

/**
 * Forwards, the parabolas that are lowest somewhere are put on a stack: entry k, lowest from place `from` on, belongs
 * to voxel `at`. Backwards, the entry of each voxel gives its value. The stack lies in the line of the result: entry k
 * begins at place k or later, so that values written backwards overwrite only entries that were used.
 */
function envelope(lines: Lines, target: Target): Kernel {
  const n = lines.length;
  const functions = wgsl`
fn parabola(height: f32, at: i32, place: i32) -> f32 {
  let distance = f32(place - at);
  return height + weight * (distance * distance);
}`;
  const body = wgsl`
  var count = 0u;
  var at = 0i;
  var height = 0f;
  var begin = 0i;
  for (var i = 0i; i < ${n}i; i++) {
    let value = source[start + u32(i) * step];
    // FAR over a small weight might overflow.
    if (value >= ${FAR}) { continue; }
    while (count > 0u) {
      if (parabola(value, i, begin) > parabola(height, at, begin)) { break; }
      count--;
      if (count > 0u) {
        let entry = result[start + (count - 1u) * step];
        at = i32(entry & 0xffffu);
        begin = i32(entry >> 16u);
        height = source[start + u32(at) * step];
      }
    }
    var first = 0i;
    if (count > 0u) {
      let crossing = 0.5 * f32(i + at) + (value - height) / (2.0 * weight * f32(i - at));
      let near = i32(clamp(round(crossing), f32(begin), ${n}f));
      first = max(begin + 1i, near + select(1i, 0i, parabola(value, i, near) < parabola(height, at, near)));
      if (first >= ${n}i) { continue; }
    }
    at = i;
    height = value;
    begin = first;
    result[start + count * step] = u32(at) | (u32(begin) << 16u);
    count++;
  }
  let none = count == 0u;
  for (var i = ${n - 1}i; i >= 0i; i--) {
    if (i < begin) {
      count--;
      let entry = result[start + (count - 1u) * step];
      at = i32(entry & 0xffffu);
      begin = i32(entry >> 16u);
      height = source[start + u32(at) * step];
    }
    result[start + u32(i) * step] = finished(select(parabola(height, at, i), ${FAR}, none));
  }`;
  return lineKernel("envelope", lines, "f32", functions, body, target);
}
