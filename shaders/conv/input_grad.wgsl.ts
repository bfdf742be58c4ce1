/** Input gradient of a convolution with one element per invocation, for every shape. */
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
  const count = p.batch * p.inChannels * volume(p.input);
  const grid = foldGrid(ceilDiv(count, 64), target);
  // Output o reads input i through tap k if o * stride + k * dilation - padding = i.
  const io = convOperands(p, ["g", "w", "bias"], "dx", fusion);
  const source = (): string =>
    wgsl`${io.enable}
${io.declarations()}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = (${grid.index}) * 64u + lane;
  if (i >= ${count}u) { return; }
  let ix = i % ${iW}u;
  let iy = i / ${iW}u % ${iH}u;
  let iz = i / ${iW * iH}u % ${iD}u;
  let channel = i / ${volume(p.input)}u % ${p.inChannels}u;
  let sample = i / ${volume(p.input) * p.inChannels}u;
  let o0 = channel / ${ci}u * ${co}u;
  let g0 = (sample * ${p.outChannels}u + o0) * ${volume(p.output)}u;
  let w0 = (o0 * ${ci}u + channel % ${ci}u) * ${volume(p.kernel)}u;
  var sum = 0.0;
  for (var kz = 0; kz < ${kD}; kz++) {
    let tz = i32(iz) + ${p.padding[0]} - kz * ${p.dilation[0]};
    if (tz < 0 || tz % ${p.stride[0]} != 0 || tz / ${p.stride[0]} >= ${oD}) { continue; }
    for (var ky = 0; ky < ${kH}; ky++) {
      let ty = i32(iy) + ${p.padding[1]} - ky * ${p.dilation[1]};
      if (ty < 0 || ty % ${p.stride[1]} != 0 || ty / ${p.stride[1]} >= ${oH}) { continue; }
      for (var kx = 0; kx < ${kW}; kx++) {
        let tx = i32(ix) + ${p.padding[2]} - kx * ${p.dilation[2]};
        if (tx < 0 || tx % ${p.stride[2]} != 0 || tx / ${p.stride[2]} >= ${oW}) { continue; }
        let at = g0 + u32((tz / ${p.stride[0]} * ${oH} + ty / ${p.stride[1]}) * ${oW} + tx / ${p.stride[2]});
        let tap = w0 + u32((kz * ${kH} + ky) * ${kW} + kx);
        for (var c = 0u; c < ${co}u; c++) {
          sum += ${io.load("g", `at + c * ${volume(p.output)}u`)} * ${
      io.load("w", `tap + c * ${ci * volume(p.kernel)}u`)
    };
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
          name: `${io.prefix}conv_input_grad.generic${io.suffix}`,
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

export const convInputGradGeneric: Variant<ConvParams> = { name: "generic", guard: () => true, lower };
