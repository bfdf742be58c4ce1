/** Cases with the distance maps of the boundary loss. */
import { tensor } from "../../engine/mod.ts";
import { type CaseSource, type SampleCase, withChannels } from "../../engine/imaging/mod.ts";
import { regionTargets } from "../../engine/nn/mod.ts";
import { signedDistances } from "./losses.ts";

/**
 * Cases with signed distances in mm to the boundary of each part as further channels; beyond the volume, where extra
 * channels are 0, there is no loss.
 *
 * @param parts label values of each
 * @param options.memory bytes of cases with their channels that are kept in memory
 * @example
 * ```ts
 * import { withDistances } from "voxgrad/models";
 * import { config, openTraining, trainingEntries } from "voxgrad/train";
 *
 * const { store } = await openTraining(config(trainingEntries, ["data/Task01_BrainTumour"]));
 * const source = withDistances(store, [{ values: [1, 2, 3] }, { values: [3] }], { memory: 1e9 });
 * ```
 */
export function withDistances(
  source: CaseSource,
  parts: readonly { readonly values: readonly number[] }[],
  options: { memory: number },
): CaseSource {
  const sets = parts.map(({ values }) => values);
  return withChannels(source, async (item: SampleCase) => {
    const labels = tensor(Int32Array.from(item.label), { shape: [1, ...item.shape] });
    const targets = regionTargets(labels, sets).cast("f32");
    return (await signedDistances(targets, { spacing: item.spacing }).data()) as Float32Array;
  }, options);
}
