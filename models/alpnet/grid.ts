/** What segmenters of few labeled scans share: the classes of supports, and labels on a scan's own grid. */
import { VoxgradError } from "../../engine/mod.ts";
import { type Plan, type PreparedCase, restoreLabels, type Triple, type Volume } from "../../engine/imaging/mod.ts";
import type { SupportScan } from "./slices.ts";

/** A scan to segment, prepared by the plan. */
export type QueryScan = Pick<PreparedCase, "id" | "image" | "shape" | "geometry">;

/** Values of the classes that supports show, lowest first. */
export function valuesOf(supports: readonly SupportScan[]): number[] {
  const values = [...new Set(supports.flatMap(({ label }) => [...new Set(label)]))].filter((value) => value > 0);
  if (values.length === 0) {
    throw new VoxgradError("oneShotSegmenter: the supports show no class; label at least one voxel");
  }
  return values.sort((a, b) => a - b);
}

/** Probabilities [1 + classes, ...shape] of a prepared scan as labels on its own grid, in the supports' values. */
export async function valuesOnGrid(
  probabilities: Float32Array<ArrayBuffer>,
  { values, shape, geometry, plan, of }: {
    readonly values: readonly number[];
    readonly shape: Triple;
    readonly geometry: PreparedCase["geometry"];
    readonly plan: Plan;
    readonly of: Volume | QueryScan;
  },
): Promise<Volume> {
  const labels = await restoreLabels(probabilities, {
    classes: values.length + 1,
    shape,
    geometry,
    plan,
    name: `labels of ${"geometry" in of ? of.id : of.name}`,
  });
  return { ...labels, data: Uint8Array.from(labels.data, (k) => (k === 0 ? 0 : values[k - 1])) };
}
