/** Whether what is about to be done fits into memory: asked before the first byte is taken. */
import { platform } from "#platform";
import { VoxgradError } from "../../core/errors.ts";

/** Elements that a typed array has at most on every host. */
export const LARGEST_ARRAY = 2 ** 32 - 2 ** 16;

/** Bytes for a message. */
export const gib = (bytes: number): string =>
  `${bytes < 2 ** 27 ? (bytes / 2 ** 30).toPrecision(2) : (bytes / 2 ** 30).toFixed(2)} GiB`;

/**
 * Why so many bytes, and arrays of so many elements, cannot be had on this machine; undefined where they can, or nobody
 * knows.
 */
export function memoryProblem(bytes: number, elements = 0): string | undefined {
  const takes = `it takes about ${gib(bytes)} of memory`;
  const total = platform.totalMemory();
  if (total !== undefined && bytes > total) return `${takes}, and there are ${gib(total)}`;
  if (elements > LARGEST_ARRAY) return `${takes}, with ${elements} values in one piece, of which ${LARGEST_ARRAY} fit`;
  return undefined;
}

/**
 * Throws where work would take more memory than the machine, or the container, has in all.
 *
 * @param bytes an estimate of what is held at once
 * @param what the file or step, for the message
 * @param fits what would fit, or what to change
 * @param elements of the largest array in it, where that may be too long
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
