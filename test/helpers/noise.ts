/** Inputs of tests. */

/** Pseudorandom numbers, the same on every host: a 32-bit mixer of seed and position. */
export function noise(count: number, seed = 1): Float32Array {
  return Float32Array.from({ length: count }, (_, k) => {
    let h = Math.imul(k + 1, 0x9e3779b1) ^ Math.imul(seed, 0x85ebca6b);
    h = Math.imul(h ^ (h >>> 16), 0x7feb352d);
    h = Math.imul(h ^ (h >>> 15), 0x846ca68b);
    return ((h ^ (h >>> 16)) >>> 0) / 2 ** 31 - 1;
  });
}
