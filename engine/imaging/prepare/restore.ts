/**
 * Maps network output for a prepared case back to the stored scan: planes of logits are resampled to the spacing of the
 * crop, labeled, placed in the oriented volume and reoriented to the scan's axes. Planes are processed one at a time,
 * so that only a few of them exist with all classes at once.
 */
import { check } from "../../core/errors.ts";
import { labelPlaces } from "../../ops/sampling/label_places.ts";
import { axisCodes, scaling } from "../volume/affine.ts";
import { type Plan, preparedSpacing } from "../plan/plan.ts";
import type { CaseGeometry } from "./prepared_case.ts";
import { reorient } from "../volume/reorient.ts";
import { resamplingOrders } from "./resample.ts";
import { argmaxLabels } from "./sliding_window.ts";
import type { Slab } from "./sliding_window.ts";
import { makeVolume, voxelCount } from "../volume/volume.ts";
import type { Triple, Volume } from "../volume/volume.ts";

/**
 * Resamples channels plane by plane, by linear interpolation or, along axes of order 0, nearest neighbor; as
 * `resampleArray` does for a whole array.
 *
 * @param slabs [classes, depth, H, W] of a grid `from`, in order
 * @param options from: [D, H, W]; to: [d, h, w]; order: 0 or 1 along each axis
 * @returns the d planes [classes, h, w] of the grid `to`, in order
 */
export async function* resampledPlanes(
  slabs: AsyncIterable<Slab>,
  options: { classes: number; from: Triple; to: Triple; order: readonly (0 | 1)[] },
): AsyncGenerator<Float32Array<ArrayBuffer>> {
  const { classes, from, to, order } = options;
  const [along, rows, columns] = [0, 1, 2].map((k) => placesOf(from[k], to[k], order[k]));
  const size = from[1] * from[2];
  let held: Slab[] = [];
  const planeOf = (z: number, c: number): Float32Array => {
    const { start, depth, data } = held.find((slab) => z >= slab.start && z < slab.start + slab.depth)!;
    const at = (c * depth + z - start) * size;
    return data.subarray(at, at + size);
  };
  let next = 0;
  for await (const slab of slabs) {
    held.push(slab);
    const end = slab.start + slab.depth;
    for (; next < to[0]; next++) {
      const first = along.place[next];
      const part = along.part[next];
      if (first + (part > 0 ? 1 : 0) >= end) break;
      const out = new Float32Array(classes * to[1] * to[2]);
      for (let c = 0; c < classes; c++) {
        const near = planeOf(first, c);
        const plane = part > 0 ? mixed(near, planeOf(first + 1, c), part) : near;
        resamplePlane(plane, from[2], rows, columns, out.subarray(c * to[1] * to[2], (c + 1) * to[1] * to[2]));
      }
      yield out;
    }
    const needed = next < to[0] ? along.place[next] : Infinity;
    held = held.filter(({ start, depth }) => start + depth > needed);
  }
}

type Places = ReturnType<typeof labelPlaces>;

/** After the last voxel there is no next one to interpolate with. */
function placesOf(from: number, to: number, order: 0 | 1): Places {
  const { place, part } = labelPlaces({ from, to, order });
  return { place, part: part.map((t, i) => (place[i] === from - 1 ? 0 : t)) };
}

function mixed(a: Float32Array, b: Float32Array, part: number): Float32Array {
  const out = new Float32Array(a.length);
  for (let i = 0; i < out.length; i++) out[i] = a[i] + part * (b[i] - a[i]);
  return out;
}

/** Resamples a plane with lines of `width` at the positions of rows and columns. */
function resamplePlane(plane: Float32Array, width: number, rows: Places, columns: Places, out: Float32Array): void {
  const line = new Float32Array(width);
  const [h, w] = [rows.place.length, columns.place.length];
  for (let y = 0; y < h; y++) {
    const at = rows.place[y] * width;
    const down = rows.part[y];
    if (down > 0) {
      for (let x = 0; x < width; x++) line[x] = plane[at + x] + down * (plane[at + width + x] - plane[at + x]);
    } else line.set(plane.subarray(at, at + width));
    for (let x = 0; x < w; x++) {
      const from = columns.place[x];
      const part = columns.part[x];
      out[y * w + x] = part > 0 ? line[from] + part * (line[from + 1] - line[from]) : line[from];
    }
  }
}

/**
 * Logits [classes, n] as probabilities, in place: softmax over the classes, or of regions the sigmoid of each.
 *
 * @param options classes: the number of outputs, if it differs from the plan's labels
 */
export function toProbabilities(
  logits: Float32Array,
  plan: Pick<Plan, "labels" | "regions">,
  { classes = plan.labels.length }: { classes?: number } = {},
): void {
  if (plan.regions) {
    for (let i = 0; i < logits.length; i++) logits[i] = 1 / (1 + Math.exp(-logits[i]));
    return;
  }
  const count = logits.length / classes;
  for (let i = 0; i < count; i++) {
    let most = -Infinity;
    for (let at = i; at < logits.length; at += count) if (logits[at] > most) most = logits[at];
    let sum = 0;
    for (let at = i; at < logits.length; at += count) sum += Math.exp(logits[at] - most);
    for (let at = i; at < logits.length; at += count) logits[at] = Math.exp(logits[at] - most) / sum;
  }
}

/** What each region paints: its `value`, or else the value that no later region has. */
function regionValues(regions: NonNullable<Plan["regions"]>): number[] {
  return regions.map(({ name, values, value }, k) => {
    const own = value ?? values.find((v) => !regions.slice(k + 1).some((later) => later.values.includes(v)));
    check(own !== undefined, "plan", () => `region ${name} has no label of its own; give it a value in the plan`);
    return own;
  });
}

/**
 * Labels of outputs [classes, n]: the class with the highest (the lowest of equals); with regions, the value of the
 * last region whose output is above `threshold`.
 *
 * @param options threshold: 0 for logits, 0.5 for probabilities
 * @example
 * ```ts
 * import { labelsOf } from "voxgrad/imaging";
 *
 * const logits = Float32Array.of(0, 2, 1, 0.5); // [2, 2]: classes, voxels
 * [...labelsOf(logits, { labels: ["background", "organ"] }, { threshold: 0 })]; // [1, 0]
 * ```
 */
export function labelsOf(
  outputs: Float32Array<ArrayBuffer>,
  plan: Pick<Plan, "labels" | "regions">,
  options: { threshold: number },
): Uint8Array<ArrayBuffer> {
  if (plan.regions) {
    const values = regionValues(plan.regions);
    const count = outputs.length / values.length;
    const labels = new Uint8Array(count);
    values.forEach((value, k) => {
      for (let i = 0; i < count; i++) if (outputs[k * count + i] > options.threshold) labels[i] = value;
    });
    return labels;
  }
  const classes = plan.labels.length;
  return argmaxLabels({ data: outputs, shape: [classes, 1, 1, outputs.length / classes] });
}

/**
 * Labels of a scan from scores of its whole prepared image, as `predictor` computes them from patches.
 *
 * @param scores [classes, ...shape]; each voxel gets the class with the highest score, after linear interpolation
 * @param options shape: of the prepared image; geometry, plan: from and of `preprocessImage`; classes: how many; name:
 *   of the volume
 * @returns Uint8Array volume on the scan's own grid, 0 outside the crop
 * @throws VoxgradError for another number of scores
 * @example
 * ```ts
 * import { preprocessImage, readPlan, readVolume, restoreLabels } from "voxgrad/imaging";
 *
 * const plan = await readPlan("plan.json");
 * const { image, shape, geometry } = await preprocessImage(await readVolume("scan.nii.gz"), plan);
 * const scores = new Float32Array(2 * shape[0] * shape[1] * shape[2]).fill(0.5);
 * const labels = await restoreLabels(scores, { classes: 2, shape, geometry, plan, name: "liver" });
 * ```
 */
export async function restoreLabels(
  scores: Float32Array<ArrayBuffer>,
  options: RestoreOptions,
): Promise<Volume> {
  const { classes, geometry, name } = options;
  const labels = new SourceVolume((length) => new Uint8Array(length), geometry);
  const names = { labels: Array.from({ length: classes }, (_, k) => `${k}`) };
  let index = 0;
  for await (const plane of restoredPlanes("restoreLabels", scores, options)) {
    labels.set(index++, labelsOf(plane, names, { threshold: 0 }));
  }
  return labels.finish(name);
}

/** What is known of scores of a prepared image, and of the scan that they are for. */
export interface RestoreOptions {
  readonly classes: number;
  /** [D, H, W] of the prepared image. */
  readonly shape: Triple;
  /** From `preprocessImage`. */
  readonly geometry: CaseGeometry;
  readonly plan: Plan;
  /** Of the volume. */
  readonly name: string;
}

/**
 * Scores of a whole prepared image on the grid of its scan, by linear interpolation.
 *
 * @param scores [classes, ...shape]
 * @param options as of restoreLabels
 * @returns Float32Array volume with a channel for each class, 0 outside the crop
 * @throws VoxgradError for another number of scores
 * @example
 * ```ts
 * import { preprocessImage, readPlan, readVolume, restoreScores } from "voxgrad/imaging";
 *
 * const plan = await readPlan("plan.json");
 * const { image, shape, geometry } = await preprocessImage(await readVolume("scan.nii.gz"), plan);
 * const scores = new Float32Array(2 * shape[0] * shape[1] * shape[2]).fill(0.5);
 * const likely = await restoreScores(scores, { classes: 2, shape, geometry, plan, name: "liver" });
 * ```
 */
export async function restoreScores(scores: Float32Array<ArrayBuffer>, options: RestoreOptions): Promise<Volume> {
  const { classes: channels, geometry, name } = options;
  const restored = new SourceVolume((length) => new Float32Array(length), geometry, { channels });
  let index = 0;
  for await (const plane of restoredPlanes("restoreScores", scores, options)) restored.set(index++, plane);
  return restored.finish(name);
}

/** Planes [classes, h, w] of the crop of the scan. */
function restoredPlanes(
  what: string,
  scores: Float32Array<ArrayBuffer>,
  { classes, shape, geometry, plan }: RestoreOptions,
): AsyncGenerator<Float32Array<ArrayBuffer>> {
  check(
    scores.length === classes * voxelCount(shape),
    what,
    () => `got ${scores.length} scores for ${classes} classes of ${shape.join(" x ")}`,
  );
  const { cropSpacing } = geometry;
  const order = resamplingOrders(1, plan.resampling, preparedSpacing(plan, cropSpacing), cropSpacing) as (0 | 1)[];
  const whole = (async function* (): AsyncGenerator<Slab> {
    yield { start: 0, depth: shape[0], data: scores };
  })();
  return resampledPlanes(whole, { classes, from: shape, to: geometry.cropSize, order });
}

/** Assembles the volume of a scan from planes of the crop. */
export class SourceVolume<T extends Uint8Array<ArrayBuffer> | Float32Array<ArrayBuffer>> {
  readonly #data: T;
  readonly #channels: number;
  readonly #geometry: CaseGeometry;

  /**
   * @param make creates the array of all voxels of the scan, filled with the value outside the crop
   * @param options channels: default 1
   */
  constructor(make: (length: number) => T, geometry: CaseGeometry, options: { channels?: number } = {}) {
    this.#channels = options.channels ?? 1;
    this.#geometry = geometry;
    this.#data = make(this.#channels * voxelCount(geometry.orientedShape));
  }

  /** Copies plane `index` [channels, h, w] of the crop into place. */
  set(index: number, plane: T): void {
    const { orientedShape, transpose, cropStart, cropSize } = this.#geometry;
    const [, Y, X] = orientedShape;
    // Memory strides along the prepared axes.
    const [a, b, c] = transpose.map((axis) => [Y * X, X, 1][axis]);
    const [, h, w] = cropSize;
    const first = (cropStart[0] + index) * a + cropStart[1] * b + cropStart[2] * c;
    const voxels = voxelCount(orientedShape);
    let from = 0;
    for (let channel = 0; channel < this.#channels; channel++) {
      for (let y = 0; y < h; y++) {
        let to = channel * voxels + first + y * b;
        for (let x = 0; x < w; x++, to += c) this.#data[to] = plane[from++];
      }
    }
  }

  /** The volume on the grid of the scan, with its affine and header. */
  finish(name: string): Volume {
    const { source, orientation, orientedShape } = this.#geometry;
    const channels = this.#channels;
    const [Z, Y, X] = orientedShape;
    // The voxels are in RAS order; the way back depends only on the axis codes.
    const turned = makeVolume(this.#data, { shape: [X, Y, Z], affine: scaling([1, 1, 1]), channels, name });
    const { data } = orientation === "RAS" ? reorient(turned, axisCodes(source.affine)) : turned;
    return { ...source, data, channels, name };
  }
}
