/** Scans segmented slice by slice from a few labeled slices, by an encoder and its prototypes. */
import { compile, slice, softmax, take, Tensor, tensor, VoxgradError } from "../../engine/mod.ts";
import {
  extractBox,
  type Plan,
  type PreparedCase,
  preprocessImage,
  restoreLabels,
  type Triple,
  type Volume,
} from "../../engine/imaging/mod.ts";
import type { StopSignal } from "../../engine/train/mod.ts";
import * as alpnet from "./alpnet.ts";

/** A scan prepared by the plan, with labels in which each value above 0 is a class. */
export interface SupportScan {
  /** [C, ...shape] */
  readonly image: Float32Array<ArrayBuffer>;
  /** [...shape] */
  readonly label: Uint8Array;
  readonly shape: readonly [number, number, number];
}

/** A scan to segment, prepared by the plan. */
export type QueryScan = Pick<PreparedCase, "id" | "image" | "shape" | "geometry">;

/** First and last slice of a class. */
export type SliceRange = readonly [first: number, last: number];

export interface OneShotOptions extends Omit<alpnet.FewShotOptions, "ways"> {
  /** Parts that a class is divided into along the slices, each with its own support slice; default 3. */
  readonly chunks?: number;
  /** Slices per encoder batch; default 8. */
  readonly batch?: number;
}

export interface OneShotModel {
  readonly config: { readonly outputStride: number };
  apply(params: object, image: Tensor): Tensor;
}

/**
 * First and last slice that contain a label value.
 *
 * @returns undefined if no slice has it
 */
export function sliceRange(label: ArrayLike<number>, shape: readonly number[], value: number): SliceRange | undefined {
  const area = shape[1] * shape[2];
  let [first, last] = [-1, -1];
  for (let i = 0; i < label.length; i++) {
    if (label[i] !== value) continue;
    last = Math.floor(i / area);
    if (first < 0) first = last;
  }
  return first < 0 ? undefined : [first, last];
}

/** The slice range of each of the given values; absent values have no entry. */
export function sliceRanges(
  { label, shape }: Pick<SupportScan, "label" | "shape">,
  values: readonly number[],
): Map<number, SliceRange> {
  return new Map(values.flatMap((value): [number, SliceRange][] => {
    const range = sliceRange(label, shape, value);
    return range ? [[value, range]] : [];
  }));
}

/**
 * A support reduced, for each class, to the slice that shows most of it.
 *
 * @example
 * ```ts
 * import { largestSlices } from "voxgrad/models";
 *
 * const label = new Uint8Array([1, 0, 1, 1]); // two slices of two voxels
 * const support = largestSlices({ image: new Float32Array(4), label, shape: [2, 1, 2] });
 * support.label; // [0, 0, 1, 1]
 * ```
 */
export function largestSlices<S extends SupportScan>(support: S): S {
  const { label, shape } = support;
  const area = shape[1] * shape[2];
  const kept = new Uint8Array(label.length);
  for (const value of new Set(label)) {
    const counts = Array.from(
      { length: shape[0] },
      (_, z) => label.subarray(z * area, (z + 1) * area).filter((each) => each === value).length,
    );
    const z = counts.indexOf(Math.max(...counts));
    for (let i = z * area; i < (z + 1) * area; i++) if (value > 0 && label[i] === value) kept[i] = value;
  }
  return { ...support, label: kept };
}

/** The middle slice of part c of a range; if it lacks the class, the nearest one with it. */
function supportSlice(
  { label, shape }: SupportScan,
  value: number,
  [first, last]: SliceRange,
  c: number,
  chunks: number,
): number {
  const wanted = first + Math.floor(((last - first + 1) * (2 * c + 1)) / (2 * chunks));
  const area = shape[1] * shape[2];
  const shows = (z: number): boolean =>
    z >= first && z <= last && label.subarray(z * area, (z + 1) * area).includes(value);
  for (let apart = 0;; apart++) {
    if (shows(wanted - apart)) return wanted - apart;
    if (shows(wanted + apart)) return wanted + apart;
  }
}

/** Slices are padded to multiples of this many features, so that not every scan size needs its own program. */
const FEATURES = 4;
const upTo = (n: number, stride: number): number => Math.ceil(n / (FEATURES * stride)) * FEATURES * stride;

/** Feature map size of a prepared scan's padded slices. */
export const paddedFeatures = (
  [, H, W]: Triple | readonly number[],
  stride: number,
): [number, number] => [upTo(H, stride) / stride, upTo(W, stride) / stride];

/** Slices [n, C, h, w] of a scan, padded with 0 to [h, w]. */
function slicesOf(
  image: Float32Array<ArrayBuffer>,
  shape: Triple,
  zs: readonly number[],
  size: readonly [number, number],
): Float32Array<ArrayBuffer> {
  const channels = image.length / (shape[0] * shape[1] * shape[2]);
  const each = channels * size[0] * size[1];
  const out = new Float32Array(zs.length * each);
  zs.forEach((z, n) => extractBox(image, shape, out, { channels, start: [z, 0, 0], size: [1, ...size], at: n * each }));
  return out;
}

/** Options of segmenting one scan. */
export interface OneShotSegmentOptions {
  /** The slices of the prepared image that show a class. */
  readonly ranges?: ReadonlyMap<number, SliceRange>;
  /** Ends it within one batch of slices: it rejects with the signal's reason. */
  readonly signal?: StopSignal | undefined;
  /** Called with the number of parts of the work done and in total. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** See oneShotSegmenter. */
export interface OneShotSegmenter {
  (image: Volume | QueryScan, supports: readonly SupportScan[], options?: OneShotSegmentOptions): Promise<Volume>;
  /** Frees the programs of the encoder. */
  dispose(): void;
}

/**
 * A function that labels scans by a few labeled slices. A class is divided into parts along the slices of each support,
 * and the slice in the middle of a part supports the query's slices of that part (the protocol of Ouyang et al.,
 * section 4.1, after Roy et al. 2020). Each class is separated from the background individually; a voxel gets the most
 * likely class above one half. Nothing is read back before the last slice is submitted.
 *
 * @param params of the encoder
 * @returns segment(image, supports, options) -> Uint8Array volume on the image's grid, with the supports' values. The
 *   image is a volume, or a case already prepared by the plan. With `ranges`, only those slices of it are compared, as
 *   in the papers' evaluation; by default slices at the same relative height of both scans are
 * @throws VoxgradError if supports show no class, or images and labels differ in size
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { loadCase, openDataset, preprocessCase, readPlan, readVolume } from "voxgrad/imaging";
 * import { alpnet, oneShotSegmenter } from "voxgrad/models";
 *
 * const [plan, dataset] = [await readPlan("plan.json"), await openDataset("data/CHAOS")];
 * const encoder = alpnet.encoder({ depth: 101, replaceStrideWithDilation: [false, true, true] });
 * const segment = oneShotSegmenter(encoder, encoder.init(random.key(1)), { plan, window: 2 });
 * const support = await preprocessCase(await loadCase(dataset, dataset.cases[0]), plan);
 * const labels = await segment(await readVolume("scan.nii.gz"), [support]);
 * ```
 */
export function oneShotSegmenter(
  model: OneShotModel,
  params: object,
  { plan, chunks = 3, batch = 8, temperature = 20, ...own }: OneShotOptions & { plan: Plan },
): OneShotSegmenter {
  const stride = model.config.outputStride;
  const { window = 2 } = own;
  const features = compile((p: object, images: Tensor) => model.apply(p, images));
  const scores = compile((query: Tensor, index: Tensor, support: Tensor, labels: Tensor) => {
    const chosen = take(query, index, { axis: 0 });
    const size = chosen.shape.slice(2).map((n) => n * stride);
    const classes = alpnet.classPrototypes(support, labels, { ...own, window, ways: 1 });
    const likely = softmax(alpnet.logits(chosen, classes, { temperature, size }), { axis: 1 });
    return slice(likely, { start: [0, 1] }).squeeze({ axes: [1] });
  });

  /**
   * Features of all slices, `batch` of them in each tensor [batch, F, h, w]; the last batch is filled with the last
   * slice.
   */
  async function* featuresOf(
    image: Float32Array<ArrayBuffer>,
    shape: Triple,
    size: readonly [number, number],
  ): AsyncGenerator<Tensor> {
    const channels = plan.channels.length;
    for (let from = 0; from < shape[0]; from += batch) {
      const some = Array.from({ length: batch }, (_, k) => Math.min(from + k, shape[0] - 1));
      using images = tensor(slicesOf(image, shape, some, size), { shape: [batch, channels, ...size] });
      yield await features(params, images);
    }
  }

  const segment = async (
    image: Volume | QueryScan,
    supports: readonly SupportScan[],
    { ranges, signal, onProgress }: OneShotSegmentOptions = {},
  ): Promise<Volume> => {
    signal?.throwIfAborted();
    const values = [...new Set(supports.flatMap(({ label }) => [...new Set(label)]))].filter((value) => value > 0).sort(
      (a, b) => a - b,
    );
    if (values.length === 0) {
      throw new VoxgradError("oneShotSegmenter: the supports show no class; label at least one voxel");
    }
    for (const { image: data, label, shape } of supports) {
      const voxels = shape[0] * shape[1] * shape[2];
      if (label.length === voxels && data.length === voxels * plan.channels.length) continue;
      throw new VoxgradError(
        `oneShotSegmenter: a support of ${shape.join(" x ")} has ${data.length} values and ${label.length} labels`,
      );
    }
    const { image: data, shape, geometry } = "geometry" in image ? image : await preprocessImage(image, plan);
    const [D, H, W] = shape;
    const size = [upTo(H, stride), upTo(W, stride)] as const;
    const supportSize = [0, 1].map((k) => upTo(Math.max(...supports.map((each) => each.shape[k + 1])), stride)) as [
      number,
      number,
    ];
    let done = 0;
    const total = Math.ceil(D / batch) + values.length * chunks;
    const advance = (): void => {
      signal?.throwIfAborted();
      onProgress?.(++done, total);
    };
    const query: Tensor[] = [];
    const held: Tensor[] = [];
    /** Pending probabilities: class, slices, result. */
    const coming: { k: number; zs: number[]; result: Tensor }[] = [];
    try {
      for await (const part of featuresOf(data, shape, size)) {
        query.push(part);
        held.push(part);
        advance();
      }
      for (const [k, value] of values.entries()) {
        const showing = supports.filter(({ label }) => label.includes(value));
        const range = ranges?.get(value);
        if (ranges && !range) continue;
        const areas = showing.map((each) => sliceRange(each.label, each.shape, value)!);
        const chunkOf = (z: number): number => {
          const [first, last] = range ?? areas[0];
          const at = range ? z : ((z + 0.5) * showing[0].shape[0]) / D;
          const part = Math.floor(((at - first) * chunks) / (last - first + 1));
          return Math.min(chunks - 1, Math.max(0, part));
        };
        const [from, to] = range ?? [0, D - 1];
        for (let c = 0; c < chunks; c++) {
          const zs = Array.from({ length: to - from + 1 }, (_, n) => from + n).filter((z) => chunkOf(z) === c);
          if (zs.length === 0) continue;
          const chosen = showing.map((each, n) => supportSlice(each, value, areas[n], c, chunks));
          const area = supportSize[0] * supportSize[1];
          const labels = new Int32Array(showing.length * area);
          const channels = plan.channels.length;
          const images = new Float32Array(showing.length * channels * area);
          showing.forEach((each, n) => {
            images.set(slicesOf(each.image, [...each.shape], [chosen[n]], supportSize), n * channels * area);
            extractBox(each.label, each.shape, labels, {
              channels: 1,
              start: [chosen[n], 0, 0],
              size: [1, ...supportSize],
              at: n * area,
            });
          });
          using supportImages = tensor(images, { shape: [showing.length, channels, ...supportSize] });
          using supportLabels = tensor(labels.map((each) => Number(each === value)), {
            shape: [showing.length, ...supportSize],
          });
          using supportFeatures = await features(params, supportImages);
          // Slices of one call come from one batch of features.
          for (const [part, of] of query.entries()) {
            const own = zs.filter((z) => Math.floor(z / batch) === part);
            if (own.length === 0) continue;
            using index = tensor(
              Int32Array.from({ length: batch }, (_, n) => own[Math.min(n, own.length - 1)] - part * batch),
            );
            const result = await scores(of, index, supportFeatures, supportLabels);
            held.push(result);
            coming.push({ k, zs: own, result });
          }
          advance();
        }
      }
      const all = new Float32Array((values.length + 1) * D * H * W).fill(0.5, 0, D * H * W);
      for (const { k, zs, result } of coming) {
        const likely = (await result.data()) as Float32Array;
        zs.forEach((z, n) => {
          for (let y = 0; y < H; y++) {
            const at = (n * size[0] + y) * size[1];
            all.set(likely.subarray(at, at + W), (((k + 1) * D + z) * H + y) * W);
          }
        });
      }
      const labels = await restoreLabels(all, {
        classes: values.length + 1,
        shape,
        geometry,
        plan,
        name: `labels of ${"geometry" in image ? image.id : image.name}`,
      });
      return { ...labels, data: Uint8Array.from(labels.data, (k) => (k === 0 ? 0 : values[k - 1])) };
    } finally {
      for (const each of held) each.dispose();
    }
  };
  return Object.assign(segment, {
    dispose(): void {
      features.dispose();
      scores.dispose();
    },
  });
}
