/** Scans segmented slice by slice from a few labeled slices, by an encoder and its prototypes. */
import { compile, concat, slice, softmax, sum, take, Tensor, tensor, VoxgradError } from "../../engine/mod.ts";
import {
  extractBox,
  type Plan,
  preprocessImage,
  restoreScores,
  type Triple,
  type Volume,
} from "../../engine/imaging/mod.ts";
import type { StopSignal } from "../../engine/train/mod.ts";
import * as alpnet from "./alpnet.ts";
import { type QueryScan, valuesOf, valuesOnGrid } from "./grid.ts";
import { type FramedMask, frameOf, priorLogOdds } from "./prior.ts";
import { type SliceChoice, type SliceRange, supportGroups, type SupportScan, type SupportSlice } from "./slices.ts";

export interface OneShotOptions extends Omit<alpnet.FewShotOptions, "ways" | "frames">, SliceChoice {
  /** Slices per encoder batch; default 8. */
  readonly batch?: number;
  /**
   * Prototypes count by where they are in the frame: weight, and sigma as a share of the frame's longer edge; default:
   * not. See alpnet.similarity.
   */
  readonly place?: { readonly weight: number; readonly sigma: number };
  /**
   * Adds the log-odds of the support's mean mask, blurred by this share of the frame's longer edge, to those by
   * similarity; default: not.
   */
  readonly prior?: number;
  /** What places and the prior are relative to: the slice as it is prepared (default), or the body's box in it. */
  readonly frame?: "slice" | "body";
}

export interface OneShotModel {
  readonly config: { readonly outputStride: number };
  apply(params: object, image: Tensor): Tensor;
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
  /**
   * Called with how likely each class is against the background, before the most likely one is taken: from 0 to 1 on
   * the grid of the image, a channel for each class, lowest value first; 0.5 decides.
   */
  readonly onLikely?: ((likely: Volume, values: readonly number[]) => void) | undefined;
  /** Called with what local prototypes were in use; costs one more small read-back for each set of support slices. */
  readonly onPrototypes?: ((use: PrototypeUse) => void) | undefined;
}

/** Local prototypes that were in use in a scan. */
export interface PrototypeUse {
  /** Sets of support slices that were compared with, of all classes, and those with local prototypes of the class. */
  readonly sets: number;
  readonly local: number;
  /** Windows of their slices, and those that were local prototypes of the class. */
  readonly windows: number;
  readonly used: number;
}

/** See oneShotSegmenter. */
export interface OneShotSegmenter {
  (image: Volume | QueryScan, supports: readonly SupportScan[], options?: OneShotSegmentOptions): Promise<Volume>;
  /** Frees the programs of the encoder. */
  dispose(): void;
}

/** A result on the device of some slices. */
interface Pending {
  readonly k: number;
  readonly zs: readonly number[];
  readonly result: Tensor;
}

/** Support slices whose features are kept on the device. */
const KEPT = 16;

/** The least power of two from n on, but at most `most`, so that few programs do for all numbers of slices. */
const rowsFor = (n: number, most: number): number => Math.min(most, 2 ** Math.ceil(Math.log2(n)));

/**
 * A function that labels scans by a few labeled slices, which `SliceChoice` chooses for each slice. Each class is
 * separated from the background individually; a voxel gets the most likely class above one half. Nothing is read back
 * before the last slice is submitted.
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
  options: OneShotOptions & { plan: Plan },
): OneShotSegmenter {
  const { plan, batch = 8, temperature = 20, place, prior, frame: kind = "slice", ...rest } = options;
  const { slices, chunks, nearest, window = 2, ...own } = rest;
  const [tall, wide] = typeof window === "number" ? [window, window] : window;
  const channels = plan.channels.length;
  const stride = model.config.outputStride;
  const features = compile((p: object, images: Tensor) => model.apply(p, images));
  /** Of support slices, each with features [1, F, h, w] and mask [1, H, W]; and of a scan's slices, some by index. */
  type Compared = {
    readonly query: Tensor;
    readonly index: Tensor;
    readonly support: readonly { readonly features: Tensor; readonly mask: Tensor }[];
    readonly frames?: { readonly support: Tensor; readonly query: Tensor };
    readonly prior?: Tensor;
  };
  const scores = compile(({ query, index, support, frames, prior: odds }: Compared) => {
    const chosen = take(query, index, { axis: 0 });
    const size = chosen.shape.slice(2).map((n) => n * stride);
    const joined = (of: "features" | "mask"): Tensor => concat(support.map((each) => each[of]), { axis: 0 });
    const classes = alpnet.classPrototypes(joined("features"), joined("mask"), {
      ...own,
      window,
      ways: 1,
      ...(frames && { frames: frames.support }),
    });
    const near = place && frames && { ...place, frame: frames.query };
    const logits = alpnet.logits(chosen, classes, { temperature, size, ...(near && { place: near }) });
    const likely = softmax(odds ? logits.add(odds) : logits, { axis: 1 });
    const { used, windows } = classes[1];
    return {
      likely: slice(likely, { start: [0, 1] }).squeeze({ axes: [1] }),
      local: sum(slice(used, { end: [windows] }).cast("f32")).reshape({ shape: [1] }),
    };
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
    for (let from = 0; from < shape[0]; from += batch) {
      const some = Array.from({ length: batch }, (_, k) => Math.min(from + k, shape[0] - 1));
      using images = tensor(slicesOf(image, shape, some, size), { shape: [batch, channels, ...size] });
      yield await features(params, images);
    }
  }

  const segment = async (
    image: Volume | QueryScan,
    supports: readonly SupportScan[],
    { ranges, signal, onProgress, onPrototypes, onLikely }: OneShotSegmentOptions = {},
  ): Promise<Volume> => {
    signal?.throwIfAborted();
    const values = valuesOf(supports);
    checkSupports(supports, channels);
    const { image: data, shape, geometry } = "geometry" in image ? image : await preprocessImage(image, plan);
    const [D, H, W] = shape;
    const size = [upTo(H, stride), upTo(W, stride)] as const;
    const supportSize = [0, 1].map((k) => upTo(Math.max(...supports.map((each) => each.shape[k + 1])), stride)) as [
      number,
      number,
    ];
    const framed = place !== undefined || prior !== undefined;
    const frames = supports.map((each) => frameOf(each, framed ? kind : "slice"));
    const frame = frameOf({ image: data, shape }, framed ? kind : "slice");
    const inFeatures = (list: readonly (readonly number[])[]): Float32Array<ArrayBuffer> =>
      Float32Array.from(list.flat(), (n) => n / stride);

    const work = values.flatMap((value, k) => {
      const range = ranges?.get(value);
      if (ranges && !range) return [];
      const showing = supports.flatMap(({ label }, n) => (label.includes(value) ? [n] : []));
      return supportGroups(showing.map((n) => supports[n]), value, { depth: D, range }, {
        slices,
        chunks,
        nearest,
      })
        .map(({ chosen, zs }) => ({ k, value, zs, chosen: chosen.map(({ n, z }) => ({ n: showing[n], z })) }));
    });
    let done = 0;
    const total = Math.ceil(D / batch) + work.length;
    const advance = (): void => {
      signal?.throwIfAborted();
      onProgress?.(++done, total);
    };
    const query: Tensor[] = [];
    const held: Tensor[] = [];
    const coming: Pending[] = [];
    const counts: { local: Tensor; slices: number }[] = [];
    const kept = new Map<string, Tensor>();
    const supportFeatures = async ({ n, z }: SupportSlice): Promise<Tensor> => {
      const key = `${n}:${z}`;
      const before = kept.get(key);
      if (before) return before;
      const { image: pixels, shape: own } = supports[n];
      using one = tensor(slicesOf(pixels, [...own], [z], supportSize), { shape: [1, channels, ...supportSize] });
      const made = await features(params, one);
      kept.set(key, made);
      return made;
    };
    try {
      for await (const part of featuresOf(data, shape, size)) {
        query.push(part);
        held.push(part);
        advance();
      }
      for (const { k, value, zs, chosen } of work) {
        for (const [key, each] of kept) {
          if (kept.size <= KEPT || chosen.some(({ n, z }) => key === `${n}:${z}`)) continue;
          each.dispose();
          kept.delete(key);
        }
        const masks = chosen.map(({ n, z }): FramedMask => ({
          mask: sliceMask(supports[n], z, value, supportSize),
          size: supportSize,
          frame: frames[n],
        }));
        const support = [];
        for (const [at, each] of chosen.entries()) {
          const mask = tensor(Int32Array.from(masks[at].mask), { shape: [1, ...supportSize] });
          held.push(mask);
          support.push({ features: await supportFeatures(each), mask });
        }
        const given = {
          support,
          ...(place && {
            frames: {
              support: tensor(inFeatures(chosen.map(({ n }) => frames[n])), { shape: [chosen.length, 4] }),
              query: tensor(inFeatures([frame]), { shape: [4] }),
            },
          }),
          ...(prior !== undefined && {
            prior: tensor(
              join(
                new Float32Array(size[0] * size[1]),
                priorLogOdds(masks, { size, frame, sigma: prior * Math.max(frame[2], frame[3]) }),
              ),
              { shape: [1, 2, ...size] },
            ),
          }),
        };
        held.push(...[given.frames?.support, given.frames?.query, given.prior].filter((t) => t !== undefined));
        let counted = false;
        // Slices of one call come from one batch of features.
        for (const [part, of] of query.entries()) {
          const own = zs.filter((z) => Math.floor(z / batch) === part);
          if (own.length === 0) continue;
          using index = tensor(
            Int32Array.from(
              { length: rowsFor(own.length, batch) },
              (_, n) => own[Math.min(n, own.length - 1)] - part * batch,
            ),
          );
          const { likely, local } = await scores({ query: of, index, ...given });
          held.push(likely, local);
          coming.push({ k, zs: own, result: likely });
          if (!counted) counts.push({ local, slices: chosen.length });
          counted = true;
        }
        advance();
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
      if (onPrototypes && own.foreground !== "mask") {
        const rows = Math.floor(supportSize[0] / stride / tall);
        const columns = Math.floor(supportSize[1] / stride / wide);
        const use = { sets: counts.length, local: 0, windows: 0, used: 0 };
        for (const { local, slices } of counts) {
          const n = await local.item();
          use.local += Number(n > 0);
          use.used += n;
          use.windows += slices * rows * columns;
        }
        onPrototypes(use);
      }
      if (onLikely) {
        const classes = values.length;
        const name = `likely classes of ${"geometry" in image ? image.id : image.name}`;
        onLikely(await restoreScores(all.slice(D * H * W), { classes, shape, geometry, plan, name }), values);
      }
      return await valuesOnGrid(all, { values, shape, geometry, plan, of: image });
    } finally {
      for (const each of [...held, ...kept.values()]) each.dispose();
    }
  };
  return Object.assign(segment, {
    dispose(): void {
      features.dispose();
      scores.dispose();
    },
  });
}

const join = (a: Float32Array, b: Float32Array): Float32Array<ArrayBuffer> => {
  const both = new Float32Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
};

function checkSupports(supports: readonly SupportScan[], channels: number): void {
  for (const { image, label, shape } of supports) {
    const voxels = shape[0] * shape[1] * shape[2];
    if (label.length === voxels && image.length === voxels * channels) continue;
    throw new VoxgradError(
      `oneShotSegmenter: a support of ${shape.join(" x ")} has ${image.length} values and ${label.length} labels`,
    );
  }
}

/** 1 where slice z shows a class, else 0, padded with 0 to a size. */
function sliceMask(
  { label, shape }: SupportScan,
  z: number,
  value: number,
  size: readonly [number, number],
): Float32Array<ArrayBuffer> {
  const labels = extractBox(label, shape, new Int32Array(size[0] * size[1]), {
    channels: 1,
    start: [z, 0, 0],
    size: [1, ...size],
  });
  return Float32Array.from(labels, (each) => Number(each === value));
}
