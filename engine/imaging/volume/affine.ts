/** Affines between voxel indices and patient coordinates (RAS, mm), 4 x 4 and row-major, by gl-matrix. */
// By module, since bundlers keep all of a namespace that its index exports.
import * as mat4 from "#gl-matrix/mat4";

/** 16 numbers, row-major. */
export type Affine = readonly number[];

// gl-matrix is column-major and makes Float32Arrays; it is only passed our float64 arrays, and the transpose of a
// row-major matrix is the column-major one.
const columnMajor = (m: Affine): Float64Array => mat4.transpose(new Float64Array(16), m as number[]) as Float64Array;
const rowMajor = (m: Float64Array): number[] => [...mat4.transpose(new Float64Array(16), m)].map((v) => v + 0);

/**
 * Axes aligned with the patient's, spacing in mm, origin at voxel (default 0, 0, 0).
 *
 * @example
 * ```ts
 * import { scaling } from "voxgrad/imaging";
 *
 * scaling([1, 1, 3], [-10, 0, 5]).slice(0, 4); // [1, 0, 0, -10]
 * ```
 */
export const scaling = (spacing: readonly number[], origin: readonly number[] = [0, 0, 0]): Affine => [
  spacing[0],
  0,
  0,
  origin[0],
  0,
  spacing[1],
  0,
  origin[1],
  0,
  0,
  spacing[2],
  origin[2],
  0,
  0,
  0,
  1,
];

/** Length of each of the first three columns: the spacing in mm. */
export function columnNorms(affine: Affine): [number, number, number] {
  const norm = (c: number) => Math.sqrt(affine[c] ** 2 + affine[4 + c] ** 2 + affine[8 + c] ** 2);
  return [norm(0), norm(1), norm(2)];
}

/**
 * Patient coordinates of a voxel index.
 *
 * @example
 * ```ts
 * import { applyAffine, scaling } from "voxgrad/imaging";
 *
 * applyAffine(scaling([1, 1, 3], [-10, 0, 5]), [2, 4, 1]); // [-8, 4, 8]
 * ```
 */
export function applyAffine(affine: Affine, point: readonly number[]): [number, number, number] {
  const row = (r: number) =>
    affine[4 * r] * point[0] + affine[4 * r + 1] * point[1] + affine[4 * r + 2] * point[2] + affine[4 * r + 3];
  return [row(0), row(1), row(2)];
}

/**
 * Applies `b` first, then `a`.
 *
 * @example
 * ```ts
 * import { applyAffine, composeAffines, scaling } from "voxgrad/imaging";
 *
 * const both = composeAffines(scaling([2, 2, 2]), scaling([1, 1, 1], [5, 0, 0]));
 * applyAffine(both, [1, 1, 1]); // [12, 2, 2]
 * ```
 */
export const composeAffines = (a: Affine, b: Affine): Affine =>
  rowMajor(mat4.multiply(new Float64Array(16), columnMajor(a), columnMajor(b)) as Float64Array);

/**
 * The inverse, or undefined for a singular affine.
 *
 * @example
 * ```ts
 * import { applyAffine, invertAffine, scaling } from "voxgrad/imaging";
 *
 * const toVoxels = invertAffine(scaling([1, 1, 3], [-10, 0, 5]))!;
 * applyAffine(toVoxels, [-8, 4, 8]); // [2, 4, 1]
 * ```
 */
export function invertAffine(affine: Affine): Affine | undefined {
  const inverse = mat4.invert(new Float64Array(16), columnMajor(affine));
  return inverse ? rowMajor(inverse as Float64Array) : undefined;
}

/**
 * NIfTI method 2: an affine from a quaternion, an offset and steps; `qfac` is the sign of the third axis.
 * Source: nifti1.h. Where rounding gives b^2 + c^2 + d^2 > 1, (b, c, d) is normalized as the NIfTI C library does.
 */
export function affineFromQuaternion(options: {
  quaternion: readonly number[];
  offset: readonly number[];
  spacing: readonly number[];
  qfac: number;
}): Affine {
  const { quaternion, offset, spacing, qfac } = options;
  let [b, c, d] = quaternion as [number, number, number];
  let a = 1 - (b * b + c * c + d * d);
  if (a < 1e-7) {
    const scale = 1 / Math.sqrt(b * b + c * c + d * d);
    [b, c, d, a] = [b * scale, c * scale, d * scale, 0];
  } else {
    a = Math.sqrt(a);
  }
  const scale = [spacing[0], spacing[1], spacing[2] * (qfac < 0 ? -1 : 1)];
  return rowMajor(
    mat4.fromRotationTranslationScale(
      new Float64Array(16),
      [b, c, d, a],
      [...offset] as [number, number, number],
      scale as [number, number, number],
    ) as Float64Array,
  );
}

/**
 * For each voxel axis the patient axis nearest to it and its direction, as nibabel names it: "RAS", "LPS", "AIL".
 *
 * @example
 * ```ts
 * import { axisCodes, scaling } from "voxgrad/imaging";
 *
 * axisCodes(scaling([1, 1, 1])); // "RAS"
 * axisCodes([-1, 0, 0, 0, 0, -1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]); // "LPS"
 * ```
 */
export function axisCodes(affine: Affine): string {
  const norms = columnNorms(affine);
  const names = ["LR", "PA", "IS"];
  const free = new Set([0, 1, 2]);
  const codes = ["", "", ""];
  // Strongest match first, so that two voxel axes never take the same patient axis.
  const pairs = [0, 1, 2].flatMap((c) => [0, 1, 2].map((r) => ({ c, r, cosine: affine[4 * r + c] / (norms[c] || 1) })));
  for (const { c, r, cosine } of pairs.sort((p, q) => Math.abs(q.cosine) - Math.abs(p.cosine))) {
    if (codes[c] !== "" || !free.has(r)) continue;
    free.delete(r);
    codes[c] = names[r][cosine < 0 ? 0 : 1];
  }
  return codes.join("");
}

/** The largest distance in mm between where two affines place the corners of one grid. */
export function cornerDistance(a: Affine, b: Affine, shape: readonly number[]): number {
  let largest = 0;
  for (let corner = 0; corner < 8; corner++) {
    const point = [0, 1, 2].map((axis) => ((corner >> axis) & 1) * (shape[axis] - 1));
    const [p, q] = [applyAffine(a, point), applyAffine(b, point)];
    largest = Math.max(largest, Math.sqrt((p[0] - q[0]) ** 2 + (p[1] - q[1]) ** 2 + (p[2] - q[2]) ** 2));
  }
  return largest;
}
