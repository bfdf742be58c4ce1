/** MetaImage of ITK (itk.org/Wiki/MetaIO/Documentation): .mha, and .mhd with its data file. */
import { zlibSync } from "fflate";
import { contentSink } from "../nifti/gunzip.ts";
import { inflate } from "../nifti/inflate.ts";
import { columnNorms } from "../volume/affine.ts";
import { FormatError } from "../volume/format_error.ts";
import { VALUE_BYTES, type ValueType } from "../volume/raw_values.ts";
import { type Triple, type Volume, voxelCount } from "../volume/volume.ts";
import { checkSizes, finiteAffine, plainBytes, toRas } from "./checks.ts";
import { bytesOf, channelsLast, typeOf, valuesAt } from "./values.ts";

const TYPES: Readonly<Record<string, ValueType>> = {
  ...{ MET_UCHAR: "uint8", MET_CHAR: "int8", MET_SHORT: "int16", MET_USHORT: "uint16", MET_INT: "int32" },
  ...{ MET_UINT: "uint32", MET_LONG: "int32", MET_ULONG: "uint32", MET_LONG_LONG: "int64" },
  ...{ MET_ULONG_LONG: "uint64", MET_FLOAT: "float32", MET_DOUBLE: "float64" },
};
/** The names that are written: of two of a type the first. */
const NAMES = Object.fromEntries(Object.entries(TYPES).reverse().map(([name, type]) => [type, name]));

const LONGEST_HEADER = 2 ** 16;

/** Whether a file begins as a MetaImage header, whose first line is one of these. */
export const isMetaImage = (bytes: Uint8Array): boolean =>
  /^\s*(ObjectType\s*=\s*Image|NDims\s*=)/.test(String.fromCharCode(...bytes.subarray(0, 64)));

interface Header {
  readonly entries: ReadonlyMap<string, string>;
  readonly end: number;
}

function readHeader(bytes: Uint8Array, name: string): Header {
  const entries = new Map<string, string>();
  let at = 0;
  while (at < Math.min(bytes.length, LONGEST_HEADER)) {
    const found = bytes.indexOf(10, at);
    const end = found < 0 ? bytes.length : found + 1;
    let line = "";
    for (const byte of bytes.subarray(at, Math.min(end, at + 4096))) line += String.fromCharCode(byte);
    at = end;
    if (line.trim() === "") continue;
    const [, key, value] = /^\s*(\w+)\s*=\s*(.*?)\s*$/.exec(line) ?? [];
    if (key === undefined) throw new FormatError(name, `the line "${line.slice(0, 60).trim()}"`, '"Key = Value"');
    entries.set(key.toLowerCase(), value);
    // The data follow this line.
    if (key.toLowerCase() === "elementdatafile") return { entries, end: at };
  }
  throw new FormatError(name, "no ElementDataFile in its header", "a MetaImage file");
}

/** The data file that a header names, relative to it; undefined if the data follow the header. */
export function metaImageDataFile(bytes: Uint8Array, name: string): string | undefined {
  const file = readHeader(bytes, name).entries.get("elementdatafile")!;
  if (/^local$/i.test(file)) return undefined;
  if (/^list\b/i.test(file) || file.includes("%") || file === "") {
    throw new FormatError(name, `ElementDataFile = ${file.slice(0, 80)}`, "the data in one file, or LOCAL");
  }
  return file;
}

/**
 * Reads a MetaImage file of three dimensions.
 *
 * @param data the data file of a header (.mhd)
 * @throws FormatError if it is damaged or of another kind
 * @example
 * ```ts
 * import { phantomCase, readMetaImage, writeMetaImage } from "voxgrad/imaging";
 *
 * const bytes = writeMetaImage(phantomCase({ seed: 1, shape: [8, 8, 8] }).image);
 * readMetaImage(bytes, "scan.mha").shape; // [8, 8, 8]
 * ```
 */
export function readMetaImage(bytes: Uint8Array | ArrayBuffer, name = "MetaImage data", data?: Uint8Array): Volume {
  const file = plainBytes(bytes);
  const { entries, end } = readHeader(file, name);
  const refuse = (got: string, wanted: string): FormatError => new FormatError(name, got, wanted);
  if (data === undefined && metaImageDataFile(file, name) !== undefined) {
    throw refuse("a header whose data are in another file", "that file too: name the header by its path");
  }
  const first = (...keys: string[]): string | undefined =>
    keys.map((key) => entries.get(key)).find((v) => v !== undefined);
  const numbers = (text: string, count: number, what: string): number[] => {
    const found = text.split(/\s+/).map(Number);
    if (found.length !== count || !found.every(Number.isFinite)) {
      throw refuse(`${what} = ${text.slice(0, 80)}`, `${count} numbers`);
    }
    return found;
  };
  const flag = (...keys: string[]): boolean => /^(true|1|t|yes)$/i.test(first(...keys) ?? "false");
  if (entries.get("ndims") !== "3") {
    throw refuse(`NDims = ${(entries.get("ndims") ?? "").slice(0, 20)}`, "3 dimensions");
  }
  const type = TYPES[(entries.get("elementtype") ?? "").toUpperCase()];
  if (!type) {
    throw refuse(`ElementType = ${(entries.get("elementtype") ?? "").slice(0, 40)}`, "numbers of 8 to 64 bits");
  }
  if (entries.has("binarydata") && !flag("binarydata")) throw refuse("data as text", "BinaryData = True");
  const [slope, shift] = [first("elementtointensityfunctionslope"), first("elementtointensityfunctionoffset")];
  if (Number(slope ?? 1) !== 1 || Number(shift ?? 0) !== 0) {
    throw refuse("values that are scaled", "values as they are");
  }
  const sizes = numbers(first("dimsize") ?? "", 3, "DimSize");
  const [channels] = numbers(first("elementnumberofchannels") ?? "1", 1, "ElementNumberOfChannels");
  const count = checkSizes([...sizes, channels], VALUE_BYTES[type], name);
  const spacing = first("elementspacing", "elementsize");
  if (spacing === undefined) throw refuse("no ElementSpacing", "the distances of voxels in mm");
  const steps = numbers(spacing, 3, "ElementSpacing");
  if (!steps.every((step) => step > 0)) throw refuse(`ElementSpacing = ${steps.join(" ")}`, "distances above 0");
  const matrix = numbers(
    first("transformmatrix", "rotation", "orientation") ?? "1 0 0 0 1 0 0 0 1",
    9,
    "TransformMatrix",
  );
  const origin = numbers(first("offset", "origin", "position") ?? "0 0 0", 3, "Offset");
  const directions = steps.map((step, axis) => [0, 1, 2].map((row) => step * matrix[3 * axis + row]));
  const affine = finiteAffine(toRas(directions, origin), name);
  const skip = Number(first("headersize") ?? 0);
  if (!(Number.isInteger(skip) && skip >= -1)) throw refuse(`HeaderSize = ${skip}`, "a number of bytes, or -1");
  const wanted = count * VALUE_BYTES[type];
  let stored: Uint8Array = data ?? file.subarray(end);
  stored = stored.subarray(skip === -1 ? Math.max(0, stored.length - wanted) : skip);
  if (flag("compresseddata")) stored = unzlib(plainBytes(stored), wanted, name);
  const littleEndian = !flag("binarydatabyteordermsb", "elementbyteordermsb");
  const values = valuesAt(stored, type, { count, littleEndian, refuse });
  const shape: Triple = [sizes[0], sizes[1], sizes[2]];
  return {
    data: channelsLast(values, channels),
    ...{ shape, channels, affine, spacing: columnNorms(affine), units: "mm", name },
  };
}

/** Unpacks zlib data (RFC 1950), checked by their checksum. */
function unzlib(stored: Uint8Array<ArrayBuffer>, wanted: number, name: string): Uint8Array {
  try {
    if ((stored[0] & 15) !== 8 || (256 * stored[0] + stored[1]) % 31 !== 0) throw new Error("they are no zlib data");
    const sink = contentSink({ head: 0, wanted: () => wanted });
    const end = inflate(stored, 2, sink);
    const content = sink.buffer.subarray(0, sink.length);
    let [a, b] = [1, 0];
    for (let i = 0; i < content.length; i++) {
      a += content[i];
      if (a >= 65521) a -= 65521;
      b = (b + a) % 65521;
    }
    if (end + 4 > stored.length) throw new Error("they end too early");
    const sum = new DataView(stored.buffer, stored.byteOffset).getUint32(end, false);
    if (sum !== b * 65536 + a) throw new Error("they are damaged: the checksum differs");
    return content;
  } catch (cause) {
    throw new FormatError(name, "damaged compressed data", `intact ones (${(cause as Error).message})`, cause);
  }
}

/**
 * Encodes a volume as a MetaImage file with its data (.mha), compressed.
 *
 * @returns the bytes of the file, the same for the same volume
 * @example
 * ```ts
 * import { phantomCase, writeMetaImage } from "voxgrad/imaging";
 *
 * const bytes = writeMetaImage(phantomCase({ seed: 1 }).label);
 * ```
 */
export function writeMetaImage(volume: Volume): Uint8Array<ArrayBuffer> {
  const { data, shape, channels, affine, name } = volume;
  if (data.length !== voxelCount(shape) * channels) {
    throw new FormatError(name, `${data.length} values`, `${channels} x ${shape.join(" x ")}`);
  }
  const steps = columnNorms(affine);
  const lps = (row: number, column: number): number => (row < 2 ? -1 : 1) * affine[4 * row + column] + 0;
  const matrix = [0, 1, 2].flatMap((axis) => [0, 1, 2].map((row) => lps(row, axis) / steps[axis]));
  const packed = zlibSync(bytesOf(interleaved(volume)), { level: 6 });
  const lines = [
    ...["ObjectType = Image", "NDims = 3", "BinaryData = True", "BinaryDataByteOrderMSB = False"],
    ...["CompressedData = True", `CompressedDataSize = ${packed.length}`],
    `TransformMatrix = ${matrix.join(" ")}`,
    `Offset = ${[0, 1, 2].map((row) => lps(row, 3)).join(" ")}`,
    `ElementSpacing = ${steps.join(" ")}`,
    `DimSize = ${shape.join(" ")}`,
    ...(channels > 1 ? [`ElementNumberOfChannels = ${channels}`] : []),
    `ElementType = ${NAMES[typeOf(data)]}`,
    "ElementDataFile = LOCAL",
  ];
  const head = new TextEncoder().encode(`${lines.join("\n")}\n`);
  const out = new Uint8Array(head.length + packed.length);
  out.set(head);
  out.set(packed, head.length);
  return out;
}

/** The values with channels changing fastest. */
function interleaved({ data, channels }: Volume): Volume["data"] {
  if (channels === 1) return data;
  const out = data.slice();
  const count = data.length / channels;
  for (let c = 0, at = 0; c < channels; c++) for (let i = 0; i < count; i++) out[i * channels + c] = data[at++];
  return out;
}
