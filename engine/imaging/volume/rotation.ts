/** The rotation of an affine, by gl-matrix. */
import * as mat3 from "#gl-matrix/mat3";
import { type Affine, columnNorms } from "./affine.ts";

/**
 * Determinant of the 3 x 3 part: mm^3 of a voxel, negative for a left-handed grid.
 *
 * @example
 * ```ts
 * import { determinant, scaling } from "voxgrad/imaging";
 *
 * determinant(scaling([0.8, 0.8, 2.5])); // 1.6
 * ```
 */
export const determinant = (affine: Affine): number =>
  mat3.determinant([
    affine[0],
    affine[1],
    affine[2],
    affine[4],
    affine[5],
    affine[6],
    affine[8],
    affine[9],
    affine[10],
  ]);

/**
 * The quaternion form of an affine: the arguments of `affineFromQuaternion`, or undefined if the axes are not at right
 * angles (cosine above 1e-4) or the affine is singular, which that form cannot express.
 */
export function quaternionFromAffine(affine: Affine) {
  const spacing = columnNorms(affine);
  if (!(Math.min(...spacing) > 0)) return undefined;
  const qfac = determinant(affine) < 0 ? -1 : 1;
  const column = (c: number): [number, number, number] => {
    const scale = spacing[c] * (c === 2 ? qfac : 1);
    return [affine[c] / scale, affine[4 + c] / scale, affine[8 + c] / scale];
  };
  const [x, y, z] = [column(0), column(1), column(2)];
  const dot = (p: number[], q: number[]) => Math.abs(p[0] * q[0] + p[1] * q[1] + p[2] * q[2]);
  if (Math.max(dot(x, y), dot(y, z), dot(x, z)) > 1e-4) return undefined;
  // The largest of the four components is computed from the diagonal, the rest from it, to avoid roots of tiny numbers.
  const [xx, yy, zz] = [x[0], y[1], z[2]];
  const squares = [1 + xx + yy + zz, 1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz];
  const largest = squares.indexOf(Math.max(...squares));
  const half = Math.sqrt(squares[largest]);
  const [s, t] = [half / 2, 0.5 / half];
  const minus = [y[2] - z[1], z[0] - x[2], x[1] - y[0]];
  const plus = [y[2] + z[1], z[0] + x[2], x[1] + y[0]];
  const q = largest === 0
    ? [s, minus[0] * t, minus[1] * t, minus[2] * t]
    : largest === 1
    ? [minus[0] * t, s, plus[2] * t, plus[1] * t]
    : largest === 2
    ? [minus[1] * t, plus[2] * t, s, plus[0] * t]
    : [minus[2] * t, plus[1] * t, plus[0] * t, s];
  const sign = q[0] < 0 ? -1 : 1;
  return {
    quaternion: [sign * q[1], sign * q[2], sign * q[3]],
    offset: [affine[3], affine[7], affine[11]],
    spacing,
    qfac,
  };
}
