/** Paths as users write them. */

/** A path without slashes at its end; "/" stays. */
export const trimSlashes = (path: string): string => path.replace(/(?<=.)\/+$/, "");
