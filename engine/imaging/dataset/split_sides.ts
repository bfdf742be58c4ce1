/** Splits a paired organ with one label, such as the kidneys, into left and right. */
import { bodyMask } from "../volume/body_mask.ts";
import { connectedParts, largestOf } from "../volume/components.ts";
import type { Volume } from "../volume/volume.ts";

/** A component smaller than this fraction of the largest is a fragment, not a second organ. */
const FRAGMENT = 0.02;
/** A single component with this fraction of its voxels on each side of the midline is two touching organs. */
const STRADDLES = 0.1;

/** How the sides were separated. */
export interface SideSplit {
  /**
   * "none": no voxel; "two parts": by connected components; "one part": all on one side; "cut": at the body's midline.
   */
  readonly rule: "none" | "two parts" | "one part" | "cut";
  /** The decision made without a second component, for review; absent with two components or none. */
  readonly note?: string;
}

/**
 * Labels the voxels of a paired organ left and right. Left is the patient's left: in RAS, where +x points to the
 * patient's right, the component with the smaller x.
 *
 * The largest connected component (26 neighbors) is one organ. The other is the largest component beside it (neither
 * centroid within the other's extent along x) with at least 2 % of its voxels; further fragments go to the nearer side
 * along x. Without such a second component the middle of the body, the mean x of `bodyMask`, decides: a component with
 * at least 10 % of its voxels on each side of it (a horseshoe kidney, touching organs) is cut there; otherwise all is
 * one organ, on the side of its centroid.
 *
 * @param label values of the files, as Uint8Array
 * @param options values: those of the organ; pair: output values of left and right, 0 to drop a side; image: on the
 *   label's grid
 * @param out of the label's length; only voxels of the organ are written
 */
export function splitSides(
  label: Pick<Volume, "data" | "shape" | "affine">,
  options: { values: readonly number[]; pair: readonly [left: number, right: number]; image: Volume },
  out: Uint8Array,
): SideSplit {
  const { values, pair: [left, right], image } = options;
  const [X, Y] = label.shape;
  const [ax, ay, az, origin] = label.affine as readonly [number, number, number, number];
  /** Patient x of voxel i along x of the line that contains voxel `at`. */
  const patientX = (at: number, i: number): number =>
    ax * i + ay * (Math.floor(at / X) % Y) + az * Math.floor(at / (X * Y)) + origin;
  const { from, length, part, sizes } = connectedParts(label.data as Uint8Array, { shape: label.shape, values });
  const first = largestOf(sizes);
  if (first < 0) return { rule: "none" };

  const center = new Float64Array(sizes.length);
  const low = new Float64Array(sizes.length).fill(Infinity);
  const high = new Float64Array(sizes.length).fill(-Infinity);
  for (let run = 0; run < from.length; run++) {
    const [p, at, n] = [part[run], from[run], length[run]];
    const [a, b] = [patientX(at, at % X), patientX(at, (at % X) + n - 1)];
    center[p] += (n * (a + b)) / 2 / sizes[p];
    low[p] = Math.min(low[p], a, b);
    high[p] = Math.max(high[p], a, b);
  }
  const beyond = (x: number, p: number): boolean => x < low[p] || x > high[p];
  const besides = sizes.map((size, p) =>
    size >= FRAGMENT * sizes[first] && beyond(center[p], first) && beyond(center[first], p) ? size : 0
  );
  const second = largestOf(besides);
  if (besides[second] > 0) {
    const middle = (center[first] + center[second]) / 2;
    for (let run = 0; run < from.length; run++) {
      out.fill(center[part[run]] < middle ? left : right, from[run], from[run] + length[run]);
    }
    return { rule: "two parts" };
  }

  const middle = bodyMiddle(image);
  let onLeft = 0;
  for (let run = 0; run < from.length; run++) {
    if (part[run] !== first) continue;
    for (let k = 0; k < length[run]; k++) if (patientX(from[run], (from[run] % X) + k) < middle) onLeft++;
  }
  const share = onLeft / sizes[first];
  if (Math.min(share, 1 - share) >= STRADDLES) {
    for (let run = 0; run < from.length; run++) {
      for (let k = 0; k < length[run]; k++) {
        out[from[run] + k] = patientX(from[run], (from[run] % X) + k) < middle ? left : right;
      }
    }
    const note = `it is one part across the middle of the body (x = ${middle.toFixed(1)} mm) and was cut there`;
    return { rule: "cut", note };
  }
  const side = center[first] < middle;
  for (let run = 0; run < from.length; run++) out.fill(side ? left : right, from[run], from[run] + length[run]);
  const away = Math.abs(center[first] - middle).toFixed(1);
  const note = `it is on one side alone, taken for the ${side ? "left" : "right"}: ` +
    `its center lies ${away} mm to the ${side ? "left" : "right"} of the middle of the body`;
  return { rule: "one part", note };
}

/** Mean patient x of the body in a scan; that of the scan if the body cannot be found. */
function bodyMiddle(image: Volume): number {
  const body = bodyMask(image);
  const [X, Y, Z] = image.shape;
  const sums = [0, 0, 0];
  let count = 0;
  for (let at = 0, z = 0; z < Z; z++) {
    for (let y = 0; y < Y; y++) {
      for (let x = 0; x < X; x++, at++) {
        if (body[at] === 0) continue;
        sums[0] += x;
        sums[1] += y;
        sums[2] += z;
        count++;
      }
    }
  }
  const index = image.shape.map((n, axis) => (count > 0 ? sums[axis] / count : (n - 1) / 2));
  return image.affine[0] * index[0] + image.affine[1] * index[1] + image.affine[2] * index[2] + image.affine[3];
}
