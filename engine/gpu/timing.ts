/** How programs encode while somebody measures; apart from profile.ts, which pages that only segment leave out. */
import type { Device } from "./device.ts";
import type { DispatchCost } from "./kernel_table.ts";

/** Static information about a dispatch. */
export interface DispatchInfo extends DispatchCost {
  readonly kernel: string;
  /** Shared by equal kernels. */
  readonly pipeline: GPUComputePipeline;
  /** The operator and its sizes as `tune` names them, where kernels have variants. */
  readonly work?: string | undefined;
}

/** Encodes and submits dispatches, each of which `encode` adds to a pass. */
type Encoder = (
  device: Device,
  dispatches: readonly DispatchInfo[],
  encode: (pass: GPUComputePassEncoder, k: number) => void,
) => void;

let encoder: Encoder | null = null;

/** Encodes each dispatch between timestamps; null while nobody measures. */
export const timedEncoder = (): Encoder | null => encoder;
export const setTimedEncoder = (timed: Encoder | null): void => {
  encoder = timed;
};
