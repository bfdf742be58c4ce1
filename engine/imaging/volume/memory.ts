/** Checks that an operation fits into memory before it allocates. */
import { platform } from "#platform";
import { VoxgradError } from "../../core/errors.ts";

/** Largest length of a typed array on every host. */
export const LARGEST_ARRAY = 2 ** 32 - 2 ** 16;

/** Bytes for a message. */
export const gib = (bytes: number): string =>
  `${bytes < 2 ** 27 ? (bytes / 2 ** 30).toPrecision(2) : (bytes / 2 ** 30).toFixed(2)} GiB`;

/** Why this many bytes, or arrays of this many elements, cannot be allocated; undefined if they can, or if unknown. */
export function memoryProblem(bytes: number, elements = 0): string | undefined {
  const takes = `it takes about ${gib(bytes)} of memory`;
  const total = platform.totalMemory();
  if (total !== undefined && bytes > total) return `${takes}, and there are ${gib(total)}`;
  if (elements > LARGEST_ARRAY) return `${takes}, with ${elements} values in one piece, of which ${LARGEST_ARRAY} fit`;
  return undefined;
}

/**
 * Throws if an operation would take more memory than the machine or container has in total.
 *
 * @param bytes estimate of the peak memory
 * @param what the file or step, for the message
 * @param fits what would fit, or what to change
 * @param elements of the largest array, if that may be too long
 * @throws VoxgradError naming both sizes
 * @example
 * ```ts
 * import { checkMemory } from "voxgrad/imaging";
 *
 * checkMemory(2 ** 30, "scan.nii.gz: predicting it", "crop the scan, or use a plan of coarser spacing");
 * ```
 */
export function checkMemory(bytes: number, what: string, fits: string, elements = 0): void {
  const problem = memoryProblem(bytes, elements);
  if (problem) throw new VoxgradError(`${what}: ${problem}; ${fits}`);
}
