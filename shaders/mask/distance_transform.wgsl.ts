/**
 * Exact Euclidean distance to the nearest zero voxel, axis by axis (Felzenszwalb and Huttenlocher, "Distance
 * transforms of sampled functions", 2012): a sweep in both directions along one axis gives squared distances on its
 * lines, and along each further axis the result is the lower envelope of parabolas, one per voxel. An invocation
 * processes a line, in linear time.
 *
 * Envelope boundaries are integers, verified by comparing the parabolas there (Meijster, Roerdink, Hesselink, 2000),
 * so that with integer spacing squared distances are exact below 2^24.
 */
import { wgsl } from "wgsl-preprocessor/wgsl-preprocessor.js";
import { fold } from "../map.wgsl.ts";
import { insideFunction } from "./mask.wgsl.ts";
import type { Kernel, Lowered, Slot, Target } from "../types.ts";

export interface DistanceTransformParams {
  readonly batch: number;
  readonly size: readonly [number, number, number];
  readonly spacing: readonly [number, number, number];
  /** Whether the mask is f32. */
  readonly float: boolean;
}

interface Lines {
  readonly count: number;
  readonly length: number;
  /** Number of adjacent lines, which is also the stride from a voxel of a line to the next. */
  readonly inner: number;
  /** Squared spacing. */
  readonly weight: number;
  /** Whether to output the distance, infinity if there is no zero; other passes output the squared distance or FAR. */
  readonly last: boolean;
}

const WORKGROUP = 64;
/** Squared distance if there is no zero voxel: above any other, but finite, since WGSL may not support infinity. */
const FAR = "3e38f";
/** Envelope entries pack two positions of a line into one word. */
const LONGEST = 65536;

/** Mask [batch, ...size] to f32 distances, one dispatch per axis. */
export function lowerDistanceTransform(p: DistanceTransformParams, target: Target): Lowered {
  const elements = p.batch * p.size[0] * p.size[1] * p.size[2];
  // The sweep supports lines of any length, and no tensor has two axes above 65536.
  const long = p.size.findIndex((n) => n > LONGEST);
  const swept = long < 0 ? 2 : long;
  const axes = [swept, ...[2, 1, 0].filter((axis) => axis !== swept && p.size[axis] > 1)];
  // Passes alternate between the temporary and the output, so that the last one writes the output.
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
 * A kernel whose invocations run `body` for the line that starts at `start`. The result buffer holds bits: first
 * positions, then numbers.
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

/** Distance in voxels to the previous zero, forwards, then the minimum of that and the distance to the next. */
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
 * Forwards, the parabolas that are lowest somewhere are pushed on a stack: entry k, lowest from position `from` on,
 * belongs to voxel `at`. Backwards, the entry of each voxel gives its value. The stack is stored in the line of the
 * result: entry k starts at position k or later, so values written backwards only overwrite entries that are no longer
 * needed.
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
