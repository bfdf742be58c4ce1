/** What chosen files are: one scan in a file, a pair, channels, or a DICOM series. */

export type ScanFiles =
  | { readonly source: File | File[] }
  | { readonly header: File; readonly data: File }
  | { readonly channels: File[] };

const WHOLE = /\.(nii|nii\.gz|nrrd|mha|mgh|mgz)$/i;
const HEADERS = /\.(hdr|mhd|nhdr)$/i;

/**
 * Sorts files out by their names: several whole ones are the channels of a scan, in the order of their names; a header
 * and another file are a pair; what is left is a series.
 */
export function contentOf(files: readonly File[]): ScanFiles {
  const visible = files.filter(({ name }) => !/^\.|^DICOMDIR$/i.test(name));
  const [first, second] = visible;
  if (visible.length === 1) return { source: first };
  if (visible.length === 2 && visible.some(({ name }) => HEADERS.test(name))) {
    return HEADERS.test(first.name) ? { header: first, data: second } : { header: second, data: first };
  }
  if (visible.length > 1 && visible.every(({ name }) => WHOLE.test(name))) {
    return { channels: [...visible].sort((a, b) => (a.name < b.name ? -1 : 1)) };
  }
  return { source: [...visible] };
}
