/** The frames of a DICOM file as slices: where they lie, and how stored values become quantities. */
import { type DataSet, type DicomFile, items, number, numbers, text, uint16 } from "./dicom_file.ts";
import { DicomError } from "./dicom_error.ts";
import type { DicomSlice, LpsVector as Vector } from "../volume/volume.ts";

/** One frame of a file. */
export interface Slice extends DicomSlice {
  /** Name of its file. */
  readonly file: string;
  /** Distance to the next slice, or thickness, in mm, for a series of one slice. */
  readonly step: number | undefined;
  readonly slope: number;
  readonly intercept: number;
  /** Bits of the stored values, and whether they have a sign. */
  readonly bits: number;
  readonly signed: boolean;
}

/** How pixels are stored; the same for all frames of a file. */
export interface PixelFormat {
  readonly bitsAllocated: number;
  readonly bitsStored: number;
  /** Number of the highest bit of a value. */
  readonly highBit: number;
  readonly signed: boolean;
  readonly rows: number;
  readonly columns: number;
  readonly frames: number;
}

const COLORS = "one gray value per pixel (MONOCHROME2 or MONOCHROME1); export the series from before it was colored";

/**
 * How a file's pixels are stored.
 *
 * @throws DicomError for colors, palettes and sizes that are none
 */
export function pixelFormat({ elements, name }: DicomFile): PixelFormat {
  const required = (tag: string, what: string): number => {
    const value = uint16(elements, tag, name);
    if (value === undefined) throw new DicomError(name, `no ${what}`, "an image");
    return value;
  };
  const rows = required("x00280010", "number of rows (0028,0010)");
  const columns = required("x00280011", "number of columns (0028,0011)");
  if (rows === 0 || columns === 0) throw new DicomError(name, `${columns} x ${rows} pixels`, "an image");
  const samples = uint16(elements, "x00280002", name) ?? 1;
  const photometric = text(elements, "x00280004") ?? "MONOCHROME2";
  if (samples !== 1 || !/^MONOCHROME[12]$/.test(photometric)) {
    throw new DicomError(name, `${samples} sample(s) per pixel, ${photometric}`, COLORS);
  }
  const bitsAllocated = required("x00280100", "bits allocated (0028,0100)");
  const bitsStored = uint16(elements, "x00280101", name) ?? bitsAllocated;
  const highBit = uint16(elements, "x00280102", name) ?? bitsStored - 1;
  const representation = uint16(elements, "x00280103", name) ?? 0;
  const fits = [1, 8, 16, 32].includes(bitsAllocated) && bitsStored >= 1 && highBit < bitsAllocated &&
    highBit + 1 >= bitsStored && representation <= 1;
  if (!fits) {
    const got = `${bitsStored} bits up to bit ${highBit} in ${bitsAllocated}, representation ${representation}`;
    throw new DicomError(name, got, "8, 16 or 32 bits allocated, and the bits stored within");
  }
  const frames = number(elements, "x00280008", name) ?? 1;
  if (!(Number.isInteger(frames) && frames >= 1)) throw new DicomError(name, `${frames} frames`, "1 or more");
  return { bitsAllocated, bitsStored, highBit, signed: representation === 1, rows, columns, frames };
}

/** The data sets that describe a frame: its own functional groups, those that all frames share, the file. */
export function frameGroups(elements: DataSet): (frame: number) => (sequence: string) => DataSet | undefined {
  const [shared] = items(elements, "x52009229");
  const own = items(elements, "x52009230");
  return (frame) => (sequence) =>
    (own[frame] && items(own[frame], sequence)[0]) ?? (shared && items(shared, sequence)[0]);
}

/**
 * The frames of a file, in its order.
 *
 * @throws DicomError if something is missing that says where a frame lies, or values are mapped by a table
 */
export function slicesOf(file: DicomFile): Slice[] {
  const { elements, name } = file;
  const { rows, columns, frames, bitsStored: bits, signed } = pixelFormat(file);
  const instance = text(elements, "x00080018") ?? "";
  const groupsOf = frameGroups(elements);
  if (frames > 2 ** 20) throw new DicomError(name, `${frames} frames`, "at most 1048576");
  if (elements.elements.x00283000) {
    throw new DicomError(name, "a table for its values (Modality LUT, 0028,3000)", "a rescale slope and intercept");
  }
  return Array.from({ length: frames }, (_, frame): Slice => {
    const groups = groupsOf(frame);
    const where = frames > 1 ? `${name}, frame ${frame + 1}` : name;
    /** Numbers of a functional group or of the file itself. */
    const read = (sequence: string, tag: string, count: number): number[] | undefined => {
      const group = groups(sequence);
      // A position of the file itself is that of its first frame alone.
      const own = group ?? (frames === 1 || tag !== "x00200032" ? elements : undefined);
      return own && numbers(own, tag, where, count);
    };
    const position = read("x00209113", "x00200032", 3);
    if (!position) throw new DicomError(frame > 0 ? where : name, "no position of its slices (0020,0032)", WANTED);
    const cosines = read("x00209116", "x00200037", 6);
    if (!cosines) throw new DicomError(where, "no orientation (Image Orientation Patient, 0020,0037)", WANTED);
    const spacing = read("x00289110", "x00280030", 2);
    if (!spacing) throw new DicomError(where, "no pixel spacing (0028,0030)", WANTED);
    if (!(spacing[0] > 0 && spacing[1] > 0)) {
      throw new DicomError(where, `a pixel spacing of ${spacing.join(" x ")} mm`, "distances above 0");
    }
    const [right, down] = directions(cosines, where);
    const step = read("x00289110", "x00180088", 1)?.[0] ?? read("x00289110", "x00180050", 1)?.[0];
    const slope = read("x00289145", "x00281053", 1)?.[0] ?? 1;
    const intercept = read("x00289145", "x00281052", 1)?.[0] ?? 0;
    if (slope === 0) throw new DicomError(where, "a rescale slope of 0", "one that keeps the values apart");
    return {
      ...{ file: name, frame, instance, columns, rows, right, down, slope, intercept, bits, signed },
      position: position as unknown as Vector,
      pixel: [spacing[1], spacing[0]],
      step: step === undefined ? undefined : Math.abs(step) || undefined,
    };
  });
}

const WANTED = "a slice of a volume, as CT, MR and PET series have them";

/** Unit vectors of the six direction cosines. */
function directions(cosines: readonly number[], where: string): [Vector, Vector] {
  const [right, down] = [cosines.slice(0, 3), cosines.slice(3)];
  const [a, b] = [Math.hypot(...right), Math.hypot(...down)];
  const dot = right.reduce((sum, value, axis) => sum + value * down[axis], 0);
  if (!(Math.abs(a - 1) < 0.01 && Math.abs(b - 1) < 0.01 && Math.abs(dot) < 0.01)) {
    throw new DicomError(
      where,
      `the direction cosines ${cosines.join(", ")}`,
      "two unit vectors at right angles (0020,0037)",
    );
  }
  const unit = (vector: readonly number[], length: number) => vector.map((v) => v / length) as unknown as Vector;
  return [unit(right, a), unit(down, b)];
}

export const dot = (a: Vector, b: Vector): number => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
export const cross = (a: Vector, b: Vector): Vector => [
  a[1] * b[2] - a[2] * b[1],
  a[2] * b[0] - a[0] * b[2],
  a[0] * b[1] - a[1] * b[0],
];
export const minus = (a: Vector, b: Vector): Vector => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
