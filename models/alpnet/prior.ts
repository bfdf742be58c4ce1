/** Where a class is expected in a slice, from the masks of its support: frames, and the log-odds of a blurred mask. */
import { bodyMask, nonZeroBox } from "../../engine/imaging/mod.ts";

/** A box in a slice: top, left, height, width in pixels. */
export type Frame = readonly [top: number, left: number, height: number, width: number];

/**
 * What places in a scan's slices are relative to.
 *
 * @param scan prepared; image [C, D, H, W]
 * @param kind "slice": the slice as it is prepared. "body": the box of `bodyMask` over all slices, by the first channel
 */
export function frameOf(
  { image, shape }: { readonly image: Float32Array<ArrayBuffer>; readonly shape: readonly number[] },
  kind: "slice" | "body",
): Frame {
  const [D, H, W] = shape;
  if (kind === "slice") return [0, 0, H, W];
  const volume = { shape: [W, H, D] as const, channels: 1 };
  const data = bodyMask({ ...volume, data: image.subarray(0, D * H * W) });
  if (!data.includes(1)) return [0, 0, H, W];
  const { start, size } = nonZeroBox({ ...volume, data });
  return [start[1], start[0], size[1], size[0]];
}

/** A slice's mask of a class, [height, width] in 0 to 1, and the frame of its scan. */
export interface FramedMask {
  readonly mask: Float32Array;
  readonly size: readonly [height: number, width: number];
  readonly frame: Frame;
}

/** Probabilities of the prior lie from this to 1 minus it, so that what is seen can always overrule it. */
const LEAST = 0.02;

/** The value of a map between its pixels, bilinearly; 0 outside. */
function valueAt({ mask, size: [h, w] }: FramedMask, y: number, x: number): number {
  const [top, left] = [Math.floor(y), Math.floor(x)];
  const of = (v: number, u: number): number => (v < 0 || u < 0 || v >= h || u >= w ? 0 : mask[v * w + u]);
  const [down, across] = [y - top, x - left];
  return (1 - down) * ((1 - across) * of(top, left) + across * of(top, left + 1)) +
    down * ((1 - across) * of(top + 1, left) + across * of(top + 1, left + 1));
}

/** Convolves a map along an axis with a Gaussian; it is 0 outside. */
function blurred(map: Float32Array, [h, w]: readonly [number, number], sigma: number, axis: 0 | 1): Float32Array {
  const reach = Math.ceil(3 * sigma);
  const weights = Array.from({ length: 2 * reach + 1 }, (_, k) => Math.exp(-((k - reach) ** 2) / (2 * sigma * sigma)));
  const total = weights.reduce((a, b) => a + b);
  const [count, step] = axis === 0 ? [h, w] : [w, 1];
  return map.map((_, i) => {
    const at = Math.floor(i / step) % count;
    let sum = 0;
    for (let k = Math.max(-reach, -at); k <= Math.min(reach, count - 1 - at); k++) {
      sum += weights[k + reach] * map[i + k * step];
    }
    return sum / total;
  });
}

/** The mean of the masks of a support in another scan's slice, moved and scaled by both frames. */
export function meanMask(masks: readonly FramedMask[], [h, w]: readonly [number, number], frame: Frame): Float32Array {
  const [top, left, height, width] = frame;
  return Float32Array.from({ length: h * w }, (_, i) => {
    const [down, across] = [(Math.floor(i / w) + 0.5 - top) / height, (i % w + 0.5 - left) / width];
    const values = masks.map((one) => {
      const [t, l, tall, wide] = one.frame;
      return valueAt(one, t + down * tall - 0.5, l + across * wide - 0.5);
    });
    return values.reduce((a, b) => a + b, 0) / masks.length;
  });
}

/**
 * The log-odds of a class in a slice, from the masks of its support.
 *
 * @param options size, frame: of the slice; sigma: of the Gaussian that blurs the mean mask, in pixels of the slice
 */
export function priorLogOdds(
  masks: readonly FramedMask[],
  { size, frame, sigma }: { readonly size: readonly [number, number]; readonly frame: Frame; readonly sigma: number },
): Float32Array<ArrayBuffer> {
  const mean = meanMask(masks, size, frame);
  const soft = blurred(blurred(mean, size, sigma, 0), size, sigma, 1);
  return Float32Array.from(soft, (value) => {
    const p = Math.min(1 - LEAST, Math.max(LEAST, value));
    return Math.log(p / (1 - p));
  });
}
