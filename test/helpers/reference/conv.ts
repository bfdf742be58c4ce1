/** Convolutions as loops over their products. */
import type { ConvParams } from "../../../shaders/conv/variants.ts";

type Size3 = readonly [number, number, number];

/** A convolution, without what follows from it or is as usual. */
export interface ConvSpec {
  readonly batch?: number;
  readonly channels: readonly [number, number];
  readonly groups?: number;
  readonly input: Size3;
  readonly kernel: Size3;
  readonly stride?: Size3;
  readonly padding?: Size3;
  readonly dilation?: Size3;
  /** Zeros after the input, beyond `padding`, that the output reaches into. */
  readonly extra?: Size3;
  readonly bias?: boolean;
}

/** Its parameters. */
export function params(s: ConvSpec, storage: ConvParams["storage"] = "f32"): ConvParams {
  const stride = s.stride ?? [1, 1, 1], padding = s.padding ?? [0, 0, 0], dilation = s.dilation ?? [1, 1, 1];
  const size = (a: 0 | 1 | 2): number =>
    Math.floor(
      (s.input[a] + 2 * padding[a] + (s.extra?.[a] ?? 0) - dilation[a] * (s.kernel[a] - 1) - 1) / stride[a],
    ) + 1;
  return {
    batch: s.batch ?? 1,
    inChannels: s.channels[0],
    outChannels: s.channels[1],
    groups: s.groups ?? 1,
    input: s.input,
    output: [size(0), size(1), size(2)],
    kernel: s.kernel,
    stride,
    padding,
    dilation,
    bias: s.bias ?? false,
    storage,
  };
}

/** Calls `visit(xIndex, wIndex, yIndex)` for every product of the convolution. */
export function products(p: ConvParams, visit: (x: number, w: number, y: number) => void): void {
  const ci = p.inChannels / p.groups, co = p.outChannels / p.groups;
  for (let n = 0; n < p.batch; n++) {
    for (let o = 0; o < p.outChannels; o++) {
      for (let oz = 0; oz < p.output[0]; oz++) {
        for (let oy = 0; oy < p.output[1]; oy++) {
          for (let ox = 0; ox < p.output[2]; ox++) {
            const y = (((n * p.outChannels + o) * p.output[0] + oz) * p.output[1] + oy) * p.output[2] + ox;
            for (let c = 0; c < ci; c++) {
              const channel = n * p.inChannels + Math.floor(o / co) * ci + c;
              for (let kz = 0; kz < p.kernel[0]; kz++) {
                for (let ky = 0; ky < p.kernel[1]; ky++) {
                  for (let kx = 0; kx < p.kernel[2]; kx++) {
                    const iz = oz * p.stride[0] + kz * p.dilation[0] - p.padding[0];
                    const iy = oy * p.stride[1] + ky * p.dilation[1] - p.padding[1];
                    const ix = ox * p.stride[2] + kx * p.dilation[2] - p.padding[2];
                    if (iz < 0 || iy < 0 || ix < 0) continue;
                    if (iz >= p.input[0] || iy >= p.input[1] || ix >= p.input[2]) continue;
                    visit(
                      ((channel * p.input[0] + iz) * p.input[1] + iy) * p.input[2] + ix,
                      (((o * ci + c) * p.kernel[0] + kz) * p.kernel[1] + ky) * p.kernel[2] + kx,
                      y,
                    );
                  }
                }
              }
            }
          }
        }
      }
    }
  }
}
