/** Weights of a convolution in the order in which tiles read them. */
import { wgsl } from "wgsl-preprocessor/wgsl-preprocessor.js";
import { type ConvParams, type Side, volume } from "./common.wgsl.ts";
import { ceilDiv, foldGrid } from "../grid.ts";
import { sizesOf } from "../sizes.ts";
import type { Dispatch, Target } from "../types.ts";

/** Packs weights as [group, tap, from channels, to channels], channels padded to whole tiles. */
export function packWeights(
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
