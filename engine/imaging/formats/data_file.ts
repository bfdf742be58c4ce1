/** The data files of headers that have one: .mhd and .nhdr. */
import { FormatError } from "../volume/format_error.ts";
import { metaImageDataFile } from "./metaimage.ts";
import { isNrrd, nrrdDataFile } from "./nrrd.ts";

/**
 * The path of the data file that a header names: beside it, or below.
 *
 * @returns undefined if the data follow the header
 * @throws FormatError if it names a file elsewhere
 */
export function dataFile(header: Uint8Array, path: string): string | undefined {
  const name = isNrrd(header) ? nrrdDataFile(header, path) : metaImageDataFile(header, path);
  if (name === undefined) return undefined;
  const inside = name.replaceAll("\\", "/").replace(/^\.\//, "");
  if (/^(\/|[a-z]:)/i.test(inside) || inside.split("/").includes("..")) {
    throw new FormatError(path, `a data file elsewhere, ${name.slice(0, 120)}`, "one beside the header, or below it");
  }
  const folder = path.includes("/") ? path.slice(0, path.lastIndexOf("/") + 1) : "";
  return folder + inside;
}
