/** Gray values of a scan: their range, and a window to begin with. */
export interface Tone {
  readonly min: number;
  readonly max: number;
  /** Values shown black and white. */
  readonly window: readonly [number, number];
  /** Whether the values look like Hounsfield units, for which there are named windows. */
  readonly hounsfield: boolean;
}

/** How many voxels are looked at for the window. */
const SAMPLES = 200_000;
/** Shares of the voxels below black and above white. */
const [BELOW, ABOVE] = [0.01, 0.995];

/** The tone of some values, of which those that are not finite are left out. */
export function toneOf(data: ArrayLike<number>): Tone {
  let [min, max] = [Infinity, -Infinity];
  for (let i = 0; i < data.length; i++) {
    const value = data[i];
    if (value < min && value > -Infinity) min = value;
    if (value > max && value < Infinity) max = value;
  }
  if (min > max) return { min: 0, max: 1, window: [0, 1], hounsfield: false };
  const hounsfield = min <= -900 && max >= 200 && max < 40_000;
  if (hounsfield) return { min, max, window: [-160, 240], hounsfield };
  // Air of exactly the smallest value says nothing of the tissue.
  const step = Math.max(1, Math.floor(data.length / SAMPLES));
  const seen: number[] = [];
  for (let i = 0; i < data.length; i += step) if (Number.isFinite(data[i]) && data[i] !== min) seen.push(data[i]);
  if (seen.length === 0) return { min, max, window: [min, max > min ? max : min + 1], hounsfield };
  const sorted = Float64Array.from(seen).sort();
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
  const [low, high] = [at(BELOW), at(ABOVE)];
  return { min, max, window: high > low ? [low, high] : [min, max], hounsfield };
}
