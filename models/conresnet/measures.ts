/**
 * What the paper claims of ConResNet beyond Dice, measured: whether the second decoder finds where neighboring slices
 * differ, and whether the attention made of it still has room to move.
 */
import { check, compile, sum, type Tensor, tensor, zeros } from "../../engine/mod.ts";
import { regionTargets } from "../../engine/nn/mod.ts";
import { type Plan, type SampleCase, slidingWindow } from "../../engine/imaging/mod.ts";
import { stepMetrics } from "../../engine/train/mod.ts";
import type { ConResNet, ConResNetParams } from "./conresnet.ts";
import { residualLabels } from "./losses.ts";

type Floats = Float32Array<ArrayBuffer>;
/** Label values of each region. */
type Regions = readonly (readonly number[])[];

export interface ContextMeasures {
  /**
   * By case and region the area under the ROC curve of the finest residual output: how likely a voxel whose label
   * differs from that of the slice before has a larger one than a voxel whose label does not. NaN where none differs.
   */
  readonly cases: readonly { readonly id: string; readonly areas: Readonly<Record<string, number>> }[];
  /** Share of the attention of all modules that is below 0.05 or above 0.95; NaN without attention. */
  readonly saturated: number;
}

/**
 * Measures the residuals and the attention of a trained network on cases, in overlapping patches as it segments.
 *
 * @param options regions: what has residuals, in the order of the network's outputs
 * @throws VoxgradError for a network without mapping
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { loadCase, openDataset, preprocessCase, readPlan } from "voxgrad/imaging";
 * import { conResNet, contextMeasures } from "voxgrad/models";
 *
 * const [plan, dataset] = [await readPlan("plan.json"), await openDataset("data/BraTS")];
 * const cases = [await preprocessCase(await loadCase(dataset, dataset.cases[0]), plan)];
 * const model = conResNet({ inputChannels: 4, classes: 3 });
 * const options = { plan, regions: plan.regions!, cases };
 * const { saturated } = await contextMeasures({ model, params: model.init(random.key(1)) }, options);
 * ```
 */
export async function contextMeasures(
  { model, params }: { readonly model: ConResNet; readonly params: ConResNetParams },
  options: {
    readonly plan: Pick<Plan, "patch">;
    readonly regions: readonly { readonly name: string; readonly values: readonly number[] }[];
    readonly cases: readonly Pick<SampleCase, "id" | "image" | "label" | "channels" | "shape">[];
  },
): Promise<ContextMeasures> {
  const { plan: { patch }, regions, cases } = options;
  const { attention, axis, mapping } = model.config;
  check(mapping, "contextMeasures", () => "the network has no mapping, so no residuals; measure one that has");
  const compute = compile((p: ConResNetParams, image: Tensor) => {
    const maps = attention ? model.contextMaps(p, image).map((each) => each.attention!) : [];
    const values = maps.reduce((total, map) => total + map.size, 0);
    const extreme = maps.map((map) => sum(map.sub(0.5).abs().greater(0.45).cast("f32")).div(values));
    return { residuals: model.apply(p, image)[1], saturated: extreme.reduce((a, b) => a.add(b), zeros([])) };
  });
  let [saturated, patches] = [0, 0];
  const measured: { id: string; areas: Record<string, number> }[] = [];
  for (const { id, image, label, channels, shape } of cases) {
    const { data } = await slidingWindow({ data: image, shape: [channels, ...shape] }, {
      patch,
      classes: regions.length,
      async predict(input) {
        const made = await compute(params, tensor(input, { shape: [1, channels, ...patch] }));
        saturated += await made.saturated.item();
        patches++;
        return await made.residuals.data() as Floats;
      },
    });
    const labels = tensor(Int32Array.from(label), { shape: [1, ...shape] });
    const targets = regionTargets(labels, regions.map(({ values }) => values)).cast("f32");
    const differs = await residualLabels(targets, { axis }).data() as Floats;
    const voxels = label.length;
    const areas = regions.map(({ name }, k) => {
      const own = [k * voxels, (k + 1) * voxels] as const;
      return [name, areaUnderCurve(data.subarray(...own), differs.subarray(...own))];
    });
    measured.push({ id, areas: Object.fromEntries(areas) });
  }
  compute.dispose();
  return { cases: measured, saturated: attention ? saturated / patches : NaN };
}

/**
 * What the log tells of a step or of held-out patches: loss and pseudo-Dice of the regions that the network has outputs
 * for, or else of those of the dataset, which the most likely labels make up, or else of the labels.
 *
 * @param regions with a sigmoid each; undefined of labels with a softmax
 * @param ofDataset regions of the dataset, if it has some
 * @returns a function from a loss, logits [N, C, ...space] and labels [N, ...space] to `stepMetrics`
 */
export function conResNetMetrics(
  regions: Regions | undefined,
  ofDataset: Regions | undefined,
): (loss: Tensor, logits: Tensor, labels: Tensor) => Tensor {
  const measured = regions ?? ofDataset;
  return (loss, logits, labels) => {
    if (!measured) return stepMetrics(loss, logits, labels);
    const scores = regions ? logits : regionTargets(logits.argmax({ axis: 1 }), measured).cast("f32").sub(0.5);
    return stepMetrics(loss, scores, labels, { regions: measured });
  };
}

/** Probability that a score of a label that is not 0 is above one of a label that is; a tie counts half. */
export function areaUnderCurve(scores: Float32Array, labels: Float32Array): number {
  const positive = scores.filter((_, i) => labels[i] !== 0).sort();
  const negative = scores.filter((_, i) => labels[i] === 0).sort();
  let [below, notAbove, pairs] = [0, 0, 0];
  for (const score of positive) {
    while (below < negative.length && negative[below] < score) below++;
    while (notAbove < negative.length && negative[notAbove] <= score) notAbove++;
    pairs += (below + notAbove) / 2;
  }
  return pairs / (positive.length * negative.length);
}
