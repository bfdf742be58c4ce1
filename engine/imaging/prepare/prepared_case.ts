/** A case as a network sees it, and where it lies in the scan that it was made from. */
import type { Plan } from "../plan/plan.ts";
import type { Triple, Volume } from "../volume/volume.ts";
import type { SampleCase } from "./sampling.ts";

/**
 * Where a prepared case lies in its source, and so the way back: resample to `cropSize`, put that at `cropStart` into a
 * volume of `orientedShape` (transposed), undo the transpose, turn to the source's orientation.
 */
export interface CaseGeometry {
  /** The source image without its voxels. */
  readonly source: Omit<Volume, "data">;
  readonly orientation: Plan["orientation"];
  /** Sizes [z, y, x] after orientation, before transpose. */
  readonly orientedShape: Triple;
  /** Prepared axis k is axis transpose[k] of the oriented [z, y, x]. */
  readonly transpose: Triple;
  /** First voxel of the crop to non-zero, prepared axis order, before resampling. */
  readonly cropStart: Triple;
  /** Sizes of the crop, prepared axis order, before resampling. */
  readonly cropSize: Triple;
  /** mm between voxels before resampling, prepared axis order. */
  readonly cropSpacing: Triple;
  /** Sizes after resampling: those of the prepared image. */
  readonly preparedShape: Triple;
}

/** A case as a network sees it: normalized, cropped, resampled; sizes in prepared order. */
export interface PreparedCase extends SampleCase {
  readonly geometry: CaseGeometry;
  /** Label values that are annotated in this case; absent: all. */
  readonly labelsPresent?: readonly number[];
}
