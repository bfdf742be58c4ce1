/** A preprocessed case, and its geometry in the source scan. */
import type { Plan } from "../plan/plan.ts";
import type { Triple, Volume } from "../volume/volume.ts";
import type { SampleCase } from "./sampling.ts";

/**
 * Geometry of a prepared case in its source. To map back: resample to `cropSize`, place it at `cropStart` in a volume
 * of `orientedShape` (transposed), undo the transpose, reorient to the source.
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

/** A preprocessed case: cropped, normalized, resampled; sizes in prepared order. */
export interface PreparedCase extends SampleCase {
  readonly geometry: CaseGeometry;
  /** Label values that are annotated in this case; absent: all. */
  readonly labelsPresent?: readonly number[];
}

/** What a cascade's previous stage found in a scan; made by `previousStage`. */
export interface PreviousStage {
  readonly labels: Volume;
  /** Puts labels of the crop behind the channels of the prepared image; apart, for only cascades need it. */
  readonly join: (
    image: Float32Array<ArrayBuffer>,
    cropped: { readonly previous: Uint8Array<ArrayBuffer>; readonly geometry: CaseGeometry },
    plan: Plan,
  ) => Promise<Float32Array<ArrayBuffer>>;
}
