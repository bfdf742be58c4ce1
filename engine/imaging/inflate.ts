/**
 * DEFLATE (RFC 1951) into memory that the caller measures out. Libraries either believe the size that a file states or
 * decompress to the end whatever comes; files of patients are not trusted that far.
 */

/** Where decompressed bytes go. */
export interface Sink {
  buffer: Uint8Array<ArrayBuffer>;
  /** Bytes written so far. */
  length: number;
  /** Makes room for MARGIN more bytes at least, keeping those written, or throws. */
  grow(): void;
}

/** The longest match: what must be free before a symbol is decoded. */
export const MARGIN = 258;

const LENGTH_EXTRA = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
const DISTANCE_EXTRA = Array.from({ length: 30 }, (_, k) => Math.max(0, (k >> 1) - 1));
const bases = (extra: readonly number[], first: number): Uint16Array => {
  const out = new Uint16Array(extra.length);
  for (let k = 0, base = first; k < extra.length; base += 1 << extra[k++]) out[k] = base;
  return out;
};
const LENGTH_BASE = bases(LENGTH_EXTRA, 3);
LENGTH_BASE[28] = 258;
const DISTANCE_BASE = bases(DISTANCE_EXTRA, 1);
// The order in which lengths of the code length code are stored.
const ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/** A Huffman code: `table[next bits & mask]` is symbol << 4 | length, or 0 for what is no code. */
interface Code {
  readonly table: Uint16Array;
  readonly mask: number;
}

const reverse16 = (value: number): number => {
  let v = ((value & 0x5555) << 1) | ((value >> 1) & 0x5555);
  v = ((v & 0x3333) << 2) | ((v >> 2) & 0x3333);
  v = ((v & 0x0f0f) << 4) | ((v >> 4) & 0x0f0f);
  return ((v & 0x00ff) << 8) | (v >> 8);
};

function makeCode(lengths: Uint8Array): Code {
  const counts = new Uint16Array(16);
  for (const length of lengths) counts[length]++;
  counts[0] = 0;
  let longest = 15;
  while (longest > 1 && counts[longest] === 0) longest--;
  const next = new Uint16Array(16);
  let free = 1; // codes of this length that no shorter one has taken
  for (let length = 1, code = 0; length <= longest; length++) {
    code = (code + counts[length - 1]) << 1;
    next[length] = code;
    free = 2 * free - counts[length];
    if (free < 0) throw new Error("a code of the compressed data has too many words");
  }
  const table = new Uint16Array(1 << longest);
  for (let symbol = 0; symbol < lengths.length; symbol++) {
    const length = lengths[symbol];
    if (length === 0) continue;
    const first = reverse16(next[length]++) >> (16 - length);
    for (let at = first; at < table.length; at += 1 << length) table[at] = (symbol << 4) | length;
  }
  return { table, mask: table.length - 1 };
}

let fixedCodes: readonly [Code, Code] | undefined;
function fixed(): readonly [Code, Code] {
  const literals = Uint8Array.from({ length: 288 }, (_, k) => (k < 144 ? 8 : k < 256 ? 9 : k < 280 ? 7 : 8));
  return (fixedCodes ??= [makeCode(literals), makeCode(new Uint8Array(30).fill(5))]);
}

/**
 * Decompresses the stream that starts at a byte of `source`.
 *
 * @returns the byte after the stream
 * @throws Error when it is truncated or damaged, and what `sink.grow` throws
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

  const codeLengths = (): [Uint8Array, Uint8Array] => {
    const [literals, distances, count] = [need(5) + 257, need(5) + 1, need(4) + 4];
    const own = new Uint8Array(19);
    for (let k = 0; k < count; k++) own[ORDER[k]] = need(3);
    const { table, mask } = makeCode(own);
    const lengths = new Uint8Array(literals + distances);
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
    return [lengths.subarray(0, literals), lengths.subarray(literals)];
  };

  const storedBlock = (): void => {
    need(held & 7);
    at -= held >> 3; // whole bytes that were read ahead
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
    for (;;) {
      if (buffer.length - length < MARGIN) {
        sink.length = length;
        sink.grow();
        buffer = sink.buffer;
      }
      // Two bytes at a time; past the end they are zeros, which the check of `held` below does not count.
      if (held < 16) {
        hold |= (source[at] | (source[at + 1] << 8)) << held;
        at += 2;
        held += 16;
      }
      const entry = table[hold & mask];
      hold >>>= entry & 15;
      held -= entry & 15;
      const symbol = entry >> 4;
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
      const where = far[hold & farMask];
      hold >>>= where & 15;
      held -= where & 15;
      if (where === 0) throw new Error("the compressed data hold a word that is none");
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
  };

  for (let last = 0; last === 0;) {
    last = need(1);
    const kind = need(2);
    if (kind === 3) throw new Error("the compressed data have a block of no kind");
    if (kind === 0) storedBlock();
    else if (kind === 1) compressedBlock(...fixed());
    else {
      const [literals, distances] = codeLengths();
      compressedBlock(makeCode(literals), makeCode(distances));
    }
    // What was read ahead is given back; if more was used than there is, the stream was cut.
    at -= held >> 3;
    held &= 7;
    hold &= (1 << held) - 1;
    if (at > source.length) throw new Error("the compressed data end too early");
  }
  return at;
}
