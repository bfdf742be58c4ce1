// Fuzzes inflate with valid, damaged and deliberately expensive streams: results must match zlib, with work bounded by
// the bytes of the stream and of its content. The test run uses some thousand; more by hand: node --import
// ./engine/platform/cli/register.mjs test/helpers/fuzz/gzip_fuzz.ts 200000 [SEED]
import { constants, deflateRawSync, inflateRawSync } from "node:zlib";
import { inflate, MARGIN } from "../../../engine/imaging/nifti/inflate.ts";
import { Prng } from "../../../engine/core/prng.ts";

/** Most steps of work per byte of a stream or of its content. */
export const STEPS = 64;

export interface Read {
  readonly content?: Uint8Array;
  readonly error?: string;
  /** Bytes of the stream that were read, if it ended properly. */
  readonly end?: number;
  readonly work: number;
}

/** Reads a stream as gunzip does, and counts. */
export function read(stream: Uint8Array): Read {
  const sink = {
    buffer: new Uint8Array(1024 + MARGIN),
    length: 0,
    work: 0,
    grow() {
      const larger = new Uint8Array(3 * sink.buffer.length);
      larger.set(sink.buffer.subarray(0, sink.length));
      sink.buffer = larger;
    },
  };
  try {
    const end = inflate(stream, 0, sink);
    return { content: sink.buffer.slice(0, sink.length), end, work: sink.work };
  } catch (error) {
    return { error: (error as Error).message, work: sink.work };
  }
}

/** Bits, the lowest first, as in deflate. */
export class Bits {
  readonly bytes: number[] = [];
  #used = 0;

  put(value: number, count: number): this {
    for (let bit = 0; bit < count; bit++, this.#used++) {
      if (this.#used % 8 === 0) this.bytes.push(0);
      this.bytes[this.#used >> 3] |= ((value >> bit) & 1) << (this.#used % 8);
    }
    return this;
  }

  /** Pads with zeros to a whole byte. */
  align(): this {
    this.#used = 8 * this.bytes.length;
    return this;
  }
}

const ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/** An empty block of some 30 bytes with words of up to 15 bits: the largest tables for so few bytes. */
export function costlyBlock(bits: Bits, last: boolean): void {
  bits.put(Number(last), 1).put(2, 2).put(0, 5).put(15, 5).put(15, 4);
  // Words of 4 bits for the lengths 1 to 15 and for runs of zeros.
  const symbols = [...Array.from({ length: 15 }, (_, k) => k + 1), 18];
  for (const symbol of ORDER) bits.put(symbols.includes(symbol) ? 4 : 0, 3);
  const word = (symbol: number): void => {
    const code = symbols.indexOf(symbol);
    for (let bit = 3; bit >= 0; bit--) bits.put((code >> bit) & 1, 1);
  };
  for (let length = 1; length <= 15; length++) word(length);
  word(18), bits.put(127, 7);
  word(18), bits.put(92, 7);
  word(15);
  for (let length = 1; length <= 15; length++) word(length);
  word(15);
  bits.put(0x7fff, 15);
}

/** Many small blocks of all kinds, mostly empty. */
function manyBlocks(random: Prng): Uint8Array {
  const bits = new Bits();
  const [kind, count] = [random.integer(4), 1 + random.integer(300)];
  for (let k = 0; k < count; k++) {
    const last = k === count - 1;
    const own = kind < 3 ? kind : random.integer(3);
    if (own === 0) costlyBlock(bits, last);
    else if (own === 1) bits.put(Number(last), 1).put(1, 2).put(0, 7);
    else {
      bits.put(Number(last), 1).put(0, 2);
      bits.align().put(0, 16).put(0xffff, 16);
    }
  }
  return Uint8Array.from(bits.bytes);
}

/** A dynamic block with random codes, followed by random bits. */
function randomCodes(random: Prng): Uint8Array {
  const bits = new Bits();
  bits.put(1, 1).put(2, 2).put(random.integer(32), 5).put(random.integer(32), 5).put(random.integer(16), 4);
  for (let k = random.integer(400); k > 0; k--) bits.put(random.integer(8), 3);
  return Uint8Array.from(bits.bytes);
}

function compressed(random: Prng): Uint8Array {
  const size = random.integer(4000);
  const spread = 1 + random.integer(256);
  const content = Uint8Array.from({ length: size }, (_, k) => (random.integer(4) ? random.integer(spread) : k & 31));
  const strategy = [
    constants.Z_DEFAULT_STRATEGY,
    constants.Z_HUFFMAN_ONLY,
    constants.Z_RLE,
    constants.Z_FIXED,
  ][random.integer(4)];
  return new Uint8Array(deflateRawSync(content, { level: random.integer(10), strategy }));
}

export interface Tally {
  read: number;
  refused: number;
  readonly faults: string[];
  /** The most steps per byte. */
  steps: number;
}

/** Reads `count` streams; deterministic by seed. */
export function fuzz(count: number, seed = 1): Tally {
  const root = new Prng(seed);
  const tally: Tally = { read: 0, refused: 0, faults: [], steps: 0 };
  for (let round = 0; round < count; round++) {
    const random = root.fork(round);
    const kind = random.integer(8);
    let stream = kind === 0 ? manyBlocks(random) : kind === 1 ? randomCodes(random) : compressed(random);
    if (kind > 3) {
      for (
        let edits = 1 + random.integer(3);
        edits > 0 && stream.length > 0;
        edits--
      ) stream[random.integer(stream.length)] ^= 1 << random.integer(8);
    }
    if (kind === 3) stream = stream.slice(0, random.integer(stream.length + 1));
    const name = `stream ${round} of seed ${seed}`;
    const got = read(stream);
    let wanted: Uint8Array | undefined;
    try {
      wanted = inflateRawSync(stream);
    } catch {
      wanted = undefined;
    }
    if (got.content) tally.read++;
    else tally.refused++;
    const same = got.content && wanted ? Buffer.compare(got.content, wanted) === 0 : !got.content && !wanted;
    if (!same) {
      tally.faults.push(
        `${name}: ${got.error ?? `${got.content!.length} bytes`}, zlib ${
          wanted ? `${wanted.length} bytes` : "refuses"
        }`,
      );
    }
    const steps = got.work / (stream.length + (got.content?.length ?? 0) + 32);
    tally.steps = Math.max(tally.steps, steps);
    if (steps > STEPS) tally.faults.push(`${name}: ${steps} steps a byte`);
  }
  return tally;
}

if (process.argv[1]?.endsWith("gzip_fuzz.ts")) {
  const [count = "200000", seed = "1"] = process.argv.slice(2);
  const tally = fuzz(Number(count), Number(seed));
  console.log(tally);
  process.exitCode = tally.faults.length > 0 ? 1 : 0;
}
