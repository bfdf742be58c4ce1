/** The non-zero region of a scan, which nnU-Net crops to and takes intensities from. */
import type { Triple, Volume } from "./volume.ts";

/** A box of voxels along x, y, z. */
export interface Box {
  readonly start: Triple;
  readonly size: Triple;
}

/**
 * The bounding box of the voxels at which some channel is not zero; the whole volume if there are none. Filling holes
 * would not change it.
 *
 * @example
 * ```ts
 * import { nonZeroBox, phantomCase } from "voxgrad/imaging";
 *
 * const { start, size } = nonZeroBox(phantomCase({ seed: 1 }).image);
 * ```
 */
export function nonZeroBox(image: Pick<Volume, "data" | "shape" | "channels">): Box {
  const { data, shape, channels } = image;
  const [X, Y, Z] = shape;
  const low = [X, Y, Z];
  const high = [-1, -1, -1];
  for (let line = 0; line < channels * Y * Z; line++) {
    const from = line * X;
    let first = 0;
    while (first < X && data[from + first] === 0) first++;
    if (first === X) continue;
    let last = X - 1;
    while (data[from + last] === 0) last--;
    const at = [first, line % Y, Math.floor(line / Y) % Z];
    const to = [last, at[1], at[2]];
    for (let k = 0; k < 3; k++) {
      low[k] = Math.min(low[k], at[k]);
      high[k] = Math.max(high[k], to[k]);
    }
  }
  if (high[0] < 0) return { start: [0, 0, 0], size: shape };
  return {
    start: [low[0], low[1], low[2]],
    size: [high[0] - low[0] + 1, high[1] - low[1] + 1, high[2] - low[2] + 1],
  };
}

/**
 * 1 where some channel is not zero, and in the holes of that region: zeros that no path of zeros connects, face by
 * face, to the border of the array. A single plane counts as a 2-D image.
 *
 * @param data channels of [D, H, W], one after the other
 * @returns [D, H, W]
 * @example
 * ```ts
 * nonZeroMask([0, 3, 0, 0], { channels: 1, shape: [1, 2, 2] }); // [0, 1, 0, 0]
 * ```
 */
export function nonZeroMask(
  data: ArrayLike<number>,
  options: { channels: number; shape: Triple },
): Uint8Array<ArrayBuffer> {
  const { channels, shape } = options;
  const [D, H, W] = shape;
  const count = D * H * W;
  // 0: zero and not reached from outside.
  const state = new Uint8Array(count);
  for (let c = 0; c < channels; c++) {
    for (let i = 0; i < count; i++) if (data[c * count + i] !== 0) state[i] = 1;
  }
  const OUTSIDE = 2;
  let stack = new Int32Array(1024);
  let top = 0;
  const reach = (i: number): void => {
    if (state[i] !== 0) return;
    state[i] = OUTSIDE;
    if (top === stack.length) {
      const larger = new Int32Array(2 * stack.length);
      larger.set(stack);
      stack = larger;
    }
    stack[top++] = i;
  };
  for (let z = 0; z < D; z++) {
    for (let y = 0; y < H; y++) {
      const edge = (D > 1 && (z === 0 || z === D - 1)) || y === 0 || y === H - 1;
      const line = (z * H + y) * W;
      for (let x = 0; x < W; x += edge ? 1 : Math.max(1, W - 1)) reach(line + x);
    }
  }
  while (top > 0) {
    const i = stack[--top];
    const x = i % W;
    const y = Math.floor(i / W) % H;
    const z = Math.floor(i / (W * H));
    if (x > 0) reach(i - 1);
    if (x < W - 1) reach(i + 1);
    if (y > 0) reach(i - W);
    if (y < H - 1) reach(i + W);
    if (z > 0) reach(i - W * H);
    if (z < D - 1) reach(i + W * H);
  }
  for (let i = 0; i < count; i++) state[i] = state[i] === OUTSIDE ? 0 : 1;
  return state;
}
