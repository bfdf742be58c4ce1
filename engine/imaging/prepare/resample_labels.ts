/** Resamples label maps of the host on the device, in parts if they are too large at once. */
import { VoxgradError } from "../../core/errors.ts";
import { tensor } from "../../ops/elementwise/creation.ts";
import { type LabelAxis, labelPlaces } from "../../ops/sampling/label_places.ts";
import type { SplineOrder } from "../../ops/sampling/resample.ts";
import { labelsAt } from "../../ops/sampling/resample_labels.ts";
import { PART } from "./resample.ts";
import { voxelCount } from "../volume/volume.ts";
import type { Triple } from "../volume/volume.ts";

/**
 * Labels [D, H, W] of 0 to 255 on another grid: `resampleLabels` for any size, by slabs of the result.
 *
 * @param options.order 0 or 1 along each axis
 * @param options.part elements of the largest tensor on the device; default 2^24
 */
export async function resampleLabelArray(
  data: Uint8Array<ArrayBuffer>,
  options: { shape: Triple; size: Triple; order: readonly SplineOrder[]; part?: number },
): Promise<Uint8Array<ArrayBuffer>> {
  const { shape, size, order, part = PART } = options;
  if (data.length !== voxelCount(shape)) {
    throw new VoxgradError(`resampleLabelArray: got ${data.length} values, wanted ${shape.join(" x ")}`);
  }
  if (shape.every((n, k) => n === size[k])) return data;
  const wrong = order.find((n) => n !== 0 && n !== 1);
  if (wrong !== undefined) throw new VoxgradError(`resampleLabelArray: order ${wrong}; labels take 0 or 1`);
  const axes = [0, 1, 2].map((k): LabelAxis => ({
    from: shape[k],
    to: size[k],
    order: order[k] as 0 | 1,
    start: 0,
    count: size[k],
    origin: 0,
  }));
  const { place } = labelPlaces(axes[0]);
  const [D, H, W] = shape;
  const plane = size[1] * size[2];
  const slices = Math.max(1, Math.floor(part / (Math.max(H * W, plane) * Math.max(1, Math.ceil(D / size[0])))) - 1);
  const out = new Uint8Array(size[0] * plane);
  for (let start = 0; start < size[0]; start += slices) {
    const count = Math.min(slices, size[0] - start);
    const origin = place[start];
    const end = Math.min(D, place[start + count - 1] + 2);
    const slab = Int32Array.from(data.subarray(origin * H * W, end * H * W));
    using x = tensor(slab, { shape: [end - origin, H, W] });
    using y = labelsAt(x, [{ ...axes[0], start, count, origin }, axes[1], axes[2]]);
    out.set((await y.data()) as Int32Array, start * plane);
  }
  return out;
}
