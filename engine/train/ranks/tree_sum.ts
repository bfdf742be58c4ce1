/** Sums in a fixed order, whoever adds which part. */

/**
 * The sum of vectors by halves: ((0 + 1) + (2 + 3)) of four. If a power of two of processes holds equal parts of the
 * list, each sums its own, and the sum of these sums is the same to the last bit, whatever their number.
 */
export function treeSum(parts: readonly Float32Array[]): Float32Array<ArrayBuffer> {
  const range = (from: number, to: number): Float32Array<ArrayBuffer> => {
    if (to - from === 1) return new Float32Array(parts[from]);
    const middle = Math.floor((from + to) / 2);
    const [left, right] = [range(from, middle), range(middle, to)];
    // A sum of two f32 in f64, rounded, is the f32 sum.
    for (let k = 0; k < left.length; k++) left[k] += right[k];
    return left;
  };
  return range(0, parts.length);
}

/** Whether each of `ranks` processes can sum an equal part of `count` vectors in the order of `treeSum`. */
export const splitsEvenly = (count: number, ranks: number): boolean =>
  (ranks & (ranks - 1)) === 0 && count % ranks === 0;
