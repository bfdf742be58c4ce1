/** Reads gzip with a size limit and verifies its checksums, so a damaged file is an error, never wrong data. */
import { crc32 } from "../../core/digest.ts";
import { inflate, MARGIN } from "./inflate.ts";
import type { Sink } from "./inflate.ts";

// Largest expansion ratio of deflate: 258 bytes from two bits, so 1032 to 1.
export const LARGEST_RATIO = 1032;
/** Bytes allowed beyond twice the wanted content before a file is rejected; also the first allocation. */
const SLACK = 65536;

/** Whether the bytes start with gzip's magic number, whatever the file name. */
export const isGzip = (bytes: Uint8Array): boolean => bytes.length > 2 && bytes[0] === 0x1f && bytes[1] === 0x8b;

const uint32At = (bytes: Uint8Array, at: number): number =>
  new DataView(bytes.buffer, bytes.byteOffset).getUint32(at, true);

export interface GunzipOptions {
  /** Number of bytes at the start of the content that `wanted` needs. */
  readonly head: number;
  /** Given that start, returns the total number of bytes of content needed. */
  readonly wanted: (head: Uint8Array<ArrayBuffer>) => number;
}

/**
 * The content of a gzip file of one or more members.
 *
 * The file is not trusted: memory grows with the actual content, to at most three times its size; a file with more than
 * twice the wanted content is rejected at that point; and the cost of a block or member is bounded by its bytes and
 * content, so that many empty ones cost little. So wrong sizes in a header or trailer, or a decompression bomb, cost
 * neither memory nor time.
 *
 * @param options default: all of the content
 * @throws Error if it is truncated, damaged, followed by bytes that are not a gzip member, or far too long; and
 *   whatever `wanted` throws
 */
export function gunzip(bytes: Uint8Array, options?: GunzipOptions): Uint8Array<ArrayBuffer> {
  const sink = contentSink(options);
  for (let at = 0; at < bytes.length;) {
    const from = sink.length;
    const end = inflate(bytes, skipHeader(bytes, at), sink);
    if (end + 8 > bytes.length) throw new Error("they end too early");
    const [crc, size] = [uint32At(bytes, end), uint32At(bytes, end + 4)];
    if (size !== (sink.length - from) % 2 ** 32 || crc !== crc32(sink.buffer.subarray(from, sink.length))) {
      throw new Error("they are damaged: the checksum differs");
    }
    at = end + 8;
    // Trailing zeros pad the last block of a tape; gzip, Python and nibabel skip them too.
    while (at < bytes.length && bytes[at] === 0) at++;
  }
  return sink.buffer.subarray(0, sink.length);
}

/** A sink whose memory grows with the content, within the limits of `gunzip`. */
export function contentSink(options?: GunzipOptions): Sink {
  let wanted: number | undefined;
  const sink: Sink = {
    buffer: new Uint8Array((options?.head ?? 0) + 4 * MARGIN),
    length: 0,
    work: 0,
    grow() {
      const { buffer, length } = sink;
      wanted ??= options?.wanted(buffer.subarray(0, length)) ?? Infinity;
      const limit = 2 * wanted + SLACK;
      if (length > limit) throw new Error(`they go on for more than ${limit} bytes, where ${wanted} are wanted`);
      const most = length < wanted ? wanted : limit;
      sink.buffer = new Uint8Array(Math.min(most, Math.max(3 * length, SLACK)) + 2 * MARGIN);
      sink.buffer.set(buffer.subarray(0, length));
    },
  };
  return sink;
}

/** Start of the compressed data of the member at byte `start`. */
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
