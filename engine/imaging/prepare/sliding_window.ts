/** Sliding-window prediction with Gaussian weights, as in nnU-Net. */
import { VoxgradError } from "../../core/errors.ts";
import { extractBox, roundHalfEven } from "./sampling.ts";
import { voxelCount } from "../volume/volume.ts";

/** Channels first, the last axis fastest: [C, D, H, W]. */
export interface Grid {
  readonly data: Float32Array<ArrayBuffer>;
  readonly shape: readonly [number, number, number, number];
}

/**
 * Start positions of the patches along one axis: as few as keep neighbors within `step` patches of each other, evenly
 * spaced from the first voxel to the last.
 *
 * @param size voxels of the volume along the axis
 * @param patch voxels of the patch; one start, 0, if the volume is not longer
 * @param step stride as a fraction of the patch, above 0, at most 1
 */
export function tileStarts(size: number, patch: number, step: number): number[] {
  if (!(step > 0 && step <= 1)) throw new VoxgradError(`slidingWindow: step is ${step}; wanted above 0, at most 1`);
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
    const center = Math.floor(size / 2);
    return Float64Array.from({ length: size }, (_, i) => Math.exp(-((i - center) ** 2) / (2 * sigma * sigma)));
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
  /** Stride as a fraction of the patch; default 0.5. */
  readonly step?: number;
  /** Channels that `predict` returns. */
  readonly classes: number;
  /** Patches per call of `predict`; default 1. */
  readonly batch?: number;
  /** Weight patches by a Gaussian (default true) or all voxels alike. */
  readonly gaussian?: boolean;
  /**
   * Logits [batch, classes, d, h, w] of patches [batch, C, d, h, w]. The buffer always has room for a full batch, so
   * that a program compiled for it serves every call; only the first `count` patches are filled (the others are 0) and
   * only their logits are read. It is called again before its last result has been accumulated, to keep the device
   * busy: patches and logits must keep their values until the call after that.
   */
  readonly predict: (patches: Float32Array<ArrayBuffer>, count: number) => Promise<Float32Array> | Float32Array;
  /** Called after each batch. */
  readonly onProgress?: (done: number, total: number) => void;
}

/** Finished planes of a prediction: `depth` of them from plane `start` on, [classes, depth, H, W]. */
export interface Slab {
  readonly start: number;
  readonly depth: number;
  readonly data: Float32Array<ArrayBuffer>;
}

/**
 * Where patches of a volume [D, H, W] start along each axis; along an axis shorter than the patch the volume is
 * centered in it.
 */
function startsOf(space: readonly number[], patch: readonly number[], step: number): number[][] {
  return space.map((size, axis) => {
    const offset = -Math.floor(Math.max(0, patch[axis] - size) / 2) + 0;
    return tileStarts(size, patch[axis], step).map((start) => start + offset);
  });
}

/**
 * Bytes of host memory that `slidingWindowSlabs` needs in addition to the volume, and how often it calls `predict`.
 * They grow with H and W, not with D.
 *
 * @param shape of the volume, [C, D, H, W]
 */
export function slidingWindowCost(
  shape: readonly number[],
  options: Pick<SlidingWindowOptions, "patch" | "step" | "classes" | "batch">,
): { bytes: number; calls: number } {
  const { patch, step = 0.5, classes, batch = 1 } = options;
  const [C, D, H, W] = shape;
  const starts = startsOf([D, H, W], patch, step);
  const planes = Math.min(D, patch[0]);
  const finished = Math.max(...starts[0].map((s, k, all) => (all[k + 1] ?? D) - s));
  const values = (classes + 1) * planes * H * W + classes * Math.min(planes, finished) * H * W;
  const patches = voxelCount(patch) * (1 + batch * (2 * C + 2 * classes));
  return { bytes: 4 * (values + patches), calls: Math.ceil(starts.reduce((n, s) => n * s.length, 1) / batch) };
}

/**
 * Logits of a volume of any size, some planes at a time: patches are extracted, predicted and averaged where they
 * overlap, and planes are yielded in order as soon as no later patch touches them, so that memory holds only the logits
 * of a patch's depth. A volume smaller than the patch is padded with zeros on both sides and cropped back.
 *
 * Averages are updated incrementally by each patch's weighted difference, so patches that agree give exactly their
 * value.
 *
 * @param volume [C, D, H, W]
 * @returns slabs [classes, depth, H, W] in order, from the first plane to the last
 * @throws VoxgradError if `predict` returns a wrong number of values
 * @example
 * ```ts
 * import { slidingWindowSlabs } from "voxgrad/imaging";
 *
 * const volume = { data: new Float32Array(8 * 16 * 16), shape: [1, 8, 16, 16] } as const;
 * const options = { patch: [8, 8, 8], classes: 1, predict: (patches: Float32Array) => patches };
 * for await (const { start, depth, data } of slidingWindowSlabs(volume, options)) {
 *   console.log(start, depth, data.length);
 * }
 * ```
 */
export async function* slidingWindowSlabs(volume: Grid, options: SlidingWindowOptions): AsyncGenerator<Slab> {
  const { patch, step = 0.5, classes, batch = 1, gaussian = true, predict, onProgress } = options;
  const [C, D, H, W] = volume.shape;
  const count = voxelCount(patch);
  if (volume.data.length !== C * D * H * W) {
    throw new VoxgradError(`slidingWindow: got ${volume.data.length} values, wanted ${C} x ${D} x ${H} x ${W}`);
  }
  const starts = startsOf([D, H, W], patch, step);
  const tiles = starts[0].flatMap((z) => starts[1].flatMap((y) => starts[2].map((x) => [z, y, x])));
  const importance = gaussian ? gaussianImportance(patch) : new Float32Array(count).fill(1);
  const held = new HeldPlanes(classes, Math.min(D, patch[0]), [D, H, W], patch);
  const buffers = [0, 1].map(() => new Float32Array(batch * C * count));

  const call = async (first: number): Promise<Float32Array> => {
    const patches = buffers[(first / batch) % 2];
    const used = Math.min(batch, tiles.length - first);
    if (used < batch) patches.fill(0, used * C * count);
    for (let i = 0; i < used; i++) {
      const box = { channels: C, start: tiles[first + i], size: patch, at: i * C * count };
      extractBox(volume.data, [D, H, W], patches, box);
    }
    const logits = await predict(patches, used);
    if (logits.length >= used * classes * count) return logits;
    throw new VoxgradError(
      `slidingWindow: predict gave ${logits.length} values, wanted ${used} x ${classes} x ${patch.join(" x ")}`,
    );
  };
  const start = (first: number): Promise<Float32Array> => {
    const logits = call(first);
    // Its error surfaces at the next await, or does not matter because the caller has stopped.
    logits.catch(() => undefined);
    return logits;
  };
  let next = start(0);
  try {
    for (let first = 0; first < tiles.length; first += batch) {
      const logits = await next;
      if (first + batch < tiles.length) next = start(first + batch);
      const used = Math.min(batch, tiles.length - first);
      for (let i = 0; i < used; i++) {
        const tile = tiles[first + i];
        // Patches are sorted by their first plane, so planes before it are finished.
        if (tile[0] > held.start) yield held.release(tile[0]);
        held.add(logits.subarray(i * classes * count, (i + 1) * classes * count), importance, tile);
      }
      onProgress?.(first + used, tiles.length);
    }
  } finally {
    // Nothing computes once the caller has stopped or got an error.
    await next.catch(() => undefined);
  }
  yield held.release(D);
}

/** Averages of the planes that patches may still touch. */
class HeldPlanes {
  /** Index of the first plane held. */
  start = 0;
  readonly #mean: Float32Array<ArrayBuffer>;
  readonly #weight: Float32Array<ArrayBuffer>;
  readonly #share: Float64Array;
  readonly #classes: number;
  readonly #planes: number;
  readonly #shape: readonly number[];
  readonly #patch: readonly number[];

  constructor(classes: number, planes: number, shape: readonly number[], patch: readonly number[]) {
    const plane = shape[1] * shape[2];
    this.#mean = new Float32Array(classes * planes * plane);
    this.#weight = new Float32Array(planes * plane);
    this.#share = new Float64Array(patch[2]);
    this.#classes = classes;
    this.#planes = planes;
    this.#shape = shape;
    this.#patch = patch;
  }

  /** Adds a patch [classes, d, h, w] to the averages, with its weights [d, h, w]. */
  add(logits: Float32Array, importance: Float32Array, start: readonly number[]): void {
    const [, h, w] = this.#patch;
    const [, H, W] = this.#shape;
    const [z0, y0, x0] = start.map((s) => Math.max(0, -s));
    const [z1, y1, x1] = start.map((s, axis) => Math.min(this.#patch[axis], this.#shape[axis] - s));
    const weight = this.#weight;
    const mean = this.#mean;
    const share = this.#share;
    for (let z = z0; z < z1; z++) {
      for (let y = y0; y < y1; y++) {
        const within = (z * h + y) * w;
        const row = ((start[0] + z - this.start) * H + start[1] + y) * W + start[2];
        for (let x = x0; x < x1; x++) {
          const own = importance[within + x];
          const sum = weight[row + x] + own;
          weight[row + x] = sum;
          share[x] = own / sum;
        }
        for (let c = 0; c < this.#classes; c++) {
          const to = c * weight.length + row;
          const from = c * importance.length + within;
          for (let x = x0; x < x1; x++) mean[to + x] += share[x] * (logits[from + x] - mean[to + x]);
        }
      }
    }
  }

  /** Releases the planes before plane `end` of the volume. */
  release(end: number): Slab {
    const plane = this.#shape[1] * this.#shape[2];
    const depth = end - this.start;
    const size = this.#planes * plane;
    const data = new Float32Array(this.#classes * depth * plane);
    for (let c = 0; c < this.#classes; c++) {
      const own = this.#mean.subarray(c * size, (c + 1) * size);
      data.set(own.subarray(0, depth * plane), c * depth * plane);
      own.copyWithin(0, depth * plane).fill(0, size - depth * plane);
    }
    this.#weight.copyWithin(0, depth * plane).fill(0, size - depth * plane);
    const slab = { start: this.start, depth, data };
    this.start = end;
    return slab;
  }
}

/**
 * Logits of a whole volume, see `slidingWindowSlabs`.
 *
 * @param volume [C, D, H, W]
 * @returns logits [classes, D, H, W]
 * @throws VoxgradError if `predict` returns a wrong number of values
 * @example
 * ```ts
 * import { slidingWindow } from "voxgrad";
 *
 * const volume = { data: new Float32Array(20 * 30 * 30), shape: [1, 20, 30, 30] } as const;
 * const predict = (patches: Float32Array) => patches; // of a network: logits [batch, classes, 16, 16, 16]
 * const { data, shape } = await slidingWindow(volume, { patch: [16, 16, 16], classes: 1, predict });
 * ```
 */
export async function slidingWindow(volume: Grid, options: SlidingWindowOptions): Promise<Grid> {
  const [, D, H, W] = volume.shape;
  const { classes } = options;
  const out = new Float32Array(classes * D * H * W);
  for await (const { start, depth, data } of slidingWindowSlabs(volume, options)) {
    const size = depth * H * W;
    for (let c = 0; c < classes; c++) out.set(data.subarray(c * size, (c + 1) * size), (c * D + start) * H * W);
  }
  return { data: out, shape: [classes, D, H, W] };
}

/**
 * The class with the highest logit of each voxel; the lowest of equals.
 *
 * @param logits [classes, D, H, W], at most 256 classes
 * @returns [D, H, W] as Uint8Array
 * @example
 * ```ts
 * import { argmaxLabels } from "voxgrad/imaging";
 *
 * [...argmaxLabels({ data: Float32Array.of(0, 2, 1, 0.5), shape: [2, 1, 1, 2] })]; // [1, 0]
 * ```
 */
export function argmaxLabels(logits: Grid): Uint8Array<ArrayBuffer> {
  const [classes, ...shape] = logits.shape;
  if (classes > 256) throw new VoxgradError(`argmaxLabels: got ${classes} classes, wanted at most 256`);
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
