/** File paths as users write them. */

/** Removes trailing slashes; "/" is kept. */
export const trimSlashes = (path: string): string => path.replace(/(?<=.)\/+$/, "");
