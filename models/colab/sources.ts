/** Where context labels come from: what lies beside the image of a case, and what it says of the background. */
import {
  concat,
  distanceTransform,
  oneHot,
  ones,
  softmax,
  stopGradient,
  type Tensor,
  tensor,
} from "../../engine/mod.ts";
import {
  type CaseSource,
  checkGrid,
  readLabelVolume,
  type SampleCase,
  withChannels,
} from "../../engine/imaging/mod.ts";
import type { TrainingRun } from "../../engine/train/mod.ts";
import { softDilatedMask } from "./colab.ts";
import { checkContextValues, clusteredContexts, contextFile, preparedLabels } from "./contexts.ts";

/** Where context labels come from. */
export type ContextKind = "colab" | "none" | "dilated" | "kmeans" | "labels";

/** What a source of context labels depends on. */
export interface ContextSourceOptions {
  readonly context: ContextKind;
  /** Context classes. */
  readonly contexts: number;
  /** Distance up to which generated context counts fully, and how slowly it fades beyond, in `unit`. */
  readonly margin: number;
  readonly tau: number;
  readonly unit: "voxels" | "mm";
  /** For "labels": the folder of label maps; "" for the organs of the context phantoms. */
  readonly contextLabels: string;
  /** For "kmeans" and clusters: what is brighter, as stored, is body; default: found by rule. */
  readonly bodyThreshold?: number;
  /** For "colab": contexts by k-means as one more channel, which the generator is first taught. */
  readonly clusters?: boolean;
  readonly seed: number;
  /** Bytes of cases with their channels that are kept in memory. */
  readonly memory: number;
}

/**
 * The cases of a training, with what the arm knows of the background as one more channel: the soft dilated mask, or
 * context labels; with `clusters` both.
 *
 * @param ids training cases, in which k-means looks for its centers
 * @returns the prepared cases themselves for the context "none"
 * @throws ConfigError for label maps that do not fit, when a case is read
 */
export function contextSource(
  training: TrainingRun,
  ids: readonly string[],
  options: ContextSourceOptions,
): CaseSource {
  const { context, contexts, clusters, seed, bodyThreshold: threshold, memory } = options;
  if (context === "none") return training.store;
  const clustered = () =>
    clusteredContexts(training, ids, { contexts, seed, ...(threshold !== undefined && { threshold }) });
  const mask = (item: SampleCase) => dilatedMask(item, options);
  const make = context === "labels"
    ? (item: SampleCase) => folderContexts(training, item, options)
    : context === "kmeans"
    ? clustered()
    : clusters
    ? both(mask, clustered())
    : mask;
  return withChannels(training.store, make, { memory });
}

type Channels = (item: SampleCase) => Promise<Float32Array>;

const both = (first: Channels, second: Channels): Channels => async (item) => {
  const [a, b] = [await first(item), await second(item)];
  const joined = new Float32Array(a.length + b.length);
  joined.set(a);
  joined.set(b, a.length);
  return joined;
};

/** Soft dilated mask of a whole case; beyond the volume, where extra channels are 0, all is far background. */
async function dilatedMask(item: SampleCase, { unit, margin, tau }: ContextSourceOptions): Promise<Float32Array> {
  if (item.label.every((value) => value === 0)) return new Float32Array(item.label.length);
  const outside = tensor(Int32Array.from(item.label, (value) => Number(value === 0)), { shape: item.shape });
  const spacing = unit === "mm" ? item.spacing : [1, 1, 1];
  return (await softDilatedMask(distanceTransform(outside, { spacing }), { margin, tau }).data()) as Float32Array;
}

/** Context labels of a case out of the folder, prepared as its own label is. */
async function folderContexts(
  training: TrainingRun,
  item: SampleCase,
  { contextLabels, contexts }: ContextSourceOptions,
): Promise<Float32Array> {
  const file = contextFile(contextLabels || `${training.dataset.folder}/organsTr`, item.id);
  const prepared = await preparedLabels(training, item.id, async (image) => {
    const label = await readLabelVolume(file);
    checkGrid(image, label, 0.05);
    checkContextValues(label, contexts);
    return { ...label, data: Uint8Array.from(label.data) };
  });
  return Float32Array.from(prepared);
}

/**
 * What the arm says of the background of a batch.
 *
 * @param arm context, contexts; generate: logits f32 [N, t, d, h, w] of the generator, for the context "colab"
 * @param image f32 [N, C, d, h, w]
 * @param extra the channels of `contextSource`, f32 [N, 1 or 2, d, h, w]
 * @returns q: probabilities of the contexts, f32 [N, t, d, h, w], which pass no gradient on; mask: how much they count,
 *   f32 [N, d, h, w]
 */
export function contextProbabilities(
  { context, contexts, generate }: {
    context: ContextKind;
    contexts: number;
    generate: (image: Tensor) => Tensor;
  },
  image: Tensor,
  extra: Tensor,
): { q: Tensor; mask: Tensor } {
  const first = extra.shape[1] === 1 ? extra : extra.slice({ start: [0, 0], end: [extra.shape[0], 1] });
  const only = first.squeeze({ axes: [1] });
  if (context === "colab") return { q: stopGradient(softmax(generate(image), { axis: 1 })), mask: only };
  const all = ones(only.shape);
  if (context === "dilated") return { q: concat([first.mul(-1).add(1), first], { axis: 1 }), mask: all };
  return { q: channels(only.cast("i32"), contexts), mask: all };
}

/** The ROI classes of labels i32 [N, d, h, w] as channels, f32 [N, rois, d, h, w]. */
export const roiChannels = (label: Tensor, rois: number): Tensor => channels(label, rois + 1).slice({ start: [0, 1] });

const channels = (label: Tensor, classes: number): Tensor =>
  oneHot(label, { classes }).transpose({ axes: [0, 4, 1, 2, 3] });
