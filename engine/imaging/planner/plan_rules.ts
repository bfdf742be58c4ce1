/**
 * A plan from a fingerprint by nnU-Net's rules: Isensee et al. 2021, "nnU-Net: a self-configuring method for deep
 * learning-based biomedical image segmentation", Nature Methods 18, 203-211, and the defaults of its version 2.
 */
import { show, VoxgradError } from "../../core/errors.ts";
import type { Dataset } from "../dataset/types.ts";
import { quantile } from "./fingerprint.ts";
import type { Fingerprint } from "./fingerprint.ts";
import { networkRules, plannedNetworks } from "../plan/network_rules.ts";
import type { ChannelPlan, NetworkPlan, Plan } from "../plan/plan.ts";
import { resampledShape } from "../prepare/resample.ts";
import { roundHalfEven } from "../prepare/sampling.ts";
import { voxelCount } from "../volume/volume.ts";
import type { Triple } from "../volume/volume.ts";

/** An axis is anisotropic above this ratio of spacings, and the inverse ratio of sizes. */
const ANISOTROPY = 3;
/** Minimum size of the coarsest feature map along an axis. */
const LEAST_EDGE = 4;
/** Below this fraction of the median case in a patch, a low-resolution plan makes sense. */
const LOWRES_SHARE = 0.25;
/** Largest fraction of the dataset's voxels in a batch. */
const BATCH_SHARE = 0.05;
/** Below this fraction of voxels left by the crop, intensities are normalized within the non-zero region. */
const MASK_SHARE = 0.75;

interface Preset {
  readonly features: number;
  readonly mostFeatures: number;
  readonly mostStages: number;
  /** Memory reference: voxels times channels of all feature maps of one patch, in a batch of `referenceBatch`. */
  readonly reference: number;
  readonly referenceBatch: number;
  readonly mostBatch: number;
  readonly convs: number;
}

/**
 * "nnunet": as published, for 8 GB of GPU memory. "small": for CPU adapters, at about a second per step: a quarter of
 * the channels, at most four stages, patches of about 48 voxels cubed.
 */
const PLAN_PRESETS: Readonly<Record<"nnunet" | "small", Preset>> = {
  nnunet: {
    features: 32,
    mostFeatures: 320,
    mostStages: Infinity,
    reference: 560e6,
    referenceBatch: 2,
    mostBatch: Infinity,
    convs: 2,
  },
  small: {
    features: 8,
    mostFeatures: 64,
    mostStages: 4,
    reference: 6e6,
    referenceBatch: 2,
    mostBatch: 2,
    convs: 2,
  },
};

export interface PlanOptions {
  /** Default "nnunet". */
  readonly preset?: "nnunet" | "small";
  /** "3d_lowres" is rejected if a patch of "3d_fullres" (default) covers a quarter of the median case or more. */
  readonly configuration?: "3d_fullres" | "3d_lowres";
  /** mm, axes [z, y, x] after orientation; default by the rules. */
  readonly spacing?: Triple;
  /** Voxels, prepared axes; rounded up to sizes divisible by the pooling. Default by the rules. */
  readonly patch?: Triple;
  readonly batch?: number;
  /** Channels of each stage, as many stages as the patch allows; default doubling by the rules. */
  readonly features?: readonly number[];
  /** GPU memory in GB that the patch is chosen for; default 8. */
  readonly memory?: number;
  /** A registered network; default: the first one registered. */
  readonly network?: string;
  /**
   * Intensities are cut off at these, and z-scored by the figures of the fingerprint, which is to have the same `clip`;
   * default by each channel's name.
   */
  readonly clip?: readonly [number, number];
}

const columns = (rows: readonly Triple[], q: number): [number, number, number] => {
  const along = (k: 0 | 1 | 2): number =>
    quantile(
      rows.map((row) => row[k]).sort((a, b) => a - b),
      q,
    );
  return [along(0), along(1), along(2)];
};

/**
 * The spacing of full resolution: the median; along an anisotropic axis the 10th percentile, but no finer than the
 * rest.
 */
function targetSpacing(fingerprint: Pick<Fingerprint, "cases">): [number, number, number] {
  const target = columns(
    fingerprint.cases.map((c) => c.spacing),
    0.5,
  );
  const size = columns(
    fingerprint.cases.map((c) => c.shape),
    0.5,
  );
  const worst = target.indexOf(Math.max(...target)) as 0 | 1 | 2;
  const others = ([0, 1, 2] as const).filter((k) => k !== worst);
  const coarsest = Math.max(...others.map((k) => target[k]));
  if (target[worst] > ANISOTROPY * coarsest && size[worst] * ANISOTROPY < Math.min(...others.map((k) => size[k]))) {
    const low = columns(
      fingerprint.cases.map((c) => c.spacing),
      0.1,
    )[worst];
    target[worst] = low < coarsest ? coarsest + 1e-5 : low;
  }
  return target;
}

/** Pooling and kernels of each stage for a patch, and the patch rounded up to be divisible by them. */
export interface Topology {
  readonly patch: Triple;
  readonly strides: readonly Triple[];
  readonly kernels: readonly Triple[];
  /** Required divisor of sizes. */
  readonly multiple: Triple;
}

/**
 * Stages are added while an axis has 8 voxels or more, pooling the axes whose spacing is within a factor 2 of the
 * finest that can be pooled (a single one only from 12 voxels on); an axis has kernel size 3 from the stage on where
 * its spacing is within a factor 2 of the finest, and 1 before; the last stage has kernels of 3.
 */
export function topology(spacing: Triple, patch: readonly number[], mostStages: number): Topology {
  const axes = [0, 1, 2] as const;
  const mm = [...spacing];
  const size = [...patch];
  const kernel = [1, 1, 1];
  const pools = [0, 0, 0];
  const strides: number[][] = [[1, 1, 1]];
  const kernels: number[][] = [];
  while (strides.length < mostStages) {
    const large = axes.filter((k) => size[k] >= 2 * LEAST_EDGE);
    const finest = Math.min(...large.map((k) => mm[k]));
    const pooled = large.filter((k) => mm[k] / finest < 2);
    if (pooled.length === 0 || (pooled.length === 1 && size[pooled[0]] < 3 * LEAST_EDGE)) break;
    for (const k of axes) if (mm[k] / Math.min(...mm) < 2) kernel[k] = 3;
    kernels.push([...kernel]);
    strides.push(axes.map((k) => (pooled.includes(k) ? 2 : 1)));
    for (const k of pooled) {
      pools[k]++;
      mm[k] *= 2;
      size[k] = Math.ceil(size[k] / 2);
    }
  }
  kernels.push([3, 3, 3]);
  const multiple = pools.map((n) => 2 ** n);
  return {
    patch: patch.map((n, k) => Math.ceil(n / multiple[k]) * multiple[k]) as unknown as Triple,
    strides: strides as unknown as Triple[],
    kernels: kernels as unknown as Triple[],
    multiple: multiple as unknown as Triple,
  };
}

/**
 * Voxels times channels of all feature maps of a U-Net for one patch: its convolutions, transposed convolutions and
 * logits. nnU-Net's measure of memory.
 */
function featureMaps(
  patch: Triple,
  options: { strides: readonly Triple[]; features: readonly number[]; classes: number; convs: number },
): number {
  const { strides, features, classes, convs } = options;
  let size: readonly number[] = patch;
  const voxels = strides.map((stride) => {
    size = size.map((n, k) => Math.floor(n / stride[k]));
    return voxelCount(size);
  });
  const encoder = voxels.reduce((sum, n, s) => sum + convs * features[s] * n, 0);
  const decoder = voxels.slice(0, -1).reduce((sum, n, s) => sum + (convs + 1) * features[s] * n, 0);
  return encoder + decoder + classes * voxels[0];
}

const MODES: Readonly<Record<string, ChannelPlan["normalization"]>> = {
  ct: "ct",
  nonorm: "none",
  rescale_to_0_1: "rescale",
  rgb_to_0_1: "rgb",
};

/**
 * The plan of a dataset, by nnU-Net's rules: target spacing, transpose, patch, pooling, kernels, channels, batch and
 * normalization. Values set in `options` are kept, and the rest follows from them.
 *
 * @throws VoxgradError for inconsistent overrides, a CT channel without foreground, or a "3d_lowres" that the rules do
 *   not call for
 * @example
 * ```ts
 * import { fingerprintDataset, makePlan, openDataset } from "voxgrad/imaging";
 *
 * const dataset = await openDataset("data/Task04_Hippocampus");
 * const plan = makePlan(dataset, await fingerprintDataset(dataset), { preset: "small" });
 * ```
 */
export function makePlan(
  dataset: Pick<Dataset, "name" | "channels" | "labels" | "ignoreLabel"> & Pick<Plan, "regions">,
  fingerprint: Fingerprint,
  options: PlanOptions = {},
): Plan {
  const preset = PLAN_PRESETS[options.preset ?? "nnunet"];
  const full = options.spacing ?? targetSpacing(fingerprint);
  const coarse = full.indexOf(Math.max(...full));
  const transpose = [coarse, ...[0, 1, 2].filter((k) => k !== coarse)] as unknown as Triple;
  const turned = (t: Triple): Triple => [t[transpose[0]], t[transpose[1]], t[transpose[2]]];
  const cases = fingerprint.cases.map((c) => ({ shape: turned(c.shape), spacing: turned(c.spacing) }));
  const classes = dataset.regions?.length ?? dataset.labels.length;
  const spacing = turned(full);
  const median = columns(
    cases.map((c) => resampledShape(c.shape, c.spacing, spacing)),
    0.5,
  );
  const of = (mm: Triple, shape: Triple): Shaped =>
    networkFor(mm, shape, { preset, classes, cases: cases.length, options });

  let chosen = { spacing, shape: median as Triple, ...of(spacing, median) };
  if (options.configuration === "3d_lowres") {
    const low = [...spacing] as [number, number, number];
    const share = (): number => voxelCount(chosen.patch) / voxelCount(chosen.shape);
    if (share() >= LOWRES_SHARE) {
      throw new VoxgradError(
        `makePlan: a patch of ${chosen.patch.join(" x ")} is ${Math.round(100 * share())} % of the median case of ` +
          `${median.join(" x ")}; 3d_lowres is for less than 25 %, use 3d_fullres`,
      );
    }
    while (share() < LOWRES_SHARE) {
      const largest = Math.max(...low);
      const uneven = low.some((mm) => largest / mm > 2);
      for (let k = 0; k < 3; k++) if (!uneven || largest / low[k] > 2) low[k] *= 1.03;
      const exact = median.map((n, k) => (n * spacing[k]) / low[k]);
      const shape = exact.map((n) => Math.max(1, roundHalfEven(n))) as unknown as Triple;
      chosen = { spacing: [low[0], low[1], low[2]], shape, ...of([low[0], low[1], low[2]], shape) };
    }
  }

  const relativeSize = quantile(
    fingerprint.cases.map((c) => c.relativeSize).sort((a, b) => a - b),
    0.5,
  );
  return {
    format: "voxgrad plan 1",
    dataset: dataset.name,
    configuration: options.configuration ?? "3d_fullres",
    orientation: fingerprint.orientation,
    transpose,
    spacing: chosen.spacing,
    patch: chosen.patch,
    batch: chosen.batch,
    channels: fingerprint.channels.map((channel): ChannelPlan => {
      const { name, mean, deviation } = channel;
      const [low, high] = options.clip ?? [channel.low, channel.high];
      const mode = options.clip
        ? "ct"
        : MODES[name.toLowerCase()] ?? (relativeSize < MASK_SHARE ? "z-score in mask" : "z-score");
      if (mode !== "ct") return { name, normalization: mode };
      if (Number.isNaN(mean)) {
        throw new VoxgradError(`makePlan: no case has foreground to take the figures of channel ${name} from`);
      }
      return { name, normalization: mode, mean, deviation, low, high };
    }),
    labels: dataset.labels.map((label) => label.name),
    ...(dataset.regions && { regions: dataset.regions }),
    ...(dataset.ignoreLabel !== undefined && { ignoreLabel: dataset.ignoreLabel }),
    resampling: { image: 3, label: 1, separateAxis: 0, anisotropy: ANISOTROPY },
    network: chosen.network,
    fingerprint: {
      cases: cases.length,
      medianShape: columns(
        cases.map((c) => c.shape),
        0.5,
      ),
      medianSpacing: columns(
        cases.map((c) => c.spacing),
        0.5,
      ),
      medianPreparedShape: chosen.shape,
      relativeSizeAfterCrop: relativeSize,
    },
  };
}

interface Shaped {
  readonly patch: Triple;
  readonly batch: number;
  readonly network: NetworkPlan;
}

/** Patch, network and batch for a median case of size `shape` at `spacing`. */
function networkFor(
  spacing: Triple,
  shape: Triple,
  context: { preset: Preset; classes: number; cases: number; options: PlanOptions },
): Shaped {
  const { preset, classes, cases, options } = context;
  const { convs } = preset;
  const name = options.network ?? plannedNetworks()[0];
  const rules = networkRules(name);
  if (!rules) {
    const names = plannedNetworks().join(", ") || "none is registered, import voxgrad/models";
    throw new VoxgradError(`makePlan: there is no network ${show(name)}; there are: ${names}`);
  }
  const mostStages = options.features?.length ?? preset.mostStages;
  const featuresOf = (t: Topology): readonly number[] =>
    options.features ?? t.strides.map((_, s) => Math.min(preset.mostFeatures, preset.features * 2 ** s));
  const estimateOf = (t: Topology): number => featureMaps(t.patch, { ...t, features: featuresOf(t), classes, convs });
  const topologyOf = (patch: readonly number[]): Topology => {
    const t = topology(spacing, patch, mostStages);
    if (t.strides.length < 2) {
      throw new VoxgradError(
        `makePlan: a patch of ${patch.join(" x ")} is too small for a network of two stages; give a larger one`,
      );
    }
    if (!options.features || t.strides.length === options.features.length) return t;
    throw new VoxgradError(
      `makePlan: features ${options.features.join("-")} ask for ${options.features.length} stages, a patch of ` +
        `${patch.join(" x ")} allows ${t.strides.length}; give fewer features or a larger patch`,
    );
  };
  const reference = preset.reference * ((options.memory ?? 8) / 8);

  // The aspect of the spacing, 256 voxels cubed, no larger than the median case.
  const inverse = spacing.map((mm) => 1 / mm);
  const scale = (256 ** 3 / voxelCount(inverse)) ** (1 / 3);
  let t = topologyOf(options.patch ?? inverse.map((n, k) => Math.min(roundHalfEven(n * scale), shape[k])));
  while (!options.patch && (estimateOf(t) / preset.referenceBatch) * 2 > reference) {
    // The axis that is largest relative to the median case; the last of equals, as a stable sort leaves it.
    const ratio = t.patch.map((n, k) => n / shape[k]);
    const axis = ratio.lastIndexOf(Math.max(...ratio));
    const less = (by: number): number[] => t.patch.map((n, k) => (k === axis ? n - by : n));
    // With one step less an axis may be pooled less, and finer steps do.
    const step = topology(spacing, less(t.multiple[axis]), mostStages).multiple[axis];
    if (t.patch[axis] - step < LEAST_EDGE) break;
    t = topologyOf(less(step));
  }
  const byMemory = roundHalfEven((reference / estimateOf(t)) * preset.referenceBatch);
  const byData = roundHalfEven((voxelCount(shape) * cases * BATCH_SHARE) / voxelCount(t.patch));
  const batch = options.batch ?? Math.max(2, Math.min(byMemory, byData, preset.mostBatch));
  const network: NetworkPlan = {
    name,
    features: featuresOf(t),
    kernels: t.kernels,
    strides: t.strides,
    ...rules.plan(t.strides.length, convs),
  };
  return { patch: t.patch, batch, network };
}
