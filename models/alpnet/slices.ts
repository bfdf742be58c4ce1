/** Slices of labeled scans: which show a class, and which of them support a slice of another scan. */
/** A scan prepared by the plan, with labels in which each value above 0 is a class. */
export interface SupportScan {
  /** [C, ...shape] */
  readonly image: Float32Array<ArrayBuffer>;
  /** [...shape] */
  readonly label: Uint8Array;
  readonly shape: readonly [number, number, number];
}

/** First and last slice of a class. */
export type SliceRange = readonly [first: number, last: number];

/** Slice z of support n. */
export interface SupportSlice {
  readonly n: number;
  readonly z: number;
}

/** Which slices of the supports are compared with a slice. */
export interface SliceChoice {
  /**
   * "chunks" (default): a class is divided into parts along the slices of each support, and the slice in the middle of
   * a part supports the slices of that part (Ouyang et al., section 4.1, after Roy et al. 2020). "nearest": the labeled
   * slices of each support that are nearest in relative height.
   */
  readonly slices?: "chunks" | "nearest";
  /** Of "chunks": number of parts; default 3. */
  readonly chunks?: number;
  /** Of "nearest": how many slices of each support; default 1. */
  readonly nearest?: number;
}

/**
 * First and last slice that contain a label value.
 *
 * @returns undefined if no slice has it
 */
export function sliceRange(label: ArrayLike<number>, shape: readonly number[], value: number): SliceRange | undefined {
  const area = shape[1] * shape[2];
  let [first, last] = [-1, -1];
  for (let i = 0; i < label.length; i++) {
    if (label[i] !== value) continue;
    last = Math.floor(i / area);
    if (first < 0) first = last;
  }
  return first < 0 ? undefined : [first, last];
}

/** The slice range of each of the given values; absent values have no entry. */
export function sliceRanges(
  { label, shape }: Pick<SupportScan, "label" | "shape">,
  values: readonly number[],
): Map<number, SliceRange> {
  return new Map(values.flatMap((value): [number, SliceRange][] => {
    const range = sliceRange(label, shape, value);
    return range ? [[value, range]] : [];
  }));
}

/**
 * A support reduced, for each class, to the slice that shows most of it.
 *
 * @example
 * ```ts
 * import { largestSlices } from "voxgrad/models";
 *
 * const label = new Uint8Array([1, 0, 1, 1]); // two slices of two voxels
 * const support = largestSlices({ image: new Float32Array(4), label, shape: [2, 1, 2] });
 * support.label; // [0, 0, 1, 1]
 * ```
 */
export function largestSlices<S extends SupportScan>(support: S): S {
  const { label, shape } = support;
  const area = shape[1] * shape[2];
  const kept = new Uint8Array(label.length);
  for (const value of new Set(label)) {
    const counts = Array.from(
      { length: shape[0] },
      (_, z) => label.subarray(z * area, (z + 1) * area).filter((each) => each === value).length,
    );
    const z = counts.indexOf(Math.max(...counts));
    for (let i = z * area; i < (z + 1) * area; i++) if (value > 0 && label[i] === value) kept[i] = value;
  }
  return { ...support, label: kept };
}

/** The slices of a scan that show a class. */
export function shownSlices({ label, shape }: Pick<SupportScan, "label" | "shape">, value: number): number[] {
  const area = shape[1] * shape[2];
  return Array.from({ length: shape[0] }, (_, z) => z).filter((z) =>
    label.subarray(z * area, (z + 1) * area).includes(value)
  );
}

/** The middle slice of part c of a class; if it lacks the class, the nearest one with it. */
function middleSlice(shown: readonly number[], c: number, chunks: number): number {
  const [first, last] = [shown[0], shown[shown.length - 1]];
  const wanted = first + Math.floor(((last - first + 1) * (2 * c + 1)) / (2 * chunks));
  return nearestTo(shown, (z) => Math.abs(z - wanted))[0];
}

/** Numbers by a distance, the lower of equals first. */
const nearestTo = (list: readonly number[], distance: (z: number) => number): number[] =>
  [...list].sort((a, b) => distance(a) - distance(b) || a - b);

/**
 * Slices of a scan that share their support, with it.
 *
 * @param supports those that show the class
 * @param query depth: slices of the scan; range: those that show the class, if that is known; else slices at the same
 *   relative height of both scans
 * @returns every slice of the range, or of the scan, once
 */
export function supportGroups(
  supports: readonly Pick<SupportScan, "label" | "shape">[],
  value: number,
  { depth, range }: { readonly depth: number; readonly range?: SliceRange | undefined },
  { slices = "chunks", chunks = 3, nearest = 1 }: SliceChoice = {},
): { readonly chosen: readonly SupportSlice[]; readonly zs: readonly number[] }[] {
  const shown = supports.map((each) => shownSlices(each, value));
  const ends = shown.map((zs): SliceRange => [zs[0], zs[zs.length - 1]]);
  const [from, to] = range ?? [0, depth - 1];
  /** The height of slice z of the scan among the slices of support n. */
  const heightIn = (n: number, z: number): number => {
    if (!range) return ((z + 0.5) * supports[n].shape[0]) / depth - 0.5;
    const [first, last] = ends[n];
    return first + ((z - from + 0.5) * (last - first + 1)) / (to - from + 1) - 0.5;
  };
  const partOf = (z: number): number => {
    const [first, last] = range ?? ends[0];
    const at = range ? z : ((z + 0.5) * supports[0].shape[0]) / depth;
    return Math.min(chunks - 1, Math.max(0, Math.floor(((at - first) * chunks) / (last - first + 1))));
  };
  const chosenFor = (z: number): SupportSlice[] =>
    shown.flatMap((zs, n) =>
      slices === "chunks"
        ? [{ n, z: middleSlice(zs, partOf(z), chunks) }]
        : nearestTo(zs, (each) => Math.abs(each - heightIn(n, z))).slice(0, nearest).sort((a, b) => a - b).map((
          each,
        ) => ({
          n,
          z: each,
        }))
    );
  const groups = new Map<string, { chosen: SupportSlice[]; zs: number[] }>();
  for (let z = from; z <= to; z++) {
    const chosen = chosenFor(z);
    const key = chosen.map((each) => `${each.n}:${each.z}`).join();
    if (!groups.has(key)) groups.set(key, { chosen, zs: [] });
    groups.get(key)!.zs.push(z);
  }
  return [...groups.values()];
}
