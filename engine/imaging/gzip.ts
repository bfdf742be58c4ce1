/** Gzip by fflate, with the checksums that fflate leaves out: a damaged file is an error, never a wrong number. */
import { Gunzip, gunzipSync, gzipSync } from "fflate";

// The most that deflate can expand: 258 bytes from two bits, so 1032 to 1.
const LARGEST_RATIO = 1032;

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

/**
 * The content of a gzip file of one or more members.
 *
 * @throws Error when it is truncated, damaged, or followed by bytes that are no gzip member
 */
export function gunzip(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const size = bytes.length >= 18 ? uint32At(bytes, bytes.length - 4) : Infinity;
  if (size <= bytes.length * LARGEST_RATIO) {
    // One member, as nearly every file: its last four bytes are the size of the content.
    const content = attempt(() => gunzipSync(bytes as Uint8Array<ArrayBuffer>));
    if (content && content.length === size && crc32(content) === uint32At(bytes, bytes.length - 8)) return content;
  }
  return gunzipMembers(bytes);
}

function attempt(f: () => Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> | undefined {
  try {
    return f();
  } catch {
    return undefined; // gunzipMembers reads it again and says what is wrong
  }
}

function gunzipMembers(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const chunks: Uint8Array[] = [];
  let total = 0;
  let [crc, size] = [0, 0];
  const endMember = (end: number) => {
    if (end < 18 || uint32At(bytes, end - 8) !== crc || uint32At(bytes, end - 4) !== size % 2 ** 32) {
      throw new Error("the gzip data are damaged, truncated or followed by other bytes (checksum differs)");
    }
    [crc, size] = [0, 0];
  };
  const stream = new Gunzip((chunk) => {
    if (chunk.length === 0) return;
    chunks.push(chunk);
    total += chunk.length;
    size += chunk.length;
    crc = crc32(chunk, crc);
  });
  stream.onmember = endMember;
  stream.push(bytes as Uint8Array<ArrayBuffer>, true);
  endMember(bytes.length);
  const content = new Uint8Array(total);
  let at = 0;
  for (const chunk of chunks) {
    content.set(chunk, at);
    at += chunk.length;
  }
  return content;
}

/** Compresses; the same bytes for the same content, for no time or name is stored. */
export const gzip = (bytes: Uint8Array): Uint8Array<ArrayBuffer> =>
  gzipSync(bytes as Uint8Array<ArrayBuffer>, { level: 6, mtime: 0 });
