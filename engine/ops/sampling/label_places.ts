/** Where the voxels of a resampled label map, or of a plane of logits, lie in its source. */

/** Interpolation of an axis of `from` voxels at `to` positions, of which `count` from `start` on are computed. */
export interface LabelAxis {
  readonly from: number;
  readonly to: number;
  readonly order: 0 | 1;
  readonly start: number;
  readonly count: number;
  /** The index of the tensor's first voxel. */
  readonly origin: number;
}

/** For each position along a whole axis, the voxel below it and the fraction to the next. */
export function labelPlaces({ from, to, order }: Pick<LabelAxis, "from" | "to" | "order">): {
  place: Int32Array;
  part: Float32Array;
} {
  const place = new Int32Array(to);
  const part = new Float32Array(to);
  for (let i = 0; i < to; i++) {
    const at = (i + 0.5) * (from / to) - 0.5;
    place[i] = Math.min(from - 1, Math.max(0, Math.floor(order === 0 ? at + 0.5 : at)));
    part[i] = order === 0 || from === 1 ? 0 : Math.min(1, Math.max(0, at - place[i]));
  }
  return { place, part };
}
