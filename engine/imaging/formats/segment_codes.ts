import { isPlain, listed, show } from "../../core/errors.ts";
import { parseJson } from "../../core/json.ts";
import { type FileSource, readSource } from "../../platform/sources.ts";
import type { SegmentCode } from "../dicom/codes.ts";
import { FormatError } from "../volume/format_error.ts";

/**
 * Reads codes and colors of labels from a JSON file:
 * `{ "liver": { "type": ["10200004", "SCT", "Liver"], "color": "#dd8265" } }`.
 *
 * @param names of the labels that there are
 * @throws FormatError for other names and for what are no codes; PlatformError if the file cannot be read
 * @example
 * ```ts
 * import { readSegmentCodes } from "voxgrad/imaging";
 *
 * const codes = await readSegmentCodes("codes.json", ["liver", "tumor"]);
 * ```
 */
export async function readSegmentCodes(
  source: FileSource,
  names: readonly string[],
): Promise<Record<string, SegmentCode>> {
  const { bytes, name } = await readSource(source);
  const json = parseJson(bytes, name);
  const refuse = (got: unknown, wanted: string): FormatError => new FormatError(name, show(got), wanted);
  if (!isPlain(json)) throw refuse(json, '{ "liver": { "type": ["10200004", "SCT", "Liver"] } }');
  for (const [label, entry] of Object.entries(json)) {
    if (!names.includes(label)) throw refuse(label, `one of the labels: ${listed(names)}`);
    const known = isPlain(entry) && Object.keys(entry).every((key) => ["category", "type", "color"].includes(key));
    if (!known) throw refuse(entry, `category, type and color of ${label}`);
  }
  return json as Record<string, SegmentCode>;
}
