/** Whole-volume prediction from overlapping patches, weighted by a Gaussian, as nnU-Net does. */
import { extractBox, roundHalfEven } from "./sampling.ts";
import { voxelCount } from "./volume.ts";

/** Channels first, the last axis fastest: [C, D, H, W]. */
export interface Grid {
  readonly data: Float32Array<ArrayBuffer>;
  readonly shape: readonly [number, number, number, number];
}

/**
 * Where the patches start along one axis: as few as keep neighbours within `step` patches of each other, spread evenly
 * from the first voxel to the last.
 *
 * @param size voxels of the volume along the axis
 * @param patch voxels of the patch; one start, 0, when the volume is not longer
 * @param step distance of neighbours as a fraction of the patch, above 0, at most 1
 * @example tileStarts(10, 4, 0.5); // [0, 2, 4, 6]
 */
export function tileStarts(size: number, patch: number, step: number): number[] {
  if (!(step > 0 && step <= 1)) throw new RangeError(`slidingWindow: step is ${step}; wanted above 0, at most 1`);
  const room = size - patch;
  if (room <= 0) return [0];
  const count = Math.ceil(room / (patch * step)) + 1;
  return Array.from({ length: count }, (_, i) => roundHalfEven((room / (count - 1)) * i));
}

/**
 * Weight of each voxel of a patch: a Gaussian about voxel floor(patch / 2) with standard deviation patch / 8 along each
 * axis, 1 at its peak. Zeros, where float32 underflows, are raised to the smallest other weight.
 *
 * @param patch [z, y, x]
 * @returns row-major Float32Array
 */
export function gaussianImportance(patch: readonly number[]): Float32Array<ArrayBuffer> {
  const lines = patch.map((size) => {
    const sigma = size / 8;
    const centre = Math.floor(size / 2);
    return Float64Array.from({ length: size }, (_, i) => Math.exp(-((i - centre) ** 2) / (2 * sigma * sigma)));
  });
  const out = new Float32Array(voxelCount(patch));
  let at = 0;
  let floor = Infinity;
  for (const z of lines[0]) {
    for (const y of lines[1]) {
      for (const x of lines[2]) {
        out[at] = z * y * x;
        if (out[at] > 0) floor = Math.min(floor, out[at]);
        at++;
      }
    }
  }
  for (let i = 0; i < out.length; i++) if (out[i] === 0) out[i] = floor;
  return out;
}

export interface SlidingWindowOptions {
  /** Size of a patch, [z, y, x]. */
  readonly patch: readonly number[];
  /** Distance of neighbouring patches as a fraction of the patch; 0.5 unless given. */
  readonly step?: number;
  /** Channels that `predict` gives. */
  readonly classes: number;
  /** Patches per call of `predict`; 1 unless given. */
  readonly batch?: number;
  /** Weight patches by a Gaussian (true unless given) or all voxels alike. */
  readonly gaussian?: boolean;
  /**
   * Logits [batch, classes, d, h, w] of patches [batch, C, d, h, w]. The buffer always has room for a full batch, so
   * that a program compiled for it serves every call; only the first `count` patches are filled (the others are 0) and
   * only their logits are read. It is used again: copy what must outlast the call.
   */
  readonly predict: (patches: Float32Array<ArrayBuffer>, count: number) => Promise<Float32Array> | Float32Array;
  /** Called after each batch. */
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * Logits of a whole volume: patches are cut, predicted and averaged where they overlap. A volume smaller than the patch
 * is padded with zeros on both sides and cropped back.
 *
 * @param volume [C, D, H, W]
 * @returns logits [classes, D, H, W]
 * @throws RangeError when `predict` gives another number of values than wanted
 * @example
 * const logits = await slidingWindow({ data, shape: [1, 60, 70, 80] }, { patch: [32, 32, 32], classes: 3, predict });
 * const labels = argmaxLabels(logits);
 */
export async function slidingWindow(volume: Grid, options: SlidingWindowOptions): Promise<Grid> {
  const { patch, step = 0.5, classes, batch = 1, gaussian = true, predict, onProgress } = options;
  const [C, D, H, W] = volume.shape;
  const count = voxelCount(patch);
  if (volume.data.length !== C * D * H * W) {
    throw new RangeError(`slidingWindow: got ${volume.data.length} values, wanted ${C} x ${D} x ${H} x ${W}`);
  }
  // Along a short axis the volume lies in the middle of the only patch.
  const offset = [D, H, W].map((size, axis) => -Math.floor(Math.max(0, patch[axis] - size) / 2) + 0);
  const starts = [D, H, W].map((size, axis) => tileStarts(size, patch[axis], step).map((s) => s + offset[axis]));
  const tiles = starts[0].flatMap((z) => starts[1].flatMap((y) => starts[2].map((x) => [z, y, x])));
  const importance = gaussian ? gaussianImportance(patch) : new Float32Array(count).fill(1);
  const sum = new Float32Array(classes * D * H * W);
  const weight = new Float32Array(D * H * W);
  const patches = new Float32Array(batch * C * count);
  for (let first = 0; first < tiles.length; first += batch) {
    const used = Math.min(batch, tiles.length - first);
    if (used < batch) patches.fill(0, used * C * count);
    for (let i = 0; i < used; i++) {
      const box = { channels: C, start: tiles[first + i], size: patch, at: i * C * count };
      extractBox(volume.data, [D, H, W], patches, box);
    }
    const logits = await predict(patches, used);
    if (logits.length < used * classes * count) {
      throw new RangeError(
        `slidingWindow: predict gave ${logits.length} values, wanted ${used} x ${classes} x ${patch.join(" x ")}`,
      );
    }
    for (let i = 0; i < used; i++) {
      const from = logits.subarray(i * classes * count, (i + 1) * classes * count);
      accumulate(from, importance, { sum, weight, shape: [D, H, W], start: tiles[first + i], patch, classes });
    }
    onProgress?.(first + used, tiles.length);
  }
  for (let c = 0; c < classes; c++) {
    const base = c * D * H * W;
    for (let i = 0; i < weight.length; i++) sum[base + i] /= weight[i];
  }
  return { data: sum, shape: [classes, D, H, W] };
}

function accumulate(
  logits: Float32Array,
  importance: Float32Array,
  to: {
    sum: Float32Array;
    weight: Float32Array;
    shape: readonly number[];
    start: readonly number[];
    patch: readonly number[];
    classes: number;
  },
): void {
  const { sum, weight, shape, start, patch, classes } = to;
  const [D, H, W] = shape;
  const [d, h, w] = patch;
  const [z0, y0, x0] = start.map((s) => Math.max(0, -s));
  const [z1, y1, x1] = start.map((s, axis) => Math.min(patch[axis], shape[axis] - s));
  for (let c = -1; c < classes; c++) {
    for (let z = z0; z < z1; z++) {
      for (let y = y0; y < y1; y++) {
        const within = (z * h + y) * w;
        const row = ((start[0] + z) * H + start[1] + y) * W + start[2];
        if (c < 0) {
          for (let x = x0; x < x1; x++) weight[row + x] += importance[within + x];
          continue;
        }
        const target = c * D * H * W + row;
        const source = c * d * h * w + within;
        for (let x = x0; x < x1; x++) sum[target + x] += importance[within + x] * logits[source + x];
      }
    }
  }
}

/**
 * The class with the highest logit of each voxel; the lowest of equals.
 *
 * @param logits [classes, D, H, W], at most 256 classes
 * @returns [D, H, W] as Uint8Array
 */
export function argmaxLabels(logits: Grid): Uint8Array<ArrayBuffer> {
  const [classes, ...shape] = logits.shape;
  if (classes > 256) throw new RangeError(`argmaxLabels: got ${classes} classes, wanted at most 256`);
  const count = voxelCount(shape);
  const best = logits.data.slice(0, count);
  const labels = new Uint8Array(count);
  for (let c = 1; c < classes; c++) {
    for (let i = 0, at = c * count; i < count; i++, at++) {
      if (logits.data[at] > best[i]) {
        best[i] = logits.data[at];
        labels[i] = c;
      }
    }
  }
  return labels;
}
