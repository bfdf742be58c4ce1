/** DICOM files as volumes. */
import { columnNorms } from "../volume/affine.ts";
import { checkMemory } from "../volume/memory.ts";
import type { DicomSlice, Triple, Volume, VoxelData } from "../volume/volume.ts";
import { parseDicom } from "./dicom_file.ts";
import { DicomError } from "./dicom_error.ts";
import { seriesGrid } from "./geometry.ts";
import { frameReader } from "./pixels.ts";
import { chooseSeries, findSeries, type Series, type SourceFile } from "./series.ts";
import type { Slice } from "./slice.ts";
import { readSegmentation } from "./read_segmentation.ts";
import { straightened } from "./tilt.ts";

/**
 * Reads a series as a volume: slices sorted by position, values by each slice's rescale slope and intercept. Axes are
 * column, row and slice. A series of a tilted gantry is resampled linearly, within its slices, onto a grid of right
 * angles.
 *
 * @param files of one series, or of several of which one is chosen; others may lie between
 * @param name for messages and `volume.name`
 * @param series id, number or UID of the series
 * @throws DicomError naming the file or series, and what is wrong
 */
export async function readDicom(files: readonly SourceFile[], name: string, series?: string): Promise<Volume> {
  const found = await findSeries(files);
  if (found.series.length === 0 && found.segmentations.length === 1) {
    return readSegmentation(found.segmentations[0], name);
  }
  return readSeries(chooseSeries(found, name, series), name);
}

/** Reads a series that was found. */
export async function readSeries(series: Series, name: string): Promise<Volume> {
  const { slices, affine, shift } = seriesGrid(series.slices, name);
  const [{ columns, rows }] = slices;
  const count = columns * rows;
  const shape: Triple = [columns, rows, slices.length];
  const all = count * slices.length;
  checkMemory(8 * all, `${name}: reading its series`, "crop it, or resample it to larger pixels", all);
  const data = new (typeFor(slices))(all);
  const places = new Map<string, { slice: Slice; z: number }[]>();
  for (const [z, slice] of slices.entries()) {
    const own = places.get(slice.file);
    if (own) own.push({ slice, z });
    else places.set(slice.file, [{ slice, z }]);
  }
  for (const [file, own] of places) {
    const { format, read } = frameReader(parseDicom(await series.files.get(file)!.read(), file));
    if (format.rows !== rows || format.columns !== columns) throw new DicomError(file, "another size", "it unchanged");
    const stored = format.signed ? new Int32Array(count) : new Uint32Array(count);
    for (const { slice: { frame, slope, intercept }, z } of own) {
      await read(frame, stored);
      const from = z * count;
      for (let i = 0; i < count; i++) data[from + i] = stored[i] * slope + intercept;
    }
  }
  const volume: Volume = {
    ...{ data, shape, channels: 1, affine, spacing: columnNorms(affine), units: "mm", name },
    dicom: {
      sopClass: series.sopClass,
      series: series.uid,
      modality: series.modality,
      identifying: series.identifying,
      slices: slices.map(placeOf),
      attributes: series.attributes,
    },
  };
  return shift ? straightened(volume, shift) : volume;
}

const placeOf = ({ instance, frame, columns, rows, position, right, down, pixel }: Slice): DicomSlice => ({
  ...{ instance, frame, columns, rows, position, right, down, pixel },
});

/** The smallest type that holds every value: of integers, if scales and shifts are integers. */
function typeFor(slices: readonly Slice[]): new (n: number) => VoxelData {
  let [lowest, highest, whole, bits] = [Infinity, -Infinity, true, 0];
  for (const { slope, intercept, bits: own, signed } of slices) {
    const ends = (signed ? [-(2 ** (own - 1)), 2 ** (own - 1) - 1] : [0, 2 ** own - 1]).map((v) =>
      v * slope + intercept
    );
    lowest = Math.min(lowest, ...ends);
    highest = Math.max(highest, ...ends);
    whole &&= Number.isInteger(slope) && Number.isInteger(intercept);
    bits = Math.max(bits, own);
  }
  if (!whole) return bits > 16 ? Float64Array : Float32Array;
  if (lowest >= -32768 && highest <= 32767) return Int16Array;
  if (lowest >= 0 && highest <= 65535) return Uint16Array;
  return lowest >= -(2 ** 31) && highest < 2 ** 31 ? Int32Array : Float64Array;
}
