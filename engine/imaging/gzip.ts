/** Gzip by fflate, with the checksums that fflate leaves out: a damaged file is an error, never a wrong number. */
import { Gunzip, gzipSync } from "fflate";

// The most that deflate can expand: 258 bytes from two bits, so 1032 to 1.
export const LARGEST_RATIO = 1032;
/** What a file may hold beyond twice what is wanted of it before it is refused. */
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
  /** Told the start of the content (less than `head` where there is no more), says how many bytes are needed in all. */
  readonly wanted: (head: Uint8Array<ArrayBuffer>) => number;
}

/**
 * The content of a gzip file of one or more members, or as much of its start as is wanted.
 *
 * The file is not trusted: what is held at once stays within twice the content that is really there, and a file whose
 * content goes on for more than twice what is wanted is refused after as much work, so that neither a header nor a
 * trailer that lies, nor a bomb, costs memory or time.
 *
 * @param options without them, all of the content is wanted
 * @throws Error when it is truncated, damaged, followed by bytes that are no gzip member, or far too long; and what
 *   `wanted` throws
 */
export function gunzip(bytes: Uint8Array, options?: GunzipOptions): Uint8Array<ArrayBuffer> {
  let wanted = options ? undefined : Infinity;
  let chunks: Uint8Array[] = [];
  let content: Uint8Array<ArrayBuffer> | undefined;
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
    crc = crc32(chunk, crc);
    size += chunk.length;
    if (!content) chunks.push(chunk);
    else if (total < content.length) content.set(chunk.subarray(0, content.length - total), total);
    total += chunk.length;
  });
  stream.onmember = endMember;
  for (let at = 0; at < bytes.length; ) {
    // A piece expands to less than what has been seen, or is still to come, or the slack.
    const room = Math.max(SLACK, total, wanted === undefined || wanted === Infinity ? 0 : wanted - total);
    const piece = wanted === undefined ? 256 : Math.min(16384, Math.max(1024, Math.floor(room / LARGEST_RATIO)));
    const end = Math.min(bytes.length, at + piece);
    stream.push(bytes.subarray(at, end) as Uint8Array<ArrayBuffer>, end === bytes.length);
    at = end;
    if (at === bytes.length) endMember(at); // damage is told before what follows from it
    if (wanted === undefined && (total >= options!.head || at === bytes.length)) wanted = options!.wanted(join(chunks));
    if (wanted === undefined) continue;
    if (total > 2 * wanted + SLACK) {
      throw new Error(`the gzip data go on for more than ${total} bytes, where ${wanted} are wanted`);
    }
    if (content || total < wanted / 2) continue;
    // Half of it is there, so the rest is believed.
    content = new Uint8Array(wanted);
    fill(content, chunks);
    chunks = [];
  }
  if (!content) return join(chunks);
  return total < content.length ? content.subarray(0, total) : content;
}

function join(chunks: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const joined = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  fill(joined, chunks);
  return joined;
}

function fill(target: Uint8Array, chunks: readonly Uint8Array[]): void {
  let at = 0;
  for (const chunk of chunks) {
    if (at < target.length) target.set(chunk.subarray(0, target.length - at), at);
    at += chunk.length;
  }
}

/** Compresses; the same bytes for the same content, for no time or name is stored. */
export const gzip = (bytes: Uint8Array): Uint8Array<ArrayBuffer> =>
  gzipSync(bytes as Uint8Array<ArrayBuffer>, { level: 6, mtime: 0 });
