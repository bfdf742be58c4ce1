/** A small plan for tests and benchmarks. */
import type { Plan } from "../../engine/imaging/mod.ts";
// Registers the networks.
import "../../models/mod.ts";

export const planFor = (changes: Partial<Plan>): Plan => ({
  format: "voxgrad plan 1",
  dataset: "test",
  configuration: "3d_fullres",
  orientation: "stored",
  transpose: [0, 1, 2],
  spacing: [1, 1, 1],
  patch: [8, 8, 8],
  batch: 1,
  channels: [{ name: "CT", normalization: "z-score" }],
  labels: ["background", "organ"],
  resampling: { image: 3, label: 1, separateAxis: 0, anisotropy: 3 },
  network: {
    name: "plainConvUNet",
    features: [4, 8],
    kernels: [
      [3, 3, 3],
      [3, 3, 3],
    ],
    strides: [
      [1, 1, 1],
      [2, 2, 2],
    ],
    convsPerStage: [1, 1],
    decoderConvsPerStage: [1],
  },
  fingerprint: {
    cases: 1,
    medianShape: [8, 8, 8],
    medianSpacing: [1, 1, 1],
    medianPreparedShape: [8, 8, 8],
    relativeSizeAfterCrop: 1,
  },
  ...changes,
});
