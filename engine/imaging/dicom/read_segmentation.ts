/** DICOM segmentations as label maps. */
import { columnNorms } from "../volume/affine.ts";
import { checkMemory } from "../volume/memory.ts";
import type { Volume } from "../volume/volume.ts";
import { type DicomFile, items, numbers, parseDicom, text, uint16, valueBytes } from "./dicom_file.ts";
import { DicomError } from "./dicom_error.ts";
import { seriesGrid } from "./geometry.ts";
import type { SourceFile } from "./series.ts";
import { cross, dot, frameGroups, pixelFormat, type Slice, slicesOf } from "./slice.ts";

/**
 * Reads a DICOM segmentation as a label map, whose values are the numbers of segments. Slices between its frames that
 * have none are background.
 *
 * @throws DicomError if it is fractional, its segments overlap, or its frames lie on no even grid
 */
export async function readSegmentation(source: SourceFile, name: string): Promise<Volume> {
  const file = parseDicom(await source.read(), source.name);
  const { elements } = file;
  const kind = text(elements, "x00620001") ?? "";
  const format = pixelFormat(file);
  if (kind !== "BINARY" || format.bitsAllocated !== 1) {
    throw new DicomError(source.name, `a segmentation of the type ${kind || "that is not named"}`, "a binary one");
  }
  const bits = valueBytes(elements, "x7fe00010");
  const size = format.rows * format.columns;
  const wanted = Math.ceil((format.frames * size) / 8);
  if (!bits || bits.length < wanted) {
    throw new DicomError(source.name, `${bits?.length ?? 0} bytes of pixels`, `${wanted}: the file is truncated`);
  }
  const segments = segmentsOf(file, format.frames);
  const slices = slicesOf(file);
  const [{ right, down, step: stated }] = slices;
  const normal = cross(right, down);
  const heights = slices.map(({ position }) => dot(position, normal));
  const lowest = Math.min(...heights);
  const sorted = [...new Set(heights)].sort((a, b) => a - b);
  const gaps = sorted.slice(1).map((height, k) => height - sorted[k]).filter((gap) => gap > 1e-3);
  const spacing = spacingOf(file) ?? (gaps.length > 0 ? Math.min(...gaps) : stated);
  if (spacing === undefined) throw new DicomError(source.name, "no distance of slices (0018,0088)", "it");
  const places = heights.map((height) => Math.round((height - lowest) / spacing));
  const odd = heights.findIndex((height, k) => Math.abs(height - lowest - places[k] * spacing) > 0.05 * spacing + 1e-3);
  if (odd >= 0) {
    throw new DicomError(`${source.name}, frame ${odd + 1}`, "a frame between slices", `one of each ${spacing} mm`);
  }
  const count = Math.max(...places) + 1;
  checkMemory(2 * size * count, `${name}: reading its segmentation`, "crop it", size * count);
  const first = places.indexOf(0);
  const last = places.indexOf(count - 1);
  const all = evenSlices({ ...slices[first], step: spacing }, slices[last], count);
  const { affine, shift } = seriesGrid(all, source.name);
  if (shift) {
    throw new DicomError(source.name, "frames that are shifted against each other", "frames one above the other");
  }
  const data = Math.max(...segments) > 255 ? new Uint16Array(size * count) : new Uint8Array(size * count);
  for (const [frame, place] of places.entries()) {
    for (let i = 0, bit = frame * size; i < size; i++, bit++) {
      if ((bits[bit >> 3] >> (bit & 7) & 1) === 0) continue;
      const at = place * size + i;
      if (data[at] !== 0 && data[at] !== segments[frame]) {
        const got = `segments ${data[at]} and ${segments[frame]}, which overlap`;
        throw new DicomError(source.name, got, "one segment for each voxel");
      }
      data[at] = segments[frame];
    }
  }
  const shape = [format.columns, format.rows, count] as const;
  return { data, shape, channels: 1, affine, spacing: columnNorms(affine), units: "mm", name };
}

/** The number of each frame's segment. */
function segmentsOf({ elements, name }: DicomFile, frames: number): number[] {
  const groupsOf = frameGroups(elements);
  return Array.from({ length: frames }, (_, frame) => {
    const group = groupsOf(frame)("x0062000a");
    const where = `${name}, frame ${frame + 1}`;
    const segment = group && uint16(group, "x0062000b", where);
    if (!segment) throw new DicomError(where, "no number of a segment (0062,000B)", "that of the frame's segment");
    return segment;
  });
}

/** The distance of slices, from their centers, that the file states. */
function spacingOf({ elements, name }: DicomFile): number | undefined {
  const [shared] = items(elements, "x52009229");
  const [measures] = shared ? items(shared, "x00289110") : [];
  const spacing = measures && numbers(measures, "x00180088", name, 1)?.[0];
  return spacing === undefined || spacing === 0 ? undefined : Math.abs(spacing);
}

/** Slices at even distances from the first to the last. */
function evenSlices(first: Slice, last: Slice, count: number): Slice[] {
  const [x, y, z] = first.position.map((mm, axis) => (last.position[axis] - mm) / Math.max(1, count - 1));
  const [l, p, s] = first.position;
  return Array.from({ length: count }, (_, k): Slice => ({ ...first, position: [l + k * x, p + k * y, s + k * z] }));
}
