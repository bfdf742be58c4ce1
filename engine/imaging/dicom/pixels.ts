/** The stored values of frames, plain or compressed. */
import type { DecodedFrame } from "./codecs.ts";
import type { DataSet, DicomFile, Element } from "./dicom_file.ts";
import { DicomError } from "./dicom_error.ts";
import { BIG_ENDIAN, DEFLATED, EXPLICIT, IMPLICIT } from "./is_dicom.ts";
import { decodeRle } from "./rle.ts";
import { type PixelFormat, pixelFormat } from "./slice.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const RLE = "1.2.840.10008.1.2.5";
const PLAIN: ReadonlySet<string> = new Set([IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN]);

/** Names of the transfer syntaxes that compress, which the messages use. */
const SYNTAXES: Readonly<Record<string, string>> = {
  [IMPLICIT]: "implicit VR, little-endian",
  [EXPLICIT]: "explicit VR, little-endian",
  [DEFLATED]: "deflated",
  [BIG_ENDIAN]: "explicit VR, big-endian",
  [RLE]: "RLE",
  "1.2.840.10008.1.2.4.50": "JPEG baseline, 8 bits",
  "1.2.840.10008.1.2.4.51": "JPEG extended, 12 bits",
  "1.2.840.10008.1.2.4.57": "JPEG lossless",
  "1.2.840.10008.1.2.4.70": "JPEG lossless, first-order prediction",
  "1.2.840.10008.1.2.4.80": "JPEG-LS",
  "1.2.840.10008.1.2.4.81": "JPEG-LS, near-lossless",
  "1.2.840.10008.1.2.4.90": "JPEG 2000, lossless",
  "1.2.840.10008.1.2.4.91": "JPEG 2000",
  "1.2.840.10008.1.2.4.201": "High-Throughput JPEG 2000, lossless",
  "1.2.840.10008.1.2.4.202": "High-Throughput JPEG 2000, lossless RPCL",
  "1.2.840.10008.1.2.4.203": "High-Throughput JPEG 2000",
};

export const syntaxName = (uid: string): string => SYNTAXES[uid] ?? `the transfer syntax ${uid.slice(0, 64)}`;

/** Reads the stored values of a frame, one for each pixel. */
export type FrameReader = (frame: number, into: Int32Array | Uint32Array) => Promise<void>;

/**
 * How the frames of a file are read.
 *
 * @returns format, and a function that puts the stored values of a frame into an array: an Int32Array, or a Uint32Array
 *   for unsigned values of more than 31 bits
 * @throws DicomError if the pixels are missing, of another kind, fewer than wanted, or compressed as nothing here reads
 */
export function frameReader(file: DicomFile): { format: PixelFormat; read: FrameReader } {
  const { elements, name, syntax } = file;
  const format = pixelFormat(file);
  const element = elements.elements.x7fe00010;
  if (!element || element.length === 0) {
    const real = elements.elements.x7fe00008 ?? elements.elements.x7fe00009;
    const got = real ? "pixels that are floating-point numbers" : "no pixels (7FE0,0010)";
    throw new DicomError(name, got, "an image of integers");
  }
  if (format.bitsAllocated === 1) throw new DicomError(name, "pixels of one bit", "an image of 8, 16 or 32 bits");
  const count = format.rows * format.columns;
  const width = format.bitsAllocated / 8;
  if (PLAIN.has(syntax)) {
    const bytes = plainBytes(elements, element, name, count * width * format.frames);
    const swap = syntax === BIG_ENDIAN ? (width > 1 ? width : element.vr === "OW" ? 2 : 1) : 1;
    return {
      format,
      read: async (frame, into) => {
        // Rows of odd bytes in words: swapping needs the whole word at the end.
        const from = frame * count * width;
        let part: Bytes = bytes.slice(from, from + count * width);
        if (swap > 1) part = swapped(bytes, from, count * width, swap);
        unpack(part, width, format, into);
      },
    };
  }
  const packed = compressedFrames(elements, element, file, format.frames);
  return {
    format,
    read: async (frame, into) => {
      const where = format.frames > 1 ? `${name}, frame ${frame + 1}` : name;
      if (syntax === RLE) {
        try {
          unpack(decodeRle(packed(frame), count, width), width, format, into);
        } catch (cause) {
          throw damaged(where, syntax, cause);
        }
        return;
      }
      unpackDecoded(await decode(packed(frame), syntax, where), format, where, into);
    },
  };
}

const damaged = (where: string, syntax: string, cause: unknown): DicomError => {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new DicomError(where, `damaged pixels, compressed as ${syntaxName(syntax)}`, `intact ones (${why})`, cause);
};

function plainBytes(elements: DataSet, element: Element, name: string, wanted: number): Bytes {
  if (element.fragments) throw new DicomError(name, "compressed pixels in an uncompressed transfer syntax", "either");
  const { byteArray } = elements;
  const there = Math.min(element.length, Math.max(0, byteArray.length - element.dataOffset));
  if (there < wanted) throw new DicomError(name, `${there} bytes of pixels`, `${wanted}: the file is truncated`);
  return byteArray.subarray(element.dataOffset, element.dataOffset + wanted) as Bytes;
}

/** Bytes from a byte on, each word of `size` reversed. */
function swapped(bytes: Bytes, from: number, length: number, size: number): Bytes {
  const out = new Uint8Array(length);
  for (let at = 0; at < length; at++) {
    const source = from + at;
    const word = source - (source % size);
    out[at] = bytes[Math.min(bytes.length - 1, word + size - 1 - (source % size))];
  }
  return out;
}

/** The compressed bytes of each frame, which may lie in several fragments. */
function compressedFrames(elements: DataSet, element: Element, file: DicomFile, frames: number): (k: number) => Bytes {
  const { name, syntax } = file;
  const { fragments, basicOffsetTable = [] } = element;
  if (!fragments || !element.encapsulatedPixelData) {
    throw new DicomError(
      name,
      `pixels in one piece, said to be ${syntaxName(syntax)}`,
      "fragments of them (PS3.5, A.4)",
    );
  }
  const bytes = elements.byteArray as Bytes;
  for (const { position, length } of fragments) {
    if (position + length > bytes.length) throw new DicomError(name, "a fragment beyond its end", "the whole file");
  }
  const groups: (typeof fragments)[] = [];
  if (fragments.length === frames) fragments.forEach((each) => groups.push([each]));
  else if (frames === 1) groups.push(fragments);
  else {
    const table = basicOffsetTable.length === frames ? basicOffsetTable : jpegOffsets(bytes, fragments);
    for (const [k, start] of table.entries()) {
      const end = table[k + 1] ?? Infinity;
      groups.push(fragments.filter(({ offset }) => offset >= start && offset < end));
    }
  }
  if (groups.length !== frames || groups.some((group) => group.length === 0)) {
    throw new DicomError(name, `${fragments.length} fragments of pixels`, `those of ${frames} frame(s)`);
  }
  return (frame) => {
    const group = groups[frame];
    const out = new Uint8Array(group.reduce((sum, { length }) => sum + length, 0));
    let at = 0;
    for (const { position, length } of group) {
      out.set(bytes.subarray(position, position + length), at);
      at += length;
    }
    return out;
  };
}

/** Offsets of the fragments that begin a JPEG image, for files without a table of them. */
const jpegOffsets = (bytes: Bytes, fragments: NonNullable<Element["fragments"]>): number[] =>
  fragments.filter(({ position }) => bytes[position] === 0xff && [0xd8, 0x4f].includes(bytes[position + 1]))
    .map(({ offset }) => offset);

async function decode(packed: Bytes, syntax: string, where: string): Promise<DecodedFrame> {
  const { decoders } = await import("./codecs.ts");
  const decoder = Object.hasOwn(decoders, syntax) ? decoders[syntax] : undefined;
  if (!decoder) {
    const known = "uncompressed, RLE, JPEG, JPEG lossless, JPEG-LS or JPEG 2000; decompress it, for example by " +
      "dcmconv, dcmdjpeg or gdcmconv --raw";
    throw new DicomError(where, `pixels compressed as ${syntaxName(syntax)}`, known);
  }
  try {
    // Decoders make up what a truncated image lacks; all of these formats end with one marker, which is nowhere within.
    let end = packed.length;
    while (end >= 2 && !(packed[end - 2] === 0xff && packed[end - 1] === 0xd9)) end--;
    if (end < 2) throw new Error("they end too early");
    return await decoder(packed.slice(0, end));
  } catch (cause) {
    throw damaged(where, syntax, cause);
  }
}

function unpackDecoded(
  decoded: DecodedFrame,
  format: PixelFormat,
  where: string,
  into: Int32Array | Uint32Array,
): void {
  const { width, height, components, bits, data } = decoded;
  const { columns, rows, bitsAllocated, bitsStored } = format;
  const got = `${width} x ${height} pixels of ${components} component(s) and ${bits} bits`;
  if (
    width !== columns || height !== rows || components !== 1 || bits > bitsAllocated || data.length < rows * columns
  ) {
    throw new DicomError(where, got, `${columns} x ${rows}, gray, of ${bitsStored} bits, as its header says`);
  }
  // Decoders give values at the lowest bits.
  const bytes = new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);
  unpack(bytes, data.BYTES_PER_ELEMENT, { ...format, highBit: bitsStored - 1 }, into);
}

/** Takes the bits that are stored out of little-endian values, and extends their sign. */
function unpack(bytes: Uint8Array, width: number, format: PixelFormat, into: Int32Array | Uint32Array): void {
  const { bitsStored, highBit, signed } = format;
  const count = into.length;
  // From the highest bit of 32 down: the sign comes along.
  const up = 31 - highBit;
  const down = 32 - bitsStored;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let i = 0; i < count; i++) {
    const raw = width === 1 ? bytes[i] : width === 2 ? view.getUint16(2 * i, true) : view.getUint32(4 * i, true);
    into[i] = signed ? (raw << up) >> down : (raw << up) >>> down;
  }
}
