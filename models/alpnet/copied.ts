/** Masks of labeled slices moved to other scans without a look at them: what a method has to be better than. */
import { type Plan, preprocessImage, type Volume } from "../../engine/imaging/mod.ts";
import { type QueryScan, valuesOf, valuesOnGrid } from "./grid.ts";
import type { OneShotSegmenter, OneShotSegmentOptions } from "./scans.ts";
import { type SliceChoice, supportGroups, type SupportScan } from "./slices.ts";

/**
 * A segmenter that does not look at images: each slice gets the mask of its support slice, of the nearest one where
 * there are several, with the middles of both slices on each other. What a method has to be better than.
 *
 * @example
 * ```ts
 * import { loadCase, openDataset, preprocessCase, readPlan, readVolume } from "voxgrad/imaging";
 * import { copiedSegmenter } from "voxgrad/models";
 *
 * const [plan, dataset] = [await readPlan("plan.json"), await openDataset("data/CHAOS")];
 * const support = await preprocessCase(await loadCase(dataset, dataset.cases[0]), plan);
 * const labels = await copiedSegmenter({ plan, slices: "nearest" })(await readVolume("scan.nii.gz"), [support]);
 * ```
 */
export function copiedSegmenter({ plan, ...choice }: SliceChoice & { plan: Plan }): OneShotSegmenter {
  const segment = async (
    image: Volume | QueryScan,
    supports: readonly SupportScan[],
    { ranges, signal }: OneShotSegmentOptions = {},
  ): Promise<Volume> => {
    const values = valuesOf(supports);
    const { shape, geometry } = "geometry" in image ? image : await preprocessImage(image, plan);
    const [D, H, W] = shape;
    const all = new Float32Array((values.length + 1) * D * H * W).fill(0.5, 0, D * H * W);
    for (const [k, value] of values.entries()) {
      signal?.throwIfAborted();
      const range = ranges?.get(value);
      if (ranges && !range) continue;
      const showing = supports.filter(({ label }) => label.includes(value));
      const groups = supportGroups(showing, value, { depth: D, range }, { ...choice, nearest: 1 });
      for (const { chosen, zs } of groups) {
        const masks = chosen.map(({ n, z }) => {
          const [, h, w] = showing[n].shape;
          const [down, across] = [Math.round((H - h) / 2), Math.round((W - w) / 2)];
          return (y: number, x: number): number => {
            const [v, u] = [y - down, x - across];
            return v < 0 || u < 0 || v >= h || u >= w ? 0 : Number(showing[n].label[(z * h + v) * w + u] === value);
          };
        });
        for (const z of zs) {
          for (let i = 0; i < H * W; i++) {
            const share = masks.reduce((sum, at) => sum + at(Math.floor(i / W), i % W), 0) / masks.length;
            all[((k + 1) * D + z) * H * W + i] = share;
          }
        }
      }
    }
    return valuesOnGrid(all, { values, shape, geometry, plan, of: image });
  };
  return Object.assign(segment, { dispose(): void {} });
}
