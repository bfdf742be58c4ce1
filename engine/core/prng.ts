/**
 * Random numbers for data processing on the CPU: counter-based (Threefry-2x32-20, Salmon et al. 2011, as in JAX). A
 * generator is a key and a counter, forks are independent, and all hosts produce the same bits. Only integer
 * operations, + - * / and sqrt are used because Math.log and Math.sin may differ between hosts.
 */
import { VoxgradError } from "./errors.ts";

const KEY_PARITY = 0x1bd11bda;
const ROTATIONS = [13, 15, 26, 6, 17, 29, 16, 24];

/** One Threefry-2x32 block of 20 rounds: two 32-bit words from a key and a counter of two words each. */
export function threefry(key0: number, key1: number, count0: number, count1: number): [number, number] {
  const keys = [key0 | 0, key1 | 0, key0 ^ key1 ^ KEY_PARITY];
  let x = (count0 + keys[0]) | 0;
  let y = (count1 + keys[1]) | 0;
  for (let group = 0; group < 5; group++) {
    for (let round = 0; round < 4; round++) {
      const turn = ROTATIONS[((group & 1) << 2) + round];
      x = (x + y) | 0;
      y = ((y << turn) | (y >>> (32 - turn))) ^ x;
    }
    x = (x + keys[(group + 1) % 3]) | 0;
    y = (y + keys[(group + 2) % 3] + group + 1) | 0;
  }
  return [x >>> 0, y >>> 0];
}

/** FNV-1a hash of a string's UTF-16 code units. */
export function hashText(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) {
    hash = Math.imul(hash ^ (text.charCodeAt(i) & 255), 0x01000193);
    hash = Math.imul(hash ^ (text.charCodeAt(i) >>> 8), 0x01000193);
  }
  return hash >>> 0;
}

export class Prng {
  readonly #key0: number;
  readonly #key1: number;
  #count = 0;
  #spare = -1;
  #spareNormal: number | undefined;

  /**
   * @param seed any integer to 2^53; the same seed gives the same numbers on every host
   * @example
   * ```ts
   * import { Prng } from "voxgrad/imaging";
   *
   * const prng = new Prng(7);
   * prng.uniform(); // in [0, 1)
   * prng.integer(10); // 0 to 9
   * const noise = prng.fork("noise"); // an independent generator
   * ```
   */
  constructor(seed: number, key1?: number) {
    if (!Number.isSafeInteger(seed)) throw new VoxgradError(`Prng: seed ${seed} is no integer; give one, such as 0`);
    this.#key0 = seed >>> 0;
    this.#key1 = key1 ?? Math.floor(seed / 2 ** 32) >>> 0;
  }

  /** An independent generator for a step, case or purpose; it does not depend on the numbers drawn so far. */
  fork(purpose: number | string): Prng {
    const word = typeof purpose === "string" ? hashText(purpose) : purpose >>> 0;
    const high = typeof purpose === "string" ? 0x80000001 : 0x80000000;
    const [a, b] = threefry(this.#key0, this.#key1, word, high);
    return new Prng(a, b);
  }

  /** 32 random bits, 0 to 2^32 - 1. */
  uint32(): number {
    if (this.#spare >= 0) {
      const spare = this.#spare;
      this.#spare = -1;
      return spare;
    }
    const [a, b] = threefry(this.#key0, this.#key1, this.#count, (this.#count / 2 ** 32) | 0);
    this.#count++;
    this.#spare = b;
    return a;
  }

  /** Uniform in [low, high), default: [0, 1), in steps of 2^-32 of the range. */
  uniform(low = 0, high = 1): number {
    return low + (this.uint32() / 2 ** 32) * (high - low);
  }

  /** A uniform integer in [0, n), n up to 2^32. */
  integer(n: number): number {
    if (!(Number.isInteger(n) && n >= 1 && n <= 2 ** 32)) {
      throw new VoxgradError(`Prng.integer: n is ${n}; wanted 1 to 2^32`);
    }
    const limit = 2 ** 32 - (2 ** 32 % n);
    let word = this.uint32();
    while (word >= limit) word = this.uint32();
    return word % n;
  }

  /** Normal with mean 0 and variance 1, by Marsaglia's polar method. */
  normal(): number {
    const spare = this.#spareNormal;
    if (spare !== undefined) {
      this.#spareNormal = undefined;
      return spare;
    }
    for (;;) {
      const [u, v] = [this.uniform(-1, 1), this.uniform(-1, 1)];
      const square = u * u + v * v;
      if (square >= 1 || square === 0) continue;
      const scale = Math.sqrt((-2 * log(square)) / square);
      this.#spareNormal = v * scale;
      return u * scale;
    }
  }

  /** A copy of `items` in random order. */
  shuffle<T>(items: readonly T[]): T[] {
    const out = [...items];
    for (let i = out.length - 1; i > 0; i--) {
      const j = this.integer(i + 1);
      [out[i], out[j]] = [out[j], out[i]];
    }
    return out;
  }
}

const float = new Float64Array(1);
const words = new Uint32Array(float.buffer);

// log of a positive normal number: exponent times ln 2, plus 2 artanh((m - 1) / (m + 1)) of the mantissa as a series.
function log(value: number): number {
  float[0] = value;
  let exponent = (words[1] >>> 20) - 1023;
  words[1] = (words[1] & 0xfffff) | 0x3ff00000;
  if (float[0] > Math.SQRT2) {
    float[0] /= 2;
    exponent++;
  }
  const z = (float[0] - 1) / (float[0] + 1);
  const square = z * z;
  let series = 0;
  for (let n = 21; n >= 1; n -= 2) series = series * square + 1 / n;
  return exponent * Math.LN2 + 2 * z * series;
}
