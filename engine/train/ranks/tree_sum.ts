/** Sums in a fixed order, whoever adds which part. */

/**
 * The sum of vectors by halves: ((0 + 1) + (2 + 3)) of four. If a power of two of processes holds equal parts of the
 * list, each sums its own, and the sum of these sums is the same to the last bit, whatever their number.
 */
export function treeSum(parts: readonly Float32Array[]): Float32Array<ArrayBuffer> {
  const total = new Float32Array(parts[0].length);
  const add = (into: Float32Array, from: number, to: number): Float32Array => {
    if (to - from === 1) return parts[from];
    const middle = Math.floor((from + to) / 2);
    const left = add(into, from, middle);
    const right = add(to - middle === 1 ? into : new Float32Array(into.length), middle, to);
    // A sum of two f32 in f64, rounded, is the f32 sum.
    for (let k = 0; k < into.length; k++) into[k] = left[k] + right[k];
    return into;
  };
  if (parts.length === 1) total.set(parts[0]);
  else add(total, 0, parts.length);
  return total;
}

/** Whether each of `ranks` processes can sum an equal part of `count` vectors in the order of `treeSum`. */
export const splitsEvenly = (count: number, ranks: number): boolean =>
  (ranks & (ranks - 1)) === 0 && count % ranks === 0;
