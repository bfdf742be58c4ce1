/**
 * DEFLATE (RFC 1951) into memory controlled by the caller. Libraries either trust the size stated in a file or
 * decompress to the end without a limit; we do not trust files that far.
 */

/** Where decompressed bytes go. */
export interface Sink {
  buffer: Uint8Array<ArrayBuffer>;
  /** Bytes written so far. */
  length: number;
  /**
   * Steps of work so far: table entries filled, code words read, blocks. At most a few dozen per byte of input and
   * output.
   */
  work: number;
  /** Makes room for at least MARGIN more bytes, keeping those written, or throws. */
  grow(): void;
}

/** The longest match: the space that must be free before a symbol is decoded. */
export const MARGIN = 258;

const LENGTH_EXTRA = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
const DISTANCE_EXTRA = Array.from({ length: 30 }, (_, k) => Math.max(0, (k >> 1) - 1));
const bases = (extra: readonly number[], first: number): Uint16Array => {
  const out = new Uint16Array(extra.length);
  for (let k = 0, base = first; k < extra.length; base += 1 << extra[k++]) out[k] = base;
  return out;
};
// The longest match has a code of its own.
const LENGTH_BASE = Uint16Array.of(...bases(LENGTH_EXTRA.slice(0, -1), 3), 258);
const DISTANCE_BASE = bases(DISTANCE_EXTRA, 1);
// The order in which lengths of the code length code are stored.
const ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/**
 * A Huffman code: `table[next bits & mask]` is symbol << 4 | length, or 0 for an invalid or longer code word. Longer
 * ones are decoded from `counts` of words by length and `symbols` in code order. This keeps tables small even for long
 * words: a block of a few bytes may have its own code.
 */
interface Code {
  readonly table: Uint16Array;
  mask: number;
  readonly counts: Uint16Array;
  readonly symbols: Uint16Array;
}

/** Longest code words in a table: of literals and lengths, and of distances. */
const [TABLE_BITS, DISTANCE_BITS] = [10, 7];

const reverse16 = (value: number): number => {
  let v = ((value & 0x5555) << 1) | ((value >> 1) & 0x5555);
  v = ((v & 0x3333) << 2) | ((v >> 2) & 0x3333);
  v = ((v & 0x0f0f) << 4) | ((v >> 4) & 0x0f0f);
  return ((v & 0x00ff) << 8) | (v >> 8);
};

const noCode = (): Code => ({
  table: new Uint16Array(1 << TABLE_BITS),
  mask: 0,
  counts: new Uint16Array(16),
  symbols: new Uint16Array(288),
});
// Scratch of makeCode: the next word of each length, and its index among the symbols.
const [next, place] = [new Uint16Array(16), new Uint16Array(16)];

/**
 * Builds a code from the word lengths, reusing the memory of an earlier one.
 *
 * @param lone whether a single word of one bit is allowed
 * @param bits longest words in its table
 * @returns the steps of work
 */
function makeCode(code: Code, lengths: Uint8Array, lone: boolean, bits = TABLE_BITS): number {
  const { table, counts, symbols } = code;
  counts.fill(0);
  for (let k = 0; k < lengths.length; k++) counts[lengths[k]]++;
  const words = lengths.length - counts[0];
  counts[0] = 0;
  let longest = 15;
  while (longest > 1 && counts[longest] === 0) longest--;
  let free = 1; // codes of this length not taken by shorter ones
  for (let length = 1, word = 0; length <= longest; length++) {
    word = (word + counts[length - 1]) << 1;
    next[length] = word;
    place[length] = place[length - 1] + counts[length - 1];
    free = 2 * free - counts[length];
    if (free < 0) throw new Error("a code of the compressed data has too many words");
  }
  // As in zlib, an incomplete code is allowed only with one word or none.
  if (free > 0 && !(lone && (words === 0 || (words === 1 && longest === 1)))) {
    throw new Error("a code of the compressed data has too few words");
  }
  const size = 1 << Math.min(longest, bits);
  table.fill(0, 0, size);
  for (let symbol = 0; symbol < lengths.length; symbol++) {
    const length = lengths[symbol];
    if (length === 0) continue;
    symbols[place[length]++] = symbol;
    const word = next[length]++;
    if (length > bits) continue;
    for (let at = reverse16(word) >> (16 - length); at < size; at += 1 << length) table[at] = (symbol << 4) | length;
  }
  code.mask = size - 1;
  return size + lengths.length;
}

/**
 * Decodes a word that is too long for the table from the lowest of at least 15 bits, as a table entry; 0 if invalid.
 */
function longWord({ counts, symbols }: Code, hold: number): number {
  let [code, first, index] = [0, 0, 0];
  for (let length = 1; length < 16; length++) {
    code |= (hold >> (length - 1)) & 1;
    const count = counts[length];
    if (code - first < count) return (symbols[index + code - first] << 4) | length;
    index += count;
    first = (first + count) << 1;
    code <<= 1;
  }
  return 0;
}

let fixedCodes: readonly [Code, Code] | undefined;
function fixed(): readonly [Code, Code] {
  if (fixedCodes) return fixedCodes;
  const [literals, distances] = [noCode(), noCode()];
  makeCode(literals, Uint8Array.from({ length: 288 }, (_, k) => (k < 144 ? 8 : k < 256 ? 9 : k < 280 ? 7 : 8)), false);
  makeCode(distances, new Uint8Array(32).fill(5), false);
  return (fixedCodes = [literals, distances]);
}

// Codes of a dynamic block: of its code lengths, its literals and lengths, and its distances. Only one stream is read
// at a time.
const own = [noCode(), noCode(), noCode()] as const;
const ownLengths = new Uint8Array(19);
const allLengths = new Uint8Array(286 + 30);

/**
 * Decompresses the stream that starts at a byte of `source`.
 *
 * @returns the byte after the stream
 * @throws Error if it is truncated or damaged, and whatever `sink.grow` throws
 */
export function inflate(source: Uint8Array, start: number, sink: Sink): number {
  let at = start;
  let [hold, held] = [0, 0]; // bits read and not yet used, the first lowest

  const need = (bits: number): number => {
    while (held < bits) {
      if (at >= source.length) throw new Error("the compressed data end too early");
      hold |= source[at++] << held;
      held += 8;
    }
    const value = hold & ((1 << bits) - 1);
    hold >>>= bits;
    held -= bits;
    return value;
  };

  const codeLengths = (): void => {
    const [literals, distances, count] = [need(5) + 257, need(5) + 1, need(4) + 4];
    if (literals > 286 || distances > 30) throw new Error("a code of the compressed data has too many words");
    ownLengths.fill(0);
    for (let k = 0; k < count; k++) ownLengths[ORDER[k]] = need(3);
    sink.work += makeCode(own[0], ownLengths, false);
    const { table, mask } = own[0];
    const lengths = allLengths.subarray(0, literals + distances);
    for (let k = 0; k < lengths.length;) {
      // Up to 7 bits, of which the last may be missing at the end of the source.
      while (held < 7 && at < source.length) {
        hold |= source[at++] << held;
        held += 8;
      }
      const entry = table[hold & mask];
      if (entry === 0 || (entry & 15) > held) throw new Error("the compressed data hold a word that is none");
      hold >>>= entry & 15;
      held -= entry & 15;
      const symbol = entry >> 4;
      if (symbol < 16) {
        lengths[k++] = symbol;
        continue;
      }
      const repeat = symbol === 16 ? 3 + need(2) : symbol === 17 ? 3 + need(3) : 11 + need(7);
      if (k + repeat > lengths.length || (symbol === 16 && k === 0)) throw new Error("a code repeats too much");
      lengths.fill(symbol === 16 ? lengths[k - 1] : 0, k, k + repeat);
      k += repeat;
    }
    if (lengths[256] === 0) throw new Error("a code of the compressed data has no word for the end");
    sink.work += makeCode(own[1], lengths.subarray(0, literals), true);
    sink.work += makeCode(own[2], lengths.subarray(literals), true, DISTANCE_BITS);
  };

  const storedBlock = (): void => {
    need(held & 7);
    at -= held >> 3; // whole bytes read ahead
    [hold, held] = [0, 0];
    if (at + 4 > source.length) throw new Error("the compressed data end too early");
    const size = source[at] | (source[at + 1] << 8);
    if ((size ^ 0xffff) !== (source[at + 2] | (source[at + 3] << 8))) throw new Error("a stored block has two sizes");
    at += 4;
    const end = at + size;
    if (end > source.length) throw new Error("the compressed data end too early");
    while (at < end) {
      if (sink.buffer.length - sink.length < MARGIN) sink.grow();
      const part = Math.min(end - at, sink.buffer.length - sink.length);
      sink.buffer.set(source.subarray(at, at + part), sink.length);
      sink.length += part;
      at += part;
    }
  };

  const compressedBlock = (literals: Code, distances: Code): void => {
    const { table, mask } = literals;
    const { table: far, mask: farMask } = distances;
    let { buffer, length } = sink;
    let words = 0;
    for (;;) {
      if (buffer.length - length < MARGIN) {
        sink.length = length;
        sink.grow();
        buffer = sink.buffer;
      }
      // Two bytes at a time; past the end they read as zeros, which the check of `held` below does not count.
      if (held < 16) {
        hold |= (source[at] | (source[at + 1] << 8)) << held;
        at += 2;
        held += 16;
      }
      const entry = table[hold & mask] || longWord(literals, hold);
      hold >>>= entry & 15;
      held -= entry & 15;
      const symbol = entry >> 4;
      words++;
      if (symbol < 256) {
        if (entry === 0) throw new Error("the compressed data hold a word that is none");
        buffer[length++] = symbol;
        if (at > source.length + 4) throw new Error("the compressed data end too early");
        continue;
      }
      if (symbol === 256) break;
      if (symbol > 285) throw new Error("the compressed data hold a length that is none");
      if (held < 16) {
        hold |= (source[at] | (source[at + 1] << 8)) << held;
        at += 2;
        held += 16;
      }
      const extra = LENGTH_EXTRA[symbol - 257];
      const count = LENGTH_BASE[symbol - 257] + (hold & ((1 << extra) - 1));
      hold >>>= extra;
      held -= extra;
      if (held < 16) {
        hold |= (source[at] | (source[at + 1] << 8)) << held;
        at += 2;
        held += 16;
      }
      const where = far[hold & farMask] || longWord(distances, hold);
      hold >>>= where & 15;
      held -= where & 15;
      if (where === 0 || where >= 30 << 4) throw new Error("the compressed data hold a word that is none");
      if (held < 16) {
        hold |= (source[at] | (source[at + 1] << 8)) << held;
        at += 2;
        held += 16;
      }
      const more = DISTANCE_EXTRA[where >> 4];
      const distance = DISTANCE_BASE[where >> 4] + (hold & ((1 << more) - 1));
      hold >>>= more;
      held -= more;
      if (!(distance <= length)) throw new Error("the compressed data refer to what is not there");
      const end = length + count;
      if (distance === 1 && count > 16) buffer.fill(buffer[length - 1], length, end);
      else for (let k = length; k < end; k++) buffer[k] = buffer[k - distance];
      length = end;
      if (at > source.length + 4) throw new Error("the compressed data end too early");
    }
    sink.length = length;
    sink.work += words;
  };

  for (let last = 0; last === 0;) {
    last = need(1);
    const kind = need(2);
    if (kind === 3) throw new Error("the compressed data have a block of no kind");
    if (kind === 0) storedBlock();
    else if (kind === 1) compressedBlock(fixed()[0], fixed()[1]);
    else {
      codeLengths();
      compressedBlock(own[1], own[2]);
    }
    sink.work++;
    // Return the bytes read ahead; if more were used than exist, the stream is truncated.
    at -= held >> 3;
    held &= 7;
    hold &= (1 << held) - 1;
    if (at > source.length) throw new Error("the compressed data end too early");
  }
  return at;
}
