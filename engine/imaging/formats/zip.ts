/** The files in a ZIP archive (PKWARE's APPNOTE), stored or deflated, each checked by its checksum. */
import { crc32 } from "../../core/digest.ts";
import { contentSink, LARGEST_RATIO } from "../nifti/gunzip.ts";
import { inflate } from "../nifti/inflate.ts";
import { FormatError } from "../volume/format_error.ts";
import { gib, memoryProblem } from "../volume/memory.ts";

export interface ZipEntry {
  readonly name: string;
  /** Its content. Throws FormatError if it is damaged. */
  read(): Uint8Array<ArrayBuffer>;
}

/** Whether bytes begin as an archive. */
export const isZip = (bytes: Uint8Array): boolean =>
  bytes[0] === 0x50 && bytes[1] === 0x4b && (bytes[2] === 3 || bytes[2] === 5);

/** Longest comment behind the directory of an archive. */
const LONGEST_COMMENT = 65535;

/**
 * Lists the files of an archive, without folders.
 *
 * @throws FormatError if its directory is damaged or of a kind for more than 4 GiB, or a file is encrypted or packed
 *   in another way
 */
export function zipEntries(bytes: Uint8Array<ArrayBuffer>, name: string): ZipEntry[] {
  const refuse = (got: string, wanted: string): FormatError => new FormatError(name, got, wanted);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let end = bytes.length - 22;
  const last = Math.max(0, end - LONGEST_COMMENT);
  while (end >= last && view.getUint32(end, true) !== 0x06054b50) end--;
  if (end < last) throw refuse("an archive without its directory", "the whole ZIP file");
  const count = view.getUint16(end + 10, true);
  let at = view.getUint32(end + 16, true);
  if (at === 0xffffffff || count === 0xffff) {
    throw refuse("a ZIP64 archive", "one below 4 GiB, or the files themselves");
  }
  const found: ZipEntry[] = [];
  let total = 0;
  for (let k = 0; k < count; k++) {
    if (at + 46 > end || view.getUint32(at, true) !== 0x02014b50) {
      throw refuse("a damaged directory", "the whole ZIP file");
    }
    const [flags, method] = [view.getUint16(at + 8, true), view.getUint16(at + 10, true)];
    const [sum, packed, size] = [16, 20, 24].map((offset) => view.getUint32(at + offset, true));
    const [length, extra, comment] = [28, 30, 32].map((offset) => view.getUint16(at + offset, true));
    const local = view.getUint32(at + 42, true);
    const named = bytes.subarray(at + 46, at + 46 + length);
    const file = new TextDecoder().decode(named);
    at += 46 + length + extra + comment;
    // A name that differs from the one before the file is damaged: it decides whether the file is passed over.
    const inPlace = local + 30 + length <= bytes.length && view.getUint32(local, true) === 0x04034b50 &&
      view.getUint16(local + 26, true) === length && named.every((byte, k) => bytes[local + 30 + k] === byte);
    if (!inPlace) throw refuse(`${file} at a place where no such file is`, "the whole ZIP file");
    if (file.endsWith("/") && size === 0) continue;
    if (flags & 1) throw refuse(`an encrypted file, ${file}`, "files without a password");
    if (method !== 0 && method !== 8) throw refuse(`${file} packed by method ${method}`, "deflated or stored files");
    if (size > LARGEST_RATIO * packed + 64) {
      throw refuse(`${file} said to hold ${size} bytes in ${packed}`, "a true size");
    }
    total += size;
    const problem = memoryProblem(total);
    if (problem) throw refuse(`${gib(total)} of files`, `less, for ${problem}`);
    found.push({
      name: file,
      read: () => {
        const start = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
        if (start + packed > bytes.length) throw refuse(`${file}, which ends too early`, "the whole ZIP file");
        const stored = bytes.subarray(start, start + packed);
        let content = stored.slice();
        if (method === 8) {
          try {
            const sink = contentSink({ head: 0, wanted: () => size });
            inflate(stored, 0, sink);
            content = sink.buffer.subarray(0, sink.length);
          } catch (cause) {
            throw new FormatError(name, `${file}, damaged`, `it intact (${(cause as Error).message})`, cause);
          }
        }
        if (content.length !== size || crc32(content) !== sum) {
          throw refuse(`${file}, whose checksum differs`, "it intact");
        }
        return content;
      },
    });
  }
  if (at !== end) throw refuse("a directory of another length", "the whole ZIP file");
  return found;
}
