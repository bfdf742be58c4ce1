/** Prepared cases as volumes in patient coordinates, for viewing. */
import { composeAffines, scaling } from "../volume/affine.ts";
import type { Affine } from "../volume/affine.ts";
import type { CaseGeometry } from "./prepared_case.ts";
import { turnedGrid } from "../volume/reorient.ts";
import type { SampleCase } from "./sampling.ts";
import { makeVolume } from "../volume/volume.ts";
import type { Volume } from "../volume/volume.ts";

/**
 * From prepared voxels (x, y, z) to patient coordinates. Resampling keeps the edges of the crop, so centers move by
 * half voxels.
 */
function preparedAffine(geometry: CaseGeometry): Affine {
  const { source, orientation, transpose, cropStart, cropSize, preparedShape } = geometry;
  const oriented = orientation === "RAS" ? turnedGrid(source, "RAS").affine : source.affine;
  const toOriented = new Array<number>(16).fill(0);
  toOriented[15] = 1;
  for (const k of [0, 1, 2] as const) {
    // Prepared axis k of [z, y, x] is column 2 - k; it runs along row 2 - transpose[k].
    const row = 2 - transpose[k];
    const step = cropSize[k] / preparedShape[k];
    toOriented[4 * row + 2 - k] = step;
    toOriented[4 * row + 3] = cropStart[k] + (step - 1) / 2;
  }
  return composeAffines(oriented, toOriented);
}

/**
 * The image of a prepared case as a volume on its own grid, with an affine to patient coordinates; without a geometry
 * its axes x, y, z are assumed to be right, anterior, superior. Voxels are shared, not copied.
 *
 * @example
 * ```ts
 * import { loadCase, openDataset, preparedVolume, preprocessCase, readPlan } from "voxgrad/imaging";
 *
 * const dataset = await openDataset("data/Task04_Hippocampus");
 * const item = await preprocessCase(await loadCase(dataset, dataset.cases[0]), await readPlan("plan.json"));
 * const volume = preparedVolume(item);
 * ```
 */
export function preparedVolume(item: SampleCase & { readonly geometry?: CaseGeometry }): Volume {
  const [D, H, W] = item.shape;
  const [dz, dy, dx] = item.spacing;
  const affine = item.geometry ? preparedAffine(item.geometry) : scaling([dx, dy, dz]);
  return makeVolume(item.image, { shape: [W, H, D], affine, channels: item.channels, name: item.id });
}
