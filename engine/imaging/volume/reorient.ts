/** Reorients volumes without resampling. */
import { check, show } from "../../core/errors.ts";
import { axisCodes, columnNorms, composeAffines, cornerDistance } from "./affine.ts";
import type { Affine } from "./affine.ts";
import { voxelCount } from "./volume.ts";
import type { Triple, Volume, VoxelData } from "./volume.ts";

const AXES = ["LR", "PA", "IS"];
const OPPOSITE: Readonly<Record<string, string>> = { L: "R", R: "L", P: "A", A: "P", I: "S", S: "I" };
const axisOf = (letter: string): number => AXES.findIndex((pair) => pair.includes(letter));

/**
 * The same image with its axes in the order and direction nearest to `codes`: voxels are permuted and flipped, never
 * interpolated, and the affine is updated, so every voxel keeps its patient coordinates. Reorienting back with
 * `axisCodes(volume.affine)` restores the first volume. An oblique volume stays oblique.
 *
 * @param volume of any number of channels; returned itself if it already has these codes
 * @param codes where each voxel axis x, y, z points to: one letter each of L or R, P or A, I or S
 * @throws VoxgradError for other codes
 * @example
 * ```ts
 * import { axisCodes, phantomCase, reorient } from "voxgrad/imaging";
 *
 * const turned = reorient(phantomCase({ seed: 1 }).image, "LPS");
 * axisCodes(turned.affine); // "LPS"
 * ```
 */
export function reorient(volume: Volume, codes = "RAS"): Volume {
  const wanted = [...codes];
  check(
    wanted.length === 3 && new Set(wanted.map(axisOf)).size === 3 && !wanted.map(axisOf).includes(-1),
    "reorient",
    () => `codes are one letter each of L or R, P or A, I or S, such as "RAS"; got ${show(codes)}`,
  );
  if (axisCodes(volume.affine) === codes) return volume;
  const { from, flip, shape, affine } = turnedGrid(volume, codes);
  const { source } = volume;
  const dims = source && source.dims.length > 2 ? [...shape, ...source.dims.slice(3)] : source?.dims;
  return {
    ...volume,
    data: permuted(volume, from, flip, shape),
    shape,
    affine,
    spacing: columnNorms(affine),
    ...(source ? { source: { ...source, dims: dims! } } : {}),
  };
}

/**
 * The grid of a volume reoriented to `codes`: new axis k is old axis from[k], reversed if flip[k].
 *
 * @param grid shape [X, Y, Z] and affine of the volume
 * @param codes as those of `reorient`
 */
export function turnedGrid(
  grid: Pick<Volume, "shape" | "affine">,
  codes: string,
): { from: readonly number[]; flip: readonly boolean[]; shape: Triple; affine: Affine } {
  const wanted = [...codes];
  const now = axisCodes(grid.affine);
  const from = wanted.map((letter) => [...now].findIndex((other) => axisOf(other) === axisOf(letter)));
  const flip = wanted.map((letter, k) => letter !== now[from[k]]);
  const old = grid.shape;
  const shape: Triple = [old[from[0]], old[from[1]], old[from[2]]];
  const toOld = new Array<number>(16).fill(0);
  toOld[15] = 1;
  for (let k = 0; k < 3; k++) {
    toOld[4 * from[k] + k] = flip[k] ? -1 : 1;
    if (flip[k]) toOld[4 * from[k] + 3] = shape[k] - 1;
  }
  return { from, flip, shape, affine: composeAffines(grid.affine, toOld) };
}

/** All 48 orders and directions of axes. */
const TURNS = ["LPS", "LSP", "PLS", "PSL", "SLP", "SPL"].flatMap((order) =>
  Array.from(
    { length: 8 },
    (_, bits) => [...order].map((letter, k) => ((bits >> k) & 1 ? OPPOSITE[letter] : letter)).join(""),
  )
);

/**
 * Reorients a volume to the voxel order of another that covers the same grid; undefined if no reorientation matches.
 *
 * @param tolerance largest distance, in voxels, between corresponding corners; default 0.05
 * @returns the volume itself if it already has that order
 */
export function turnedOnto(
  volume: Volume,
  onto: Pick<Volume, "shape" | "affine" | "spacing">,
  tolerance = 0.05,
): Volume | undefined {
  const most = tolerance * Math.min(...onto.spacing);
  const fits = ({ shape, affine }: Pick<Volume, "shape" | "affine">): boolean =>
    shape.every((n, axis) => n === onto.shape[axis]) && cornerDistance(affine, onto.affine, shape) <= most;
  if (fits(volume)) return volume;
  const codes = TURNS.find((each) => fits(turnedGrid(volume, each)));
  return codes === undefined ? undefined : reorient(volume, codes);
}

function permuted(volume: Volume, from: readonly number[], flip: readonly boolean[], shape: Triple): VoxelData {
  const { data, shape: old, channels } = volume;
  const strides = [1, old[0], old[0] * old[1]];
  const [sx, sy, sz] = from.map((axis, k) => (flip[k] ? -strides[axis] : strides[axis]));
  const first = from.reduce((sum, axis, k) => sum + (flip[k] ? (shape[k] - 1) * strides[axis] : 0), 0);
  const count = voxelCount(shape);
  const out = new (data.constructor as new (n: number) => VoxelData)(data.length);
  let to = 0;
  for (let channel = 0; channel < channels; channel++) {
    for (let z = 0; z < shape[2]; z++) {
      for (let y = 0; y < shape[1]; y++) {
        let at = channel * count + first + z * sz + y * sy;
        for (let x = 0; x < shape[0]; x++, at += sx) out[to++] = data[at];
      }
    }
  }
  return out;
}
