/** Adapters that kernels are made for here. */
import type { SubgroupMatrix, Target } from "../../../../shaders/types.ts";

export const gpu: Target = {
  software: false,
  fusesPrologues: true,
  sharesStatistics: true,
  maxWorkgroupSize: 256,
  maxWorkgroupsPerDimension: 65535,
  maxWorkgroupStorage: 32768,
  maxStorageBuffers: 10,
  maxBindingBytes: 2 ** 27,
  features: new Set(["shader-f16", "subgroups"]),
  subgroupMinSize: 4,
  subgroupMaxSize: 32,
};
/** Small workgroups, so that little work takes several. */
export const narrow: Target = { ...gpu, maxWorkgroupSize: 64 };
export const cpu: Target = { ...gpu, software: true, fusesPrologues: false, sharesStatistics: false };
/** Its subgroups have at least eight lanes, of which eight share loads. */
export const wideCpu: Target = { ...cpu, subgroupMinSize: 8 };

/** A GPU with subgroup matrices of f16 and sums in f32. */
export const matrices = (M: number, N: number, K: number, lanes: number): Target => {
  const shape: SubgroupMatrix = { componentType: "f16", resultComponentType: "f32", M, N, K };
  return {
    ...gpu,
    features: new Set(["shader-f16", "subgroups", "chromium-experimental-subgroup-matrix"]),
    subgroupMinSize: lanes,
    subgroupMaxSize: lanes,
    subgroupMatrices: [shape],
  };
};
