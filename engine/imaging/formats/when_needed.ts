/** Formats beside NIfTI are read by a module that is loaded for the first such file. */
import { formats } from "./readers.ts";

export function readOtherFormats(): void {
  formats.load ??= async () => (await import("./others.ts")).otherFormats;
}

readOtherFormats();
