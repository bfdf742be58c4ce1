/** Training patches: positions with foreground oversampling, and extraction. Pure and seeded. */
import type { Prng } from "../../core/prng.ts";
import { voxelCount } from "../volume/volume.ts";

/** A case ready for sampling. Sizes are in tensor order [z, y, x]. */
export interface SampleCase {
  readonly id: string;
  /** Normalized, [C, D, H, W]. */
  readonly image: Float32Array<ArrayBuffer>;
  /** Class of each voxel, [D, H, W]. */
  readonly label: Uint8Array<ArrayBuffer>;
  readonly channels: number;
  readonly shape: readonly [number, number, number];
  /** mm between voxels along z, y, x. */
  readonly spacing: readonly [number, number, number];
  /** Voxels of each foreground class that occurs, as indices into `label`. */
  readonly foreground: readonly { readonly value: number; readonly voxels: Uint32Array }[];
}

/** Cases that are fetched one by one, from memory or from disk. */
export interface CaseSource {
  readonly ids: readonly string[];
  get(id: string): Promise<SampleCase>;
}

/**
 * Cases of a source, by id.
 *
 * @example
 * ```ts
 * import { casesOf, kFold, openCaseStore, openDataset, readPlan } from "voxgrad/imaging";
 *
 * const dataset = await openDataset("data/Task04_Hippocampus");
 * const store = await openCaseStore(dataset, await readPlan("plan.json"), { folder: "runs/prepared" });
 * const [{ train }] = kFold(dataset.cases.map(({ id }) => id), { folds: 5 });
 * const source = casesOf(store, train);
 * ```
 */
export const casesOf = (source: CaseSource, ids: readonly string[]): CaseSource => ({
  ids,
  get: (id) => source.get(id),
});

/** Bytes of the arrays of a case. */
const bytesOf = ({ image, label, foreground }: SampleCase): number =>
  foreground.reduce((sum, { voxels }) => sum + voxels.byteLength, image.byteLength + label.byteLength);

/**
 * A source that appends channels computed from each case, such as a distance map or a context. They are cropped with
 * the image and padded with 0. Cases with their channels are cached in addition to the source's own cache; beyond the
 * memory cap the least recently used are evicted and recomputed.
 *
 * @param make returns [E, D, H, W] for a case
 * @param options memory: bytes of cached cases; default 2 GiB
 * @example
 * ```ts
 * import { openCaseStore, openDataset, readPlan, withChannels } from "voxgrad/imaging";
 *
 * const dataset = await openDataset("data/Task04_Hippocampus");
 * const store = await openCaseStore(dataset, await readPlan("plan.json"), { folder: "runs/prepared" });
 * const withMask = withChannels(store, async (item) => Float32Array.from(item.label, (value) => (value ? 1 : 0)));
 * ```
 */
export function withChannels(
  source: CaseSource,
  make: (item: SampleCase) => Promise<Float32Array>,
  options: { memory?: number } = {},
): CaseSource & { memory(): number } {
  const { memory: cap = 2 * 2 ** 30 } = options;
  const joined = async (id: string): Promise<SampleCase> => {
    const item = await source.get(id);
    const extra = await make(item);
    const image = new Float32Array(item.image.length + extra.length);
    image.set(item.image);
    image.set(extra, item.image.length);
    return { ...item, image, channels: item.channels + extra.length / item.label.length };
  };
  const made = new Map<string, SampleCase>();
  const coming = new Map<string, Promise<SampleCase>>();
  let bytes = 0;
  const keep = (id: string, item: SampleCase): void => {
    if (bytesOf(item) > cap) return;
    made.set(id, item);
    bytes += bytesOf(item);
    for (const [oldest, old] of made) {
      if (bytes <= cap) break;
      made.delete(oldest);
      bytes -= bytesOf(old);
    }
  };
  return {
    ids: source.ids,
    memory: () => bytes,
    async get(id) {
      const there = made.get(id);
      if (there) {
        made.delete(id);
        made.set(id, there);
        return there;
      }
      const pending = coming.get(id);
      if (pending) return pending;
      const own = joined(id).finally(() => coming.delete(id));
      coming.set(id, own);
      const item = await own;
      keep(id, item);
      return item;
    },
  };
}

/**
 * A source of cases held in memory.
 *
 * @example
 * ```ts
 * import { inMemory, type SampleCase } from "voxgrad/imaging";
 *
 * const item: SampleCase = {
 *   ...{ id: "a", channels: 1, shape: [8, 8, 8], spacing: [1, 1, 1], foreground: [] },
 *   ...{ image: new Float32Array(512), label: new Uint8Array(512) },
 * };
 * inMemory([item]).ids; // ["a"]
 * ```
 */
export function inMemory(cases: readonly SampleCase[]): CaseSource {
  const byId = new Map(cases.map((item) => [item.id, item]));
  return {
    ids: cases.map((item) => item.id),
    get: async (id) => {
      const item = byId.get(id);
      if (!item) throw new RangeError(`there is no case ${id}`);
      return item;
    },
  };
}

/**
 * First voxel [z, y, x] of a random patch. With `foreground`, the patch is centered on a random voxel of a random class
 * among those present (nnU-Net's rule; every class is equally likely, however small). It is shifted to lie within the
 * volume; along an axis shorter than the patch the volume is centered, and the start is negative.
 *
 * @example
 * ```ts
 * import { patchStart, Prng } from "voxgrad/imaging";
 *
 * const item = { shape: [8, 64, 64], foreground: [] } as const;
 * const [z, y, x] = patchStart(new Prng(1), item, { patch: [8, 32, 32] });
 * z; // 0
 * ```
 */
export function patchStart(
  prng: Prng,
  item: Pick<SampleCase, "shape" | "foreground">,
  options: { patch: readonly number[]; foreground?: boolean },
): [number, number, number] {
  const { patch, foreground = false } = options;
  const { shape } = item;
  let center: number[] | undefined;
  if (foreground && item.foreground.length > 0) {
    const { voxels } = item.foreground[prng.integer(item.foreground.length)];
    const index = voxels[prng.integer(voxels.length)];
    const [H, W] = [shape[1], shape[2]];
    center = [Math.floor(index / (H * W)), Math.floor(index / W) % H, index % W];
  }
  const start = (axis: 0 | 1 | 2): number => {
    const room = shape[axis] - patch[axis];
    if (room <= 0) return -Math.floor(-room / 2) + 0;
    if (!center) return prng.integer(room + 1);
    return Math.min(room, Math.max(0, center[axis] - Math.floor(patch[axis] / 2)));
  };
  return [start(0), start(1), start(2)];
}

type Floats = Float32Array<ArrayBufferLike>;
type Ints = Int32Array<ArrayBufferLike>;

/**
 * Copies a box out of `channels` stacked grids, zero outside them.
 *
 * @param out written from `at` on with channels x box, row-major
 * @param box start (may be negative) and size, [z, y, x]
 * @example
 * ```ts
 * import { extractBox } from "voxgrad/imaging";
 *
 * const grid = Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9);
 * const box = { channels: 1, start: [0, 1, 1], size: [1, 2, 2] };
 * [...extractBox(grid, [1, 3, 3], new Float32Array(4), box)]; // [5, 6, 8, 9]
 * ```
 */
export function extractBox<T extends Floats | Ints>(
  source: ArrayLike<number> & { subarray(from: number, to: number): ArrayLike<number> },
  shape: readonly number[],
  out: T,
  box: { channels: number; start: readonly number[]; size: readonly number[]; at?: number },
): T {
  const { channels, start, size, at = 0 } = box;
  const [D, H, W] = shape;
  const [d, h, w] = size;
  // Columns of the box that lie in the volume: [left, right).
  const left = Math.max(0, -start[2]);
  const right = Math.min(w, W - start[2]);
  out.fill(0, at, at + channels * d * h * w);
  for (let c = 0; c < channels; c++) {
    for (let k = 0; k < d; k++) {
      const z = start[0] + k;
      if (z < 0 || z >= D) continue;
      const slab = (c * d + k) * h;
      for (let j = 0; j < h; j++) {
        const y = start[1] + j;
        if (y < 0 || y >= H || right <= left) continue;
        const to = at + (slab + j) * w;
        const from = ((c * D + z) * H + y) * W + start[2];
        out.set(source.subarray(from + left, from + right), to + left);
      }
    }
  }
  return out;
}

export interface PatchOptions {
  /** Size of a patch, [z, y, x]. */
  readonly patch: readonly number[];
}

/**
 * One random patch of a case.
 *
 * @returns image [C, d, h, w] and label [d, h, w] of the patch's size, zero beyond the volume
 */
export function samplePatch(
  prng: Prng,
  item: SampleCase,
  options: PatchOptions & { foreground?: boolean },
): { image: Float32Array<ArrayBuffer>; label: Int32Array<ArrayBuffer> } {
  const count = voxelCount(options.patch);
  const image = new Float32Array(item.channels * count);
  const label = new Int32Array(count);
  fillPatch(prng, item, options, { image, label, index: 0 });
  return { image, label };
}

function fillPatch(
  prng: Prng,
  item: SampleCase,
  options: PatchOptions & { foreground?: boolean },
  out: { image: Float32Array<ArrayBuffer>; label: Int32Array<ArrayBuffer>; index: number },
): void {
  const { patch } = options;
  const start = patchStart(prng, item, options);
  const count = voxelCount(patch);
  const box = { start, size: patch };
  extractBox(item.image, item.shape, out.image, {
    ...box,
    channels: item.channels,
    at: out.index * item.channels * count,
  });
  extractBox(item.label, item.shape, out.label, { ...box, channels: 1, at: out.index * count });
}

/**
 * A batch of random patches, each of a random case. As in nnU-Net the last patches are centered on foreground: patch i
 * is when i >= round(batch * (1 - foreground)), rounding halves to even.
 *
 * @param prng one per step (`new Prng(seed).fork(step)`), so that a resumed run draws the same batches
 * @param options batch; patch [z, y, x]; foreground: fraction, default 0.33; sets: lists of cases, each equally likely
 *   for a patch, whatever their lengths; default: every case is equally likely
 * @returns image [N, C, d, h, w], label [N, d, h, w], and the case of each patch
 * @throws RangeError without cases, for an empty set, or for cases that differ in channels
 * @example
 * ```ts
 * import { openCaseStore, openDataset, Prng, readPlan, sampleBatch } from "voxgrad/imaging";
 *
 * const dataset = await openDataset("data/Task04_Hippocampus");
 * const store = await openCaseStore(dataset, await readPlan("plan.json"), { folder: "runs/prepared" });
 * const batch = await sampleBatch(new Prng(1).fork(17), store, { batch: 2, patch: [32, 32, 32] }); // of step 17
 * ```
 */
export async function sampleBatch(
  prng: Prng,
  cases: CaseSource,
  options: PatchOptions & { batch: number; foreground?: number; sets?: readonly (readonly string[])[] },
): Promise<{ image: Float32Array<ArrayBuffer>; label: Int32Array<ArrayBuffer>; ids: string[] }> {
  const { batch, patch, foreground = 0.33, sets = [cases.ids] } = options;
  if (sets.length === 0 || sets.some((set) => set.length === 0)) {
    throw new RangeError("sampleBatch: no cases; give at least one");
  }
  const count = voxelCount(patch);
  const label = new Int32Array(batch * count);
  const firstForeground = roundHalfEven(batch * (1 - foreground));
  const ids: string[] = [];
  let [image, channels]: [Float32Array<ArrayBuffer> | undefined, number] = [undefined, 0];
  for (let index = 0; index < batch; index++) {
    const own = prng.fork(index);
    // Drawing from a single set would change the draws that follow.
    const set = sets.length === 1 ? sets[0] : sets[own.integer(sets.length)];
    const item = await cases.get(set[own.integer(set.length)]);
    if (!image) [image, channels] = [new Float32Array(batch * item.channels * count), item.channels];
    if (item.channels !== channels) {
      throw new RangeError(`sampleBatch: ${item.id} has ${item.channels} channel(s), ${ids[0]} ${channels}`);
    }
    fillPatch(own, item, { ...options, foreground: index >= firstForeground }, { image, label, index });
    ids.push(item.id);
  }
  return { image: image!, label, ids };
}

/** Rounds as Python's and NumPy's round do: halves to the even neighbor. */
export function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const part = value - floor;
  if (part !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}
