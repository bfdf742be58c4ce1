/**
 * Interpolation along one axis, and its adjoint, with the coordinates of torch.nn.functional.interpolate.
 *
 * Coordinates are integer fractions, so that every index is exact and a coordinate is rounded once; dividing by the
 * constant denominator costs a multiplication. The adjoint gathers: it visits every output whose source may be near
 * enough, and computes the weight with the function that the forward kernel uses.
 */
import { wgsl } from "wgsl-preprocessor/wgsl-preprocessor.js";
import type { Lowered, Target } from "../types.ts";

export interface ResizeAxisParams {
  /** Product of the sizes before the axis. */
  readonly outer: number;
  /** Product of the sizes after the axis. */
  readonly inner: number;
  /** Sizes of the axis before and after interpolation, also if `transposed` reverses the direction. */
  readonly inputSize: number;
  readonly outputSize: number;
  readonly mode: "nearest" | "linear" | "cubic";
  /** Whether the first and last samples are aligned; otherwise the extents of the grids are. */
  readonly alignCorners: boolean;
  /** The adjoint: [outer, outputSize, inner] to [outer, inputSize, inner]. */
  readonly transposed: boolean;
}

const groupSize = 64;

/** Samples per output, and their maximum distance from its source. */
const reach = { nearest: { taps: 1, radius: 1 }, linear: { taps: 2, radius: 1 }, cubic: { taps: 4, radius: 2 } };

/**
 * [outer, inputSize, inner] f32 to [outer, outputSize, inner] f32, or back for the adjoint, in one dispatch.
 *
 * @throws RangeError if coordinates do not fit in 32 bits (product of sizes above about 2^31)
 */
export function lowerResizeAxis(p: ResizeAxisParams, target: Target): Lowered {
  const { outer, inputSize: n, outputSize: m } = p;
  const { radius } = reach[p.mode];
  const largest = 2 * (Math.max(n, m) + radius + 1) * Math.min(n, m) + 2 * Math.max(n, m);
  if (!(n >= 1 && m >= 1) || largest >= 2 ** 32) {
    throw new RangeError(`resize: sizes ${n} and ${m} along one axis; each is at least 1 and their product below 2^31`);
  }
  // Four results at a time: neighbors along the inner axes, or on the last axis, along the axis itself.
  const length = p.transposed ? n : m;
  const packed = p.inner % 4 === 0;
  const unrolled = p.inner === 1 && length % 4 === 0;
  const inner = packed ? p.inner / 4 : p.inner;
  const steps = unrolled ? length / 4 : length;
  const count = outer * steps * inner;
  // On a CPU an invocation costs more than a value.
  const share = target.software && !packed && !unrolled ? 4 : 1;
  const groups = Math.max(1, Math.ceil(count / (share * groupSize)));
  const columns = Math.min(groups, target.maxWorkgroupsPerDimension);
  const rows = Math.ceil(groups / columns);
  if (rows > target.maxWorkgroupsPerDimension) {
    throw new RangeError(`resize: ${count} values need ${groups} workgroups, more than one grid of this device has`);
  }
  const source = (): string =>
    wgsl`
alias Value = ${packed ? "vec4f" : "f32"};
@group(0) @binding(0) var<storage, read> source: array<Value>;
@group(0) @binding(1) var<storage, read_write> result: array<${packed || unrolled ? "vec4f" : "f32"}>;

${tapFunctions(p)}

${p.transposed ? adjointFunction(p, inner) : forwardFunction(p, inner)}

fn store(id: u32) {
  if (id >= ${count}u) { return; }
  let line = id / ${inner}u;
  let start = (line / ${steps}u) * ${(p.transposed ? m : n) * inner}u + id % ${inner}u;
  let i = line % ${steps}u;
#if ${unrolled}
  result[id] = vec4f(${[0, 1, 2, 3].map((k) => `resized(start, 4u * i + ${k}u)`).join(", ")});
#else
  result[id] = resized(start, i);
#endif
}

@compute @workgroup_size(${groupSize})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let id = ((group.y * ${columns}u + group.x) * ${groupSize}u + lane) * ${share}u;
  for (var k = 0u; k < ${share}u; k++) { store(id + k); }
}`;
  const kernel = {
    name: `resize_axis.${p.mode}${p.transposed ? ".adjoint" : ""}${packed ? ".packed" : unrolled ? ".unrolled" : ""}`,
    source,
    workgroups: [columns, rows, 1] as const,
  };
  return { temps: [], dispatches: [{ kernel, reads: [{ input: 0 }], writes: [{ output: 0 }] }] };
}

/** `place(i)`: the source position of output i; `tap(first, k)`: the sample of weight k; `weights(t)`. */
function tapFunctions({ inputSize: n, outputSize: m, mode, alignCorners }: ResizeAxisParams): string {
  // The source of output i is numerator / denominator, shifted by one sample if it might be negative.
  let numerator: string;
  let denominator: number;
  if (mode === "nearest") {
    numerator = `i * ${n}u`;
    denominator = m;
  } else if (alignCorners) {
    numerator = `i * ${m > 1 ? n - 1 : 0}u`;
    denominator = Math.max(1, m - 1);
  } else {
    numerator = mode === "linear" ? `max((2u * i + 1u) * ${n}u, ${m}u) - ${m}u` : `(2u * i + 1u) * ${n}u + ${m}u`;
    denominator = 2 * m;
  }
  // Cubic taps start one sample before the source.
  const back = mode === "cubic" ? (alignCorners ? 1 : 2) : 0;
  return wgsl`
struct Place { first: i32, t: f32 }

fn place(i: u32) -> Place {
  let numerator = ${numerator};
  return Place(i32(numerator / ${denominator}u) - ${back}, f32(numerator % ${denominator}u) / ${denominator}.0);
}

fn tap(first: i32, k: i32) -> u32 {
  return u32(clamp(first + k, 0, ${n - 1}));
}

#if ${mode === "nearest"}
fn weights(t: f32) -> array<f32, 1> {
  return array(1.0);
}
#elif ${mode === "linear"}
fn weights(t: f32) -> array<f32, 2> {
  return array(1.0 - t, t);
}
#else
// Keys' kernel with a = -0.75, with its outer pieces factored: they vanish at distances 1 and 2.
fn near(d: f32) -> f32 {
  return (1.25 * d - 2.25) * d * d + 1.0;
}

fn weights(t: f32) -> array<f32, 4> {
  let r = 1.0 - t;
  return array(-0.75 * t * r * r, near(t), near(r), -0.75 * r * t * t);
}
#endif`;
}

/** `resized(start, i)`: the value at position i of a line whose first source element is at `start`. */
function forwardFunction({ mode }: ResizeAxisParams, inner: number): string {
  const terms = Array.from(
    { length: reach[mode].taps },
    (_, k) => `w[${k}] * source[start + tap(at.first, ${k}) * ${inner}u]`,
  );
  return wgsl`
fn resized(start: u32, i: u32) -> Value {
  let at = place(i);
  let w = weights(at.t);
  return ${terms.join("\n    + ")};
}`;
}

function adjointFunction(p: ResizeAxisParams, inner: number): string {
  const taps = Array.from({ length: reach[p.mode].taps }, (_, k) => k);
  const [low, high] = outputRange(p);
  return wgsl`
fn resized(start: u32, j: u32) -> Value {
  var total = Value(0.0);
  let last = min(${high}, ${p.outputSize - 1}u);
  for (var i = ${low}; i <= last; i++) {
    let at = place(i);
    let w = weights(at.t);
    ${taps.map((k) => `let hit${k} = tap(at.first, ${k}) == j;`).join("\n    ")}
    if (${taps.map((k) => `hit${k}`).join(" || ")}) {
      let weight = ${taps.map((k) => `select(0.0, w[${k}], hit${k})`).join(" + ")};
      total += weight * source[start + i * ${inner}u];
    }
  }
  return total;
}`;
}

/** WGSL for the first and last output whose taps may include input j: sources from j - radius to j + radius. */
function outputRange({ inputSize: n, outputSize: m, mode, alignCorners }: ResizeAxisParams): [string, string] {
  const { radius } = reach[mode];
  if (mode === "nearest") return [`(j * ${m}u) / ${n}u`, `((j + 1u) * ${m}u) / ${n}u`];
  if (alignCorners) {
    if (n === 1) return ["0u", `${m - 1}u`];
    return [`(max(j, ${radius}u) - ${radius}u) * ${m - 1}u / ${n - 1}u`, `(j + ${radius}u) * ${m - 1}u / ${n - 1}u`];
  }
  // i = ((2 s + 1) m - n) / (2 n) for a source s; both ends rounded outwards, the lower one at least 0.
  const below = 2 * radius - 1;
  return [
    `(max((max(2u * j, ${below}u) - ${below}u) * ${m}u, ${n}u) - ${n}u) / ${2 * n}u`,
    `((2u * j + ${2 * radius + 1}u) * ${m}u) / ${2 * n}u`,
  ];
}
