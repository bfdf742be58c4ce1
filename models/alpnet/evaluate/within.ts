/** Segments a scan from one of its own labeled slices, and evaluates the other slices. */
import { VoxgradError } from "../../../engine/mod.ts";
import {
  axisCodes,
  type CaseGeometry,
  type ChannelPlan,
  type ClassComparison,
  type ComparedClass,
  compareLabels,
  type LoadedCase,
  nonZeroBox,
  type Plan,
  preprocessCase,
  type Triple,
  type Volume,
  volumeLike,
} from "../../../engine/imaging/mod.ts";
import { ConfigError } from "../../../engine/train/mod.ts";
import { copiedSegmenter } from "../copied.ts";
import { oneShotSegmenter } from "../scans.ts";
import { largestSlices, sliceRanges } from "../slices.ts";
import { patientAxis, storedAxis } from "../support.ts";
import type { OneShotModel, OneShotOptions, OneShotSegmentOptions } from "../scans.ts";
import type { SliceRange, SupportScan } from "../slices.ts";

/** Options for preparing a single scan. */
export interface ScanPlanOptions {
  /**
   * "plan": pixel size, intensities and slice axis of the encoder's plan. "own", for an encoder of another kind of
   * scan: slices across the scan's coarsest axis (along the body if all are alike), the pixel size that gives slices as
   * many pixels as the encoder's, intensities clipped by `clip` and z-scored over this scan.
   */
  readonly preparation: "plan" | "own";
  /** Of "own": pixels along the longer edge of a slice; default: as many pixels in all as the encoder's slices. */
  readonly side?: number | undefined;
  /** Of "own": [low, high] of intensities; default: the 0.5th and 99.5th percentile. */
  readonly clip?: readonly [number, number] | undefined;
}

/** Most values to compute percentiles from. */
const SAMPLE = 1_000_000;

/**
 * A plan for one scan that only resamples within slices, so that a labeled slice is one prepared slice.
 *
 * @param plan of the encoder
 * @throws VoxgradError for an invalid clip, or another number of channels than the plan's
 */
export function planOfScan(image: Volume, plan: Plan, { preparation, side, clip }: ScanPlanOptions): Plan {
  const spacingOf = (axes: Pick<Plan, "orientation" | "transpose">, k: number): number =>
    image.spacing[storedAxis(image, axes, k)];
  if (preparation === "plan") return { ...plan, spacing: [spacingOf(plan, 0), plan.spacing[1], plan.spacing[2]] };
  if (image.channels !== plan.channels.length) {
    throw new VoxgradError(
      `${image.name}: it has ${image.channels} channel(s), the encoder takes ${plan.channels.length}; name other ` +
        "channels or train another",
    );
  }
  if (clip && !(clip[0] < clip[1])) {
    throw new VoxgradError(`clip: got ${clip.join(" to ")}, wanted a range from low to high`);
  }
  const { orientation } = plan;
  const still = { orientation, transpose: [0, 1, 2] as Triple };
  // Spacings within 1 % count as equal.
  const coarsest = [1, 2].reduce((a, b) => (spacingOf(still, b) > 1.01 * spacingOf(still, a) ? b : a), 0);
  const transpose = [coarsest, ...[0, 1, 2].filter((axis) => axis !== coarsest)] as unknown as Triple;
  const axes = { orientation, transpose };
  const box = nonZeroBox(image);
  const [down, across] = [1, 2].map((k) => box.size[storedAxis(image, axes, k)] * spacingOf(axes, k)) as [
    number,
    number,
  ];
  const [, h, w] = plan.fingerprint.medianPreparedShape;
  const pixel = side ? Math.max(down, across) / side : Math.sqrt((down * across) / (h * w));
  return {
    ...plan,
    transpose,
    spacing: [spacingOf(axes, 0), pixel, pixel],
    channels: plan.channels.map(({ name }, channel) => ownIntensities(image, name, channel, clip)),
  };
}

/** Clipped and z-scored by the scan's own statistics, within the non-zero box. */
function ownIntensities(image: Volume, name: string, channel: number, clip: ScanPlanOptions["clip"]): ChannelPlan {
  const { start, size } = nonZeroBox(image);
  const [X, Y, Z] = image.shape;
  const values = new Float64Array(size[0] * size[1] * size[2]);
  let to = 0;
  for (let z = start[2]; z < start[2] + size[2]; z++) {
    for (let y = start[1]; y < start[1] + size[1]; y++) {
      const line = ((channel * Z + z) * Y + y) * X + start[0];
      for (let x = 0; x < size[0]; x++) values[to++] = image.data[line + x];
    }
  }
  const step = Math.ceil(values.length / SAMPLE);
  const sorted = clip ? values : values.filter((_, i) => i % step === 0).sort();
  const [low, high] = clip ??
    [0.005, 0.995].map((share) => sorted[Math.round(share * (sorted.length - 1))]) as [number, number];
  const cut = values.map((value) => Math.min(high, Math.max(low, value)));
  const mean = cut.reduce((a, b) => a + b, 0) / cut.length;
  const deviation = Math.sqrt(cut.reduce((sum, value) => sum + (value - mean) ** 2, 0) / cut.length);
  return { name, normalization: "ct", mean, deviation, low, high };
}

/** Maps the slices of a prepared scan to the stored one. */
export interface SlicePlaces {
  /** The stored axis (0 x, 1 y, 2 z) that they are stacked along, and the shape of the stored scan. */
  readonly axis: 0 | 1 | 2;
  readonly shape: Triple;
  /** The same axis as named in pictures, and the number of slices there. */
  readonly along: "S" | "A" | "R";
  readonly count: number;
  /** Converts a stored index to the slice number in pictures, from 0 towards the head (front, right), and back. */
  shown(stored: number): number;
  /** The stored index of a prepared slice, and the prepared slice of a stored index. */
  stored(prepared: number): number;
  prepared(stored: number): number;
}

/**
 * The prepared slices of a range of slices, counted from 1 as in pictures.
 *
 * @throws ConfigError for a range outside the scan, or cropped away in preparation
 * @example
 * ```ts
 * import { preprocessImage, readPlan, readVolume } from "voxgrad/imaging";
 * import { preparedRange } from "voxgrad/models";
 *
 * const prepared = await preprocessImage(await readVolume("scan.nii.gz"), await readPlan("plan.json"));
 * const range = preparedRange({ id: "scan", ...prepared }, [10, 40]);
 * ```
 */
export function preparedRange(
  { id, shape, geometry }: { readonly id: string; readonly shape: Triple; readonly geometry: CaseGeometry },
  [first, last]: readonly [number, number],
): SliceRange {
  const places = slicePlaces(geometry);
  if (first > last || last > places.count) {
    throw new ConfigError(
      `--range: got ${first} to ${last}, and ${id} has slices 1 to ${places.count}; give the first and the last`,
    );
  }
  const ends = [first, last].map((slice) => places.prepared(places.shown(slice - 1))).sort((a, b) => a - b) as [
    number,
    number,
  ];
  // Slices at the plan's spacing that overlap the range.
  const scale = shape[0] / geometry.cropSize[0];
  const [from, to] = [
    Math.max(0, Math.floor(ends[0] * scale)),
    Math.min(shape[0], Math.ceil((ends[1] + 1) * scale)) - 1,
  ];
  if (from > to) {
    throw new ConfigError(`--range: slices ${first} to ${last} of ${id} are 0 throughout and cut away; give others`);
  }
  return [from, to];
}

/** @param geometry of a scan prepared by `planOfScan` */
export function slicePlaces(geometry: CaseGeometry): SlicePlaces {
  const { source, orientation, cropStart } = geometry;
  const axis = storedAxis(source, geometry, 0);
  const code = axisCodes(source.affine)[axis];
  const along = patientAxis(source, axis);
  const count = source.shape[axis];
  const turned = (index: number): number => (code === along ? index : count - 1 - index);
  // Slices of a reoriented scan are already in picture order.
  const kept = orientation === "stored" ? (index: number): number => index : turned;
  return {
    axis,
    shape: source.shape,
    along,
    count,
    shown: turned,
    stored: (prepared) => kept(cropStart[0] + prepared),
    prepared: (stored) => kept(stored) - cropStart[0],
  };
}

/** The stored slice index of each voxel. */
const sliceOf = ({ axis, shape }: SlicePlaces): (voxel: number) => number => {
  const stride = [1, shape[0], shape[0] * shape[1]][axis];
  return (voxel) => Math.floor(voxel / stride) % shape[axis];
};

/** Comparison of a class over all slices except the labeled one. */
export interface OtherSlices {
  /**
   * Overlap and volumes of the other slices; distances of the whole scan with the reference in the labeled slice, so
   * that leaving it out creates no surface. NaN if neither map has the class in another slice.
   */
  readonly compared: ClassComparison;
  /** Dice of each slice in picture order, NaN for the labeled one and where neither map has the class. */
  readonly bySlice: readonly number[];
}

/**
 * Compares a class in all slices except one.
 *
 * @param given stored index of the labeled slice
 */
export function compareOtherSlices(
  prediction: Volume,
  reference: Volume,
  { of, given, places }: { of: ComparedClass; given: number; places: SlicePlaces },
): OtherSlices {
  const IGNORED = 65535;
  const slice = sliceOf(places);
  const counts = new Float64Array(3 * places.count);
  const others = Uint16Array.from(reference.data);
  const filled = Uint16Array.from(prediction.data);
  for (let i = 0; i < others.length; i++) {
    const z = slice(i);
    const [inReference, inPrediction] = [
      of.values.includes(reference.data[i]),
      of.values.includes(prediction.data[i]),
    ];
    if (z === given) {
      others[i] = IGNORED;
      if (inReference) filled[i] = of.values[0];
      else if (inPrediction) filled[i] = 0;
      continue;
    }
    const at = 3 * places.shown(z);
    if (inReference && inPrediction) counts[at]++;
    if (inReference) counts[at + 1]++;
    if (inPrediction) counts[at + 2]++;
  }
  const [apart] = compareLabels(prediction, volumeLike(reference, others), { classes: [of], ignore: IGNORED });
  const [whole] = compareLabels(volumeLike(prediction, filled), reference, { classes: [of] });
  const { hausdorff, hausdorff95, hausdorff95MaxOfDirected, averageSymmetricSurfaceDistance, surfaceDice } = whole;
  const distances = { hausdorff, hausdorff95, hausdorff95MaxOfDirected, averageSymmetricSurfaceDistance, surfaceDice };
  return {
    compared: Number.isNaN(apart.dice) ? apart : { ...apart, ...distances },
    bySlice: Array.from(
      { length: places.count },
      (_, z) => (2 * counts[3 * z]) / (counts[3 * z + 1] + counts[3 * z + 2]),
    ),
  };
}

export interface WithinOptions extends ScanPlanOptions, Omit<OneShotOptions, "chunks" | "slices" | "nearest"> {
  /** Of the encoder. */
  readonly plan: Plan;
  /** Classes by their values in the label; one value each. */
  readonly classes: readonly ComparedClass[];
  /** The labeled slice, counted from 0 as in pictures; default: for each class the one that shows most of it. */
  readonly slice?: number | undefined;
  /** "known": only slices from the first to the last that show a class are segmented, as in the papers; else all. */
  readonly ranges: "known" | "unknown";
  /** As of oneShotSegmenter. */
  readonly onPrototypes?: OneShotSegmentOptions["onPrototypes"];
}

export interface WithinScan {
  /** Labels of the classes on the scan's own grid, also predicted in the labeled slice. */
  readonly prediction: Volume;
  readonly places: SlicePlaces;
  /** Pixels of a prepared slice. */
  readonly size: readonly [number, number];
  /**
   * By class; given: the labeled slice in picture order, -1 if the scan (or the requested slice) lacks the class;
   * copied: Dice of the others if they get the labeled slice's mask.
   */
  readonly classes: readonly (OtherSlices & { readonly given: number; readonly copied: number })[];
}

/**
 * Segments all slices of a scan from one of them, class by class, and compares the others with their labels.
 *
 * @param loaded image and label
 * @throws VoxgradError for a slice outside the scan or without a class, and as planOfScan
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { loadCase, openDataset, readPlan } from "voxgrad/imaging";
 * import { alpnet, segmentWithin } from "voxgrad/models";
 *
 * const [plan, dataset] = [await readPlan("plan.json"), await openDataset("data/CHAOS")];
 * const encoder = alpnet.encoder({ depth: 101, replaceStrideWithDilation: [false, true, true] });
 * const options = { plan, classes: [{ name: "liver", values: [1] }], preparation: "own", ranges: "known" } as const;
 * const scan = await loadCase(dataset, dataset.cases[0]);
 * const { classes: [liver] } = await segmentWithin(encoder, encoder.init(random.key(1)), scan, options);
 * liver.compared.dice;
 * ```
 */
export async function segmentWithin(
  model: OneShotModel,
  params: object,
  loaded: LoadedCase,
  options: WithinOptions,
): Promise<WithinScan> {
  const { plan, classes, preparation, side, clip, slice, ranges, onPrototypes, ...own } = options;
  const { image, label } = loaded;
  if (!label) throw new VoxgradError(`${image.name}: it has no label; one of its slices is to be the support`);
  const scanPlan = planOfScan(image, plan, { preparation, side, clip });
  const values = classes.map((each) => each.values[0]);
  const prepared = await preprocessCase(loaded, scanPlan);
  const places = slicePlaces(prepared.geometry);
  const scan = { ...prepared, label: Uint8Array.from(prepared.label, (value) => (values.includes(value) ? value : 0)) };
  const support = slice === undefined ? largestSlices(scan) : onlySlice(scan, places, slice, image.name);
  const slices = sliceRanges(support, values);
  const given = values.map((value) => slices.get(value)?.[0]);
  if (given.every((z) => z === undefined)) {
    const where = slice === undefined ? "as it is prepared" : `in slice ${slice + 1}`;
    throw new VoxgradError(
      `${image.name}: there is none of ${
        classes.map(({ name }) => name).join(", ")
      } ${where}; name another slice or class`,
    );
  }
  const one = { plan: scanPlan, slices: "chunks", chunks: 1 } as const;
  const segment = oneShotSegmenter(model, params, { ...own, ...one });
  const known = ranges === "known" ? { ranges: sliceRanges(scan, values) } : {};
  const prediction = await segment(prepared, [support], { ...known, onPrototypes });
  const copy = await copiedSegmenter(one)(prepared, [support], known);
  return {
    prediction,
    places,
    size: [scan.shape[1], scan.shape[2]],
    classes: classes.map((of, k) => {
      const z = given[k];
      // Classes that are not annotated are not evaluated.
      if (z === undefined) {
        return {
          given: -1,
          copied: NaN,
          compared: compareLabels(prediction, label, { classes: [of], labelsPresent: [] })[0],
          bySlice: [],
        };
      }
      const stored = places.stored(z);
      const compare = (labels: Volume) => compareOtherSlices(labels, label, { of, given: stored, places });
      return { given: places.shown(stored), ...compare(prediction), copied: compare(copy).compared.dice };
    }),
  };
}

/** A support reduced to the labels of one slice, numbered as in pictures. */
function onlySlice<S extends SupportScan>(scan: S, places: SlicePlaces, slice: number, name: string): S {
  const stored = Array.from({ length: places.count }, (_, index) => index).find((index) =>
    places.shown(index) === slice
  );
  if (stored === undefined) {
    throw new VoxgradError(`${name}: there is no slice ${slice + 1}; it has ${places.count} along this axis`);
  }
  const [z, area] = [places.prepared(stored), scan.shape[1] * scan.shape[2]];
  return { ...scan, label: scan.label.map((value, i) => (Math.floor(i / area) === z ? value : 0)) };
}
