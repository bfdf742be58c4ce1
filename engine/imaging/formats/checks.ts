/** What readers of several formats check. */
import type { Affine } from "../volume/affine.ts";
import { determinant } from "../volume/rotation.ts";
import { FormatError } from "../volume/format_error.ts";
import { gib, memoryProblem } from "../volume/memory.ts";

/** A plain view: a Node Buffer would do, but its slice() does not copy. */
export const plainBytes = (bytes: Uint8Array | ArrayBuffer): Uint8Array<ArrayBuffer> =>
  bytes instanceof Uint8Array
    ? new Uint8Array(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.byteLength)
    : new Uint8Array(bytes);

/**
 * The number of values of an image of these sizes.
 *
 * @throws FormatError if a size is none, or memory cannot hold them
 */
export function checkSizes(sizes: readonly number[], width: number, name: string): number {
  if (!sizes.every((size) => Number.isSafeInteger(size) && size >= 1)) {
    throw new FormatError(name, `sizes ${sizes.slice(0, 8).join(" x ")}`, "every size to be 1 or more");
  }
  const count = sizes.reduce((a, b) => a * b, 1);
  const problem = memoryProblem(2 * count * width, count * width);
  if (problem) throw new FormatError(name, `${gib(count * width)} of voxels`, `less, for ${problem}`);
  return count;
}

/** The affine, if it is one that places voxels. */
export function finiteAffine(affine: Affine, name: string): Affine {
  const wrong = !affine.every((v) => Number.isFinite(Math.fround(v))) || determinant(affine) === 0;
  if (wrong) {
    throw new FormatError(
      name,
      `an affine of ${affine.slice(0, 12).join(", ")} mm`,
      "three directions that span space, in numbers within float32",
    );
  }
  return affine;
}

/**
 * The affine of voxels whose axes have these steps, in mm.
 *
 * @param signs of the first two patient axes against RAS: those of LPS by default
 */
export function toRas(
  steps: readonly (readonly number[])[],
  origin: readonly number[],
  signs: readonly [number, number] = [-1, -1],
): Affine {
  const row = (axis: number): number[] => {
    const sign = axis < 2 ? signs[axis] : 1;
    return [...steps.map((step) => step[axis]), origin[axis]].map((v) => sign * v + 0);
  };
  return [...row(0), ...row(1), ...row(2), 0, 0, 0, 1];
}
