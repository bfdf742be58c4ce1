/** What is kept of a case for the figures of CoLab: a byte a voxel for each map, and the logits of some voxels. */
import { VoxgradError } from "../../engine/mod.ts";
import { type CaseGeometry, Prng, type SampleCase } from "../../engine/imaging/mod.ts";
import { type Point } from "../../engine/train/mod.ts";

type Voxels = Uint8Array<ArrayBuffer>;

/** A prepared case; channels beyond the plan's are for `contextsOf`. */
export type FigureCase = SampleCase & { readonly geometry?: CaseGeometry };

/** One ROI class on the logit plane: x is its logit, y the largest other one. */
export interface LogitPlane {
  /** Some voxels of the class, and some of all others. */
  readonly positives: Point[];
  readonly negatives: Point[];
  /** Voxels of the class and of the others in all, and how many of each are on the wrong side of x = y. */
  positive: number;
  negative: number;
  falseNegative: number;
  falsePositive: number;
}

/** What the figures need of a case. Maps are in the order of `item.label`. */
export interface FigureMaps {
  readonly item: FigureCase;
  /** By ROI class. */
  readonly planes: readonly LogitPlane[];
  /** 0 background, from 1 the ROI classes. */
  readonly prediction: Voxels;
  /** Contexts from 1 that the network was taught, and that it sees; 0 for ROI and far background. */
  readonly taught?: Voxels;
  readonly seen?: Voxels;
}

/**
 * Up to `count` voxels whose label is `value`, or is not, each as likely: their indices, ascending.
 */
export function sampleVoxels(
  prng: Prng,
  label: ArrayLike<number>,
  options: { value: number; equal: boolean; count: number },
): Uint32Array {
  const { value, equal, count } = options;
  let all = 0;
  for (let i = 0; i < label.length; i++) if ((label[i] === value) === equal) all++;
  // Floyd's choice of ranks among the voxels that match: as many draws as are wanted.
  const ranks = new Set<number>();
  for (let last = Math.max(0, all - count); last < all; last++) {
    const rank = prng.integer(last + 1);
    ranks.add(ranks.has(rank) ? last : rank);
  }
  const chosen = new Uint32Array(ranks.size);
  let [rank, at] = [0, 0];
  for (let i = 0; i < label.length; i++) {
    if ((label[i] === value) === equal && ranks.has(rank++)) chosen[at++] = i;
  }
  return chosen;
}

export interface MapOptions {
  /** ROI classes c and contexts t. */
  readonly rois: number;
  readonly contexts: number;
  /** Whether the background comes before the ROI classes, as in a network without contexts; default after them. */
  readonly backgroundFirst?: boolean;
  /** Whether outputs carry, behind the logits, context probabilities and the mask. */
  readonly withContexts?: boolean;
  /** Points of each group that this case gives to the logit plane. */
  readonly points: number;
  readonly prng: Prng;
}

/**
 * Maps and logits of a case out of a network's outputs, which come in slabs: logits of ROI classes and contexts, then,
 * `withContexts`, context probabilities [t] and the mask [1]. A voxel has its likeliest context: as taught, where the
 * mask is above 1/2; as predicted, everywhere, but the first context, which is the far background's class too, only
 * there.
 *
 * @param slabs [channels, depth, H, W] in order
 * @throws VoxgradError for outputs that are not finite
 */
export async function figureMaps(
  item: FigureCase,
  slabs: AsyncIterable<{ readonly start: number; readonly depth: number; readonly data: Float32Array }>,
  options: MapOptions,
): Promise<FigureMaps> {
  const { rois, contexts, backgroundFirst = false, withContexts = false, points, prng } = options;
  const { label, shape } = item;
  const empty = (): Voxels => new Uint8Array(label.length);
  const prediction = empty();
  const [taught, seen] = withContexts ? [empty(), empty()] : [undefined, undefined];
  const planes = Array.from({ length: rois }, (): LogitPlane => {
    return { positives: [], negatives: [], positive: 0, negative: 0, falseNegative: 0, falsePositive: 0 };
  });
  const drawn = planes.map((_, k) => {
    const of = (equal: boolean) =>
      sampleVoxels(prng.fork(2 * k + Number(equal)), label, { value: k + 1, equal, count: points });
    return { positives: of(true), negatives: of(false) };
  });
  const K = rois + contexts;
  const [firstRoi, firstContext] = backgroundFirst ? [contexts, 0] : [0, rois];
  // Contexts first, so that of equal logits the background's counts, as in a prediction.
  const order = Array.from({ length: K }, (_, k) => (k < contexts ? firstContext + k : firstRoi + k - contexts));
  for await (const { start, depth, data } of slabs) {
    const count = depth * shape[1] * shape[2];
    const first = start * shape[1] * shape[2];
    /** The likeliest of t channels from `from` on, counted from 1. */
    const likeliest = (from: number, i: number): number => {
      let top = 0;
      for (let c = 1; c < contexts; c++) if (data[(from + c) * count + i] > data[(from + top) * count + i]) top = c;
      return top + 1;
    };
    for (let i = 0; i < count; i++) {
      const voxel = first + i;
      let best = -1;
      let most = -Infinity;
      let second = -Infinity;
      for (const channel of order) {
        const z = data[channel * count + i];
        if (!Number.isFinite(z)) {
          throw new VoxgradError(`figureMaps: ${item.id}: a logit is ${z}; the training has diverged`);
        }
        if (z > most) {
          second = most;
          most = z;
          best = channel;
        } else if (z > second) second = z;
      }
      const isRoi = best >= firstRoi && best < firstRoi + rois;
      prediction[voxel] = isRoi ? best - firstRoi + 1 : 0;
      for (let k = 0; k < rois; k++) {
        const plane = planes[k];
        const is = label[voxel] === k + 1;
        const said = prediction[voxel] === k + 1;
        plane[is ? "positive" : "negative"]++;
        if (is !== said) plane[is ? "falseNegative" : "falsePositive"]++;
        const group = is ? "positives" : "negatives";
        if (drawn[k][group][plane[group].length] === voxel) {
          plane[group].push([data[(firstRoi + k) * count + i], said ? second : most]);
        }
      }
      if (!taught || !seen) continue;
      const near = data[(K + contexts) * count + i] > 0.5;
      if (label[voxel] === 0 && near) taught[voxel] = likeliest(K, i);
      const context = isRoi ? 0 : likeliest(firstContext, i);
      if (context > 1 || near) seen[voxel] = context;
    }
  }
  return { item, planes, prediction, taught, seen };
}
