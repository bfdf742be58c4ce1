/** Kernels with one invocation per item, and the order of keys. */
import { wgsl } from "wgsl-preprocessor/wgsl-preprocessor.js";
import { fold } from "../map.wgsl.ts";
import type { Dispatch, Slot, Target } from "../types.ts";

export const WORKGROUP = 64;

/** A kernel with one invocation per item `i`, buffers b0, b1, ... of u32, or of `types`. */
export function step(
  name: string,
  items: number,
  reads: readonly Slot[],
  writes: readonly Slot[],
  body: string,
  target: Target,
  types: readonly string[] = [],
  library = "",
): Dispatch {
  const { workgroups, row } = fold(items, WORKGROUP, target);
  const buffers = [...reads, ...writes].map(
    (_, k) =>
      `@group(0) @binding(${k}) var<storage, ${k < reads.length ? "read" : "read_write"}> b${k}: array<${
        types[k] ?? "u32"
      }>;`,
  );
  const source = (): string =>
    wgsl`
${buffers.join("\n")}
${library}
@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x + id.y * ${row}u;
  if (i >= ${items}u) {
    return;
  }
  ${body}
}
`;
  return { kernel: { name, source, workgroups }, reads, writes };
}

/** Types whose 32 bits have an order. */
export type Ordered = "f32" | "i32" | "u32";

/**
 * WGSL of `key(bits)`: u32 whose order is that of the values. NaN is above all numbers, -0 is 0; subnormal numbers
 * keep their order, since no float is computed.
 */
export function keySource(type: Ordered, descending = false): string {
  const ordered = type === "f32"
    ? `let magnitude = bits & 0x7fffffffu;
  var key = select(bits | 0x80000000u, ~bits, bits > 0x80000000u);
  if (magnitude > 0x7f800000u) { key = 0xffffffffu; }
  if (magnitude == 0u) { key = 0x80000000u; }`
    : `let key = bits${type === "i32" ? " ^ 0x80000000u" : ""};`;
  return `fn key(bits: u32) -> u32 {
  ${ordered}
  return ${descending ? "~" : ""}key;
}`;
}
