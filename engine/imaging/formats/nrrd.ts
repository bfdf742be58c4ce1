/** NRRD (teem.sourceforge.net/nrrd/format.html): .nrrd, .seg.nrrd of 3D Slicer, and .nhdr with its data file. */
import { gzip } from "../nifti/gzip.ts";
import { gunzip } from "../nifti/gunzip.ts";
import type { Affine } from "../volume/affine.ts";
import { columnNorms } from "../volume/affine.ts";
import { FormatError } from "../volume/format_error.ts";
import { VALUE_BYTES, type ValueType } from "../volume/raw_values.ts";
import { type Triple, type Volume, voxelCount } from "../volume/volume.ts";
import { checkSizes, finiteAffine, plainBytes, toRas } from "./checks.ts";
import { bytesOf, channelsLast, typeOf, valuesAt } from "./values.ts";

const TYPES: Readonly<Record<string, ValueType>> = Object.fromEntries(
  Object.entries({
    int8: "signed char,int8,int8_t",
    uint8: "uchar,unsigned char,uint8,uint8_t",
    int16: "short,short int,signed short,signed short int,int16,int16_t",
    uint16: "ushort,unsigned short,unsigned short int,uint16,uint16_t",
    int32: "int,signed int,int32,int32_t",
    uint32: "uint,unsigned int,uint32,uint32_t",
    int64: "longlong,long long,long long int,signed long long,signed long long int,int64,int64_t",
    uint64: "ulonglong,unsigned long long,unsigned long long int,uint64,uint64_t",
    float32: "float",
    float64: "double",
  }).flatMap(([type, names]) => names.split(",").map((name) => [name, type as ValueType])),
);

/** Signs of the first two patient axes against RAS, by the name of the space. */
const SPACES: Readonly<Record<string, readonly [number, number]>> = {
  ...{ "right-anterior-superior": [1, 1], "left-anterior-superior": [-1, 1], "left-posterior-superior": [-1, -1] },
  ...{ ras: [1, 1], las: [-1, 1], lps: [-1, -1] },
};

/** Longest header that is read. */
const LONGEST_HEADER = 2 ** 20;

export const isNrrd = (bytes: Uint8Array): boolean => /^NRRD000\d/.test(latin1(bytes, 0, 8));

const latin1 = (bytes: Uint8Array, from: number, to: number): string => {
  let text = "";
  for (const byte of bytes.subarray(from, to)) text += String.fromCharCode(byte);
  return text;
};

interface Header {
  readonly fields: ReadonlyMap<string, string>;
  /** Byte behind it. */
  readonly end: number;
}

function readHeader(bytes: Uint8Array, name: string): Header {
  if (!isNrrd(bytes)) throw new FormatError(name, "no NRRD magic", "an NRRD file");
  const text = latin1(bytes, 0, LONGEST_HEADER);
  const blank = /\r?\n\r?\n/.exec(text);
  // The header of a detached file may end with it.
  const end = blank ? blank.index + blank[0].length : bytes.length;
  if (end > LONGEST_HEADER) throw new FormatError(name, "a header without its end, an empty line", "an NRRD file");
  const fields = new Map<string, string>();
  for (const line of text.slice(0, end).split(/\r?\n/).slice(1)) {
    if (line.startsWith("#") || line.trim() === "") continue;
    const [, key, value] = /^([^:]+):[ \t]*(?!=)(.*)$/.exec(line) ?? [];
    if (key !== undefined) fields.set(key.trim().toLowerCase(), value.trim());
    else if (!line.includes(":=")) throw new FormatError(name, `the line "${line.slice(0, 60)}"`, '"field: value"');
  }
  return { fields, end };
}

/** The data file that a header names, relative to it; undefined if the data follow the header. */
export function nrrdDataFile(bytes: Uint8Array, name: string): string | undefined {
  const { fields } = readHeader(bytes, name);
  const file = fields.get("data file") ?? fields.get("datafile");
  if (file !== undefined && (/^list\b/i.test(file) || file.includes("%"))) {
    throw new FormatError(name, "data in several files", "data in one file, or in the header's own");
  }
  return file;
}

/**
 * Reads an NRRD file of three axes in space and at most one of channels. Axes without a direction are channels.
 *
 * @param data the data file of a detached header (.nhdr)
 * @throws FormatError if it is damaged, or of a kind that has no place in space
 * @example
 * ```ts
 * import { phantomCase, readNrrd, writeNrrd } from "voxgrad/imaging";
 *
 * const bytes = writeNrrd(phantomCase({ seed: 1, shape: [8, 8, 8] }).image);
 * readNrrd(bytes, "scan.nrrd").shape; // [8, 8, 8]
 * ```
 */
export function readNrrd(bytes: Uint8Array | ArrayBuffer, name = "NRRD data", data?: Uint8Array): Volume {
  const file = plainBytes(bytes);
  const { fields, end } = readHeader(file, name);
  const refuse = (got: string, wanted: string): FormatError => new FormatError(name, got, wanted);
  const field = (key: string): string => {
    const value = fields.get(key) ?? fields.get(key.replaceAll(" ", ""));
    if (value === undefined) throw refuse(`no field "${key}"`, "an NRRD file of a scan");
    return value;
  };
  if (data === undefined && nrrdDataFile(file, name) !== undefined) {
    throw refuse("a header whose data are in another file", "that file too: name the header by its path");
  }
  const type = TYPES[field("type").toLowerCase()];
  if (!type) throw refuse(`the type "${field("type").slice(0, 40)}"`, "numbers of 8 to 64 bits");
  const sizes = field("sizes").split(/\s+/).map(Number);
  const dimension = Number(field("dimension"));
  if (sizes.length !== dimension) throw refuse(`${sizes.length} sizes`, `${dimension}, its dimension`);
  const count = checkSizes(sizes, VALUE_BYTES[type], name);
  const { spatial, affine } = placement(fields, sizes.length, refuse);
  const other = sizes.map((_, axis) => axis).filter((axis) => !spatial.includes(axis));
  if (other.length > 1 || (other.length === 1 && other[0] !== 0 && other[0] !== 3)) {
    throw refuse(`${sizes.length} axes, of which ${spatial.length} lie in space`, "three, and channels first or last");
  }
  const channels = other.length === 1 ? sizes[other[0]] : 1;
  const values = valuesAt(content(fields, data ?? file.subarray(end), count * VALUE_BYTES[type], refuse), type, {
    count,
    littleEndian: VALUE_BYTES[type] === 1 || endianness(field("endian"), refuse),
    refuse,
  });
  const shape: Triple = [sizes[spatial[0]], sizes[spatial[1]], sizes[spatial[2]]];
  return {
    data: other[0] === 0 ? channelsLast(values, channels) : values,
    ...{ shape, channels, affine: finiteAffine(affine, name), spacing: columnNorms(affine), units: "mm", name },
  };
}

type Refuse = (got: string, wanted: string) => FormatError;

function endianness(value: string, refuse: Refuse): boolean {
  if (!/^(little|big)$/i.test(value)) throw refuse(`endian: ${value.slice(0, 40)}`, "little or big");
  return value.toLowerCase() === "little";
}

/** The axes in space, and the affine of their voxels. */
function placement(fields: Header["fields"], axes: number, refuse: Refuse): { spatial: number[]; affine: Affine } {
  const directions = fields.get("space directions");
  const units = fields.get("space units") ?? fields.get("units") ?? "";
  const unit = [...units.matchAll(/"([^"]*)"/g)].map(([, each]) => each).find((each) =>
    !/^(mm|millimeters?|)$/i.test(each)
  );
  if (unit !== undefined) throw refuse(`lengths in ${unit.slice(0, 20)}`, "millimeters");
  if (directions === undefined) {
    const spacings = (fields.get("spacings") ?? "").split(/\s+/).map(Number);
    if (axes !== 3 || spacings.length !== 3 || !spacings.every((step) => step > 0 && step < Infinity)) {
      throw refuse("neither space directions nor three spacings", "voxels with a place in space");
    }
    return {
      spatial: [0, 1, 2],
      affine: toRas([[spacings[0], 0, 0], [0, spacings[1], 0], [0, 0, spacings[2]]], [0, 0, 0]),
    };
  }
  const space = (fields.get("space") ?? "").toLowerCase();
  const signs = Object.hasOwn(SPACES, space) ? SPACES[space] : undefined;
  if (!signs) {
    throw refuse(
      `the space "${space.slice(0, 40)}"`,
      "right-anterior-superior, left-anterior-superior or left-posterior-superior",
    );
  }
  const vectors = [...directions.matchAll(/none|\(([^()]*)\)/gi)].map(([, inner]) => inner?.split(",").map(Number));
  const spatial = vectors.flatMap((vector, axis) => (vector ? [axis] : []));
  const origin = /^\(([^()]*)\)$/.exec(fields.get("space origin") ?? "(0,0,0)")?.[1].split(",").map(Number) ?? [];
  const lists = [...vectors.filter((vector) => vector !== undefined), origin];
  const wrong = lists.some((list) => list.length !== 3 || !list.every(Number.isFinite));
  if (vectors.length !== axes || spatial.length !== 3 || wrong) {
    throw refuse(`space directions ${directions.slice(0, 120)}`, "three vectors of three numbers, and an origin");
  }
  return { spatial, affine: toRas(spatial.map((axis) => vectors[axis]!), origin, signs) };
}

/** The stored values, unpacked. */
function content(
  fields: Header["fields"],
  stored: Uint8Array<ArrayBuffer> | Uint8Array,
  wanted: number,
  refuse: Refuse,
): Uint8Array {
  const skip = (key: string): number => Number(fields.get(key) ?? fields.get(key.replace(" ", "")) ?? 0);
  const [lines, bytes] = [skip("line skip"), skip("byte skip")];
  if (!(Number.isInteger(lines) && lines >= 0 && Number.isInteger(bytes) && bytes >= -1)) {
    throw refuse(`line skip ${lines}, byte skip ${bytes}`, "numbers from 0");
  }
  let at = 0;
  for (let line = 0; line < lines; line++) {
    at = stored.indexOf(10, at) + 1;
    if (at === 0) throw refuse(`fewer than ${lines} lines to skip`, "the whole file");
  }
  const encoding = (fields.get("encoding") ?? "").toLowerCase();
  if (encoding === "raw") return stored.subarray(bytes === -1 ? Math.max(0, stored.length - wanted) : at + bytes);
  if (encoding !== "gzip" && encoding !== "gz") {
    throw refuse(`the encoding "${encoding.slice(0, 40)}"`, "raw or gzip");
  }
  if (bytes !== 0) throw refuse("bytes to skip in gzip data", "none");
  try {
    return gunzip(plainBytes(stored.subarray(at)), { head: 0, wanted: () => wanted });
  } catch (cause) {
    throw new FormatError(refuse("", "").file, "damaged gzip data", `intact ones (${(cause as Error).message})`, cause);
  }
}

/** A label of a segmentation for 3D Slicer. */
export interface NrrdSegment {
  readonly name: string;
  readonly value: number;
  /** Red, green and blue from 0 to 1. */
  readonly color?: readonly number[];
}

/**
 * Encodes a volume as an NRRD file, gzipped, in the space left-posterior-superior.
 *
 * @param options segments: makes it a segmentation of 3D Slicer (.seg.nrrd), whose values these are
 * @returns the bytes of the file, the same for the same volume
 * @example
 * ```ts
 * import { phantomCase, writeNrrd } from "voxgrad/imaging";
 *
 * const { label } = phantomCase({ seed: 1 });
 * const bytes = writeNrrd(label, { segments: [{ name: "liver", value: 1 }] });
 * ```
 */
export function writeNrrd(
  volume: Volume,
  options: { segments?: readonly NrrdSegment[] } = {},
): Uint8Array<ArrayBuffer> {
  const { data, shape, channels, affine } = volume;
  const type = typeOf(data);
  const vector = (column: number): string =>
    `(${[-affine[column], -affine[4 + column], affine[8 + column]].map((v) => v + 0).join(",")})`;
  const several = channels > 1;
  const word = { float32: "float", float64: "double" }[type as string] ?? type;
  const lines = [
    "NRRD0004",
    `type: ${word}`,
    `dimension: ${several ? 4 : 3}`,
    "space: left-posterior-superior",
    `sizes: ${[...shape, ...(several ? [channels] : [])].join(" ")}`,
    `space directions: ${[vector(0), vector(1), vector(2), ...(several ? ["none"] : [])].join(" ")}`,
    `kinds: domain domain domain${several ? " list" : ""}`,
    "endian: little",
    "encoding: gzip",
    `space origin: ${vector(3)}`,
  ];
  for (const [k, { name, value, color }] of (options.segments ?? []).entries()) {
    const clean = name.replace(/[\r\n]+/g, " ");
    const entries = {
      ID: `Segment_${value}`,
      Name: clean,
      LabelValue: value,
      Layer: 0,
      ...(color && { Color: color.join(" ") }),
    };
    for (const [key, entry] of Object.entries(entries)) lines.push(`Segment${k}_${key}:=${entry}`);
    lines.push(`Segment${k}_Extent:=${shape.flatMap((size) => [0, size - 1]).join(" ")}`);
  }
  if (data.length !== voxelCount(shape) * channels) {
    throw new FormatError(volume.name, `${data.length} values`, `${channels} x ${shape.join(" x ")}`);
  }
  const head = new TextEncoder().encode(`${lines.join("\n")}\n\n`);
  const packed = gzip(bytesOf(data));
  const out = new Uint8Array(head.length + packed.length);
  out.set(head);
  out.set(packed, head.length);
  return out;
}
