/** Exact distances between the surfaces of two masks: float64, on the CPU, in memory bounded by the box around them. */

/** Two masks on one grid, cropped to the box around both: bit 0 is the first's, bit 1 the second's. */
export interface MaskPair {
  readonly bits: Uint8Array;
  /** Sizes of one to three axes, the last running fastest. */
  readonly shape: readonly number[];
}

const padded = (list: readonly number[]): [number, number, number] => {
  const [z = 1, y = 1, x = 1] = [1, 1, 1, ...list].slice(-3);
  return [z, y, x];
};

/**
 * The surfaces of both masks: a mask minus its erosion by direct neighbors (6 in 3-D, 4 in 2-D). Voxels beyond the grid
 * count as outside.
 */
export function surfaces({ bits, shape }: MaskPair): MaskPair {
  const [d, h, w] = padded(shape);
  const out = new Uint8Array(bits.length);
  const [deep, high] = [shape.length > 2, shape.length > 1];
  for (let z = 0, at = 0; z < d; z++) {
    for (let y = 0; y < h; y++) {
      for (let x = 0; x < w; x++, at++) {
        const own = bits[at];
        if (own === 0) continue;
        let inside = own;
        inside &= x > 0 ? bits[at - 1] : 0;
        inside &= x < w - 1 ? bits[at + 1] : 0;
        if (high) {
          inside &= y > 0 ? bits[at - w] : 0;
          inside &= y < h - 1 ? bits[at + w] : 0;
        }
        if (deep) {
          inside &= z > 0 ? bits[at - w * h] : 0;
          inside &= z < d - 1 ? bits[at + w * h] : 0;
        }
        out[at] = own & ~inside;
      }
    }
  }
  return { bits: out, shape };
}

const SLAB = 16;
const NONE = 65535;

/**
 * Distance from each voxel with bit `from` to the nearest with bit `to`, in the units of `spacing`, sorted; empty if
 * either has no voxel. By lower envelopes of parabolas (Felzenszwalb and Huttenlocher 2012): along x by counting, then
 * along y and z for slabs of a few x, so that no float64 array of the size of the box is needed.
 */
export function directedDistances(
  { bits, shape }: MaskPair,
  options: { from: 1 | 2; to: 1 | 2; spacing: readonly number[] },
): Float64Array {
  const { from, to } = options;
  const [d, h, w] = padded(shape);
  const [sz, sy, sx] = padded(options.spacing);
  let [starts, ends] = [0, 0];
  // Columns along z, and x, with a start voxel: the others need no distances.
  const [asked, askedX] = [new Uint8Array(h * w), new Uint8Array(w)];
  for (let at = 0, column = 0; at < bits.length; at++, column++) {
    if (column === asked.length) column = 0;
    const own = bits[at];
    if (own & to) ends++;
    if (!(own & from)) continue;
    starts++;
    asked[column] = 1;
    askedX[column % w] = 1;
  }
  if (starts === 0 || ends === 0) return new Float64Array(0);
  const rows = rowDistances(bits, to, w);
  const found = new Float64Array(starts);
  let filled = 0;
  // Squared distances within each slice.
  const slab = new Float64Array(d * h * SLAB);
  const envelope = new Envelope(Math.max(d, h));
  for (let x0 = 0; x0 < w; x0 += SLAB) {
    const width = Math.min(SLAB, w - x0);
    // The order of the loops keeps neighboring x, which share cache lines, together.
    for (let z = 0; z < d; z++) {
      for (let x = 0; x < width; x++) {
        if (!askedX[x0 + x]) continue;
        envelope.clear();
        for (let y = 0, at = z * h * w + x0 + x; y < h; y++, at += w) {
          if (rows[at] !== NONE) envelope.add(y, (rows[at] * sx) ** 2, sy);
        }
        envelope.sample(slab, { base: z * h * SLAB + x, step: SLAB, count: h, spacing: sy });
      }
    }
    for (let y = 0; y < h; y++) {
      for (let x = 0; x < width; x++) {
        const start = y * w + x0 + x;
        if (!asked[start]) continue;
        envelope.clear();
        for (let z = 0, at = y * SLAB + x; z < d; z++, at += h * SLAB) {
          if (slab[at] !== Infinity) envelope.add(z, slab[at], sz);
        }
        for (let z = 0, at = start; z < d; z++, at += h * w) {
          if (bits[at] & from) found[filled++] = Math.sqrt(envelope.at(z, sz));
        }
      }
    }
  }
  return found.sort();
}

/** For each voxel, the distance in voxels to the nearest one with the bit in its row; NONE if the row has none. */
function rowDistances(bits: Uint8Array, bit: number, width: number): Uint16Array {
  const out = new Uint16Array(bits.length);
  for (let row = 0; row < bits.length; row += width) {
    let steps = NONE;
    for (let at = row; at < row + width; at++) {
      steps = bits[at] & bit ? 0 : Math.min(NONE, steps + 1);
      out[at] = steps;
    }
    steps = NONE;
    for (let at = row + width - 1; at >= row; at--) {
      steps = bits[at] & bit ? 0 : Math.min(NONE, steps + 1);
      if (steps < out[at]) out[at] = steps;
    }
  }
  return out;
}

/** The lower envelope of parabolas value + (spacing (x - place))^2, added from left to right. */
class Envelope {
  readonly #places: Float64Array;
  readonly #values: Float64Array;
  /** The x from which each parabola is the lowest. */
  readonly #from: Float64Array;
  #count = 0;
  #next = 0;

  constructor(size: number) {
    [this.#places, this.#values, this.#from] = [0, 1, 2].map(() => new Float64Array(size)) as [
      Float64Array,
      Float64Array,
      Float64Array,
    ];
  }

  clear(): void {
    this.#count = 0;
    this.#next = 0;
  }

  add(place: number, value: number, spacing: number): void {
    const [places, values, from] = [this.#places, this.#values, this.#from];
    const square = spacing * spacing;
    let count = this.#count;
    let start = -Infinity;
    while (count > 0) {
      const last = places[count - 1];
      start = ((value - values[count - 1]) / square + (place - last) * (place + last)) / (2 * (place - last));
      if (start > from[count - 1]) break;
      count--;
      start = -Infinity;
    }
    places[count] = place;
    values[count] = value;
    from[count] = start;
    this.#count = count + 1;
  }

  /** The value of the envelope at x, queried from left to right. */
  at(x: number, spacing: number): number {
    while (this.#next + 1 < this.#count && this.#from[this.#next + 1] < x) this.#next++;
    return this.#values[this.#next] + (spacing * (x - this.#places[this.#next])) ** 2;
  }

  sample(out: Float64Array, line: { base: number; step: number; count: number; spacing: number }): void {
    for (let k = 0, at = line.base; k < line.count; k++, at += line.step) {
      out[at] = this.#count === 0 ? Infinity : this.at(k, line.spacing);
    }
  }
}
