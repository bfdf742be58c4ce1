/** Gzip, read with a limit and with its checksums: a damaged file is an error, never a wrong number. */
import { gzipSync } from "fflate";
import { inflate, MARGIN } from "./inflate.ts";
import type { Sink } from "./inflate.ts";

// The most that deflate can expand: 258 bytes from two bits, so 1032 to 1.
export const LARGEST_RATIO = 1032;
/** What a file may hold beyond twice what is wanted of it before it is refused; the first step of memory. */
const SLACK = 65536;

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? 0xedb88320 ^ (crc >>> 1) : crc >>> 1;
  return crc;
});

/** CRC-32 of RFC 1952, continued from `crc` (0 at the start). */
export function crc32(bytes: Uint8Array, crc = 0): number {
  let c = ~crc;
  for (let i = 0; i < bytes.length; i++) c = CRC_TABLE[(c ^ bytes[i]) & 255] ^ (c >>> 8);
  return ~c >>> 0;
}

/** True when the bytes begin like a gzip file, whatever its name says. */
export const isGzip = (bytes: Uint8Array): boolean => bytes.length > 2 && bytes[0] === 0x1f && bytes[1] === 0x8b;

const uint32At = (bytes: Uint8Array, at: number): number =>
  new DataView(bytes.buffer, bytes.byteOffset).getUint32(at, true);

export interface GunzipOptions {
  /** How many bytes at the start of the content `wanted` has to see. */
  readonly head: number;
  /** Told that start, says how many bytes of content are needed in all. */
  readonly wanted: (head: Uint8Array<ArrayBuffer>) => number;
}

/**
 * The content of a gzip file of one or more members.
 *
 * The file is not trusted: memory grows with the content that is really there, to no more than three times of it; a
 * file whose content goes on for more than twice what is wanted is refused then and there; and a block or member costs
 * no more than its bytes and its content do, so that many empty ones cost little. So neither a header nor a trailer
 * that lies, nor a bomb, costs memory or time.
 *
 * @param options without them, all of the content is wanted
 * @throws Error when it is truncated, damaged, followed by bytes that are no gzip member, or far too long; and what
 *   `wanted` throws
 */
export function gunzip(bytes: Uint8Array, options?: GunzipOptions): Uint8Array<ArrayBuffer> {
  let wanted: number | undefined;
  const sink: Sink = {
    buffer: new Uint8Array((options?.head ?? 0) + 4 * MARGIN),
    length: 0,
    work: 0,
    grow() {
      const { buffer, length } = sink;
      wanted ??= options?.wanted(buffer.subarray(0, length)) ?? Infinity;
      if (length > 2 * wanted + SLACK) {
        throw new Error(`they go on for more than ${length} bytes, where ${wanted} are wanted`);
      }
      const most = length < wanted ? wanted : 2 * wanted + SLACK;
      sink.buffer = new Uint8Array(Math.min(most, Math.max(3 * length, SLACK)) + 2 * MARGIN);
      sink.buffer.set(buffer.subarray(0, length));
    },
  };
  for (let at = 0; at < bytes.length;) {
    const from = sink.length;
    const end = inflate(bytes, skipHeader(bytes, at), sink);
    if (end + 8 > bytes.length) throw new Error("they end too early");
    const [crc, size] = [uint32At(bytes, end), uint32At(bytes, end + 4)];
    if (size !== (sink.length - from) % 2 ** 32 || crc !== crc32(sink.buffer.subarray(from, sink.length))) {
      throw new Error("they are damaged: the checksum differs");
    }
    at = end + 8;
    // Zeros fill up the last block of a tape; gzip, Python and nibabel pass over them too.
    while (at < bytes.length && bytes[at] === 0) at++;
  }
  return sink.buffer.subarray(0, sink.length);
}

/** Where the compressed data of the member at byte `start` begin. */
function skipHeader(bytes: Uint8Array, start: number): number {
  const [first, second, method, flags] = bytes.subarray(start, start + 4);
  if (first !== 0x1f || second !== 0x8b) throw new Error("they are followed by bytes that are no gzip data");
  if (method !== 8) throw new Error(`their method of compression is ${method}, which is none`);
  let at = start + 10;
  if (flags & 4) at += 2 + (bytes[at] | (bytes[at + 1] << 8));
  for (const text of [8, 16]) {
    if (!(flags & text)) continue;
    at = bytes.indexOf(0, at) + 1;
    if (at === 0) throw new Error("they end too early");
  }
  return at + (flags & 2);
}

/** Compresses; the same bytes for the same content, for no time or name is stored. */
export const gzip = (bytes: Uint8Array): Uint8Array<ArrayBuffer> =>
  gzipSync(bytes as Uint8Array<ArrayBuffer>, { level: 6, mtime: 0 });
