/** File paths as users write them. */

/**
 * Removes trailing slashes; "/" is kept.
 *
 * @example
 * ```ts
 * import { trimSlashes } from "voxgrad/train";
 *
 * trimSlashes("phantoms/"); // "phantoms"
 * ```
 */
export const trimSlashes = (path: string): string => path.replace(/(?<=.)\/+$/, "");
