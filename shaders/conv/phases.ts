/** Which data and which kernel elements the results of a convolution, or of its input gradient, meet along an axis. */
import type { ConvParams } from "./common.wgsl.ts";

/** Along one axis, result j of a phase reads the data at j * `advance` + base + tap * `step`. */
export interface Axis {
  readonly advance: number;
  readonly step: number;
  /** Kernel elements from one tap to the next. */
  readonly kernelStep: number;
  /** Result p belongs to phase p mod `phases.length`; all results of a phase use the same kernel elements. */
  readonly phases: readonly { readonly first: number; readonly taps: number; readonly base: number }[];
}

export function axisOf(p: ConvParams, backward: boolean, axis: 0 | 1 | 2): Axis {
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
export const ofPhase = (axis: Axis, name: string, value: (phase: Axis["phases"][number]) => number): string =>
  axis.phases
    .slice(1)
    .reduce((text, phase, k) => `select(${text}, ${value(phase)}, ${name} == ${k + 1}u)`, `${value(axis.phases[0])}`);
