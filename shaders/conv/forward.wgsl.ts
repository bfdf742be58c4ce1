/** Convolution with one output element per invocation, for every shape. */
import { wgsl } from "wgsl-preprocessor/wgsl-preprocessor.js";
import { convOperands, convWork, volume } from "./common.wgsl.ts";
import { ceilDiv, foldGrid } from "../grid.ts";
import type { ConvParams } from "./common.wgsl.ts";
import type { Fusion, Lowered, Target, Variant } from "../types.ts";

function lower(p: ConvParams, target: Target, fusion: Fusion | null = null): Lowered {
  const [iD, iH, iW] = p.input;
  const [oD, oH, oW] = p.output;
  const [kD, kH, kW] = p.kernel;
  const ci = p.inChannels / p.groups,
    co = p.outChannels / p.groups;
  const count = p.batch * p.outChannels * volume(p.output);
  const grid = foldGrid(ceilDiv(count, 64), target);
  const io = convOperands(p, ["x", "w", "bias"], "y", fusion);
  const source = (): string =>
    wgsl`${io.enable}
${io.declarations()}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = (${grid.index}) * 64u + lane;
  if (i >= ${count}u) { return; }
  let ox = i % ${oW}u;
  let oy = i / ${oW}u % ${oH}u;
  let oz = i / ${oW * oH}u % ${oD}u;
  let channel = i / ${volume(p.output)}u % ${p.outChannels}u;
  let sample = i / ${volume(p.output) * p.outChannels}u;
  let x0 = (sample * ${p.inChannels}u + channel / ${co}u * ${ci}u) * ${volume(p.input)}u;
  let w0 = channel * ${ci * volume(p.kernel)}u;
  var sum = 0.0;
  for (var kz = 0u; kz < ${kD}u; kz++) {
    let iz = i32(oz * ${p.stride[0]}u + kz * ${p.dilation[0]}u) - ${p.padding[0]};
    if (iz < 0 || iz >= ${iD}) { continue; }
    for (var ky = 0u; ky < ${kH}u; ky++) {
      let iy = i32(oy * ${p.stride[1]}u + ky * ${p.dilation[1]}u) - ${p.padding[1]};
      if (iy < 0 || iy >= ${iH}) { continue; }
      for (var kx = 0u; kx < ${kW}u; kx++) {
        let ix = i32(ox * ${p.stride[2]}u + kx * ${p.dilation[2]}u) - ${p.padding[2]};
        if (ix < 0 || ix >= ${iW}) { continue; }
        let at = x0 + (u32(iz) * ${iH}u + u32(iy)) * ${iW}u + u32(ix);
        let tap = w0 + (kz * ${kH}u + ky) * ${kW}u + kx;
        for (var c = 0u; c < ${ci}u; c++) {
          sum += ${io.load("x", `at + c * ${volume(p.input)}u`)} * ${io.load("w", `tap + c * ${volume(p.kernel)}u`)};
        }
      }
    }
  }
${p.bias ? `  sum += ${io.load("bias", "channel")};` : ""}
  ${io.store("i", "sum")}
}
`;
  return {
    temps: [],
    dispatches: [
      {
        kernel: {
          name: `${io.prefix}conv_forward.generic${io.suffix}`,
          source,
          workgroups: grid.workgroups,
          ...convWork(p),
        },
        reads: io.reads,
        writes: [{ output: 0 }],
      },
    ],
  };
}

export const convForwardGeneric: Variant<ConvParams> = { name: "generic", guard: () => true, lower };
