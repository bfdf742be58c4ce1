/** Tells DICOM files by how they begin. */

/** Transfer syntaxes of PS3.5 that say how the elements are encoded; all others are explicit, little-endian. */
export const IMPLICIT = "1.2.840.10008.1.2";
export const EXPLICIT = "1.2.840.10008.1.2.1";
export const DEFLATED = "1.2.840.10008.1.2.1.99";
export const BIG_ENDIAN = "1.2.840.10008.1.2.2";

/** Bytes before the prefix "DICM". */
export const PREAMBLE = 128;

const ascii = (bytes: Uint8Array, at: number, length: number): string =>
  String.fromCharCode(...bytes.subarray(at, at + length));

/**
 * How a file begins: with preamble and prefix, with the prefix alone, with the meta information, or with its first
 * element (older software); undefined if it is no DICOM file.
 */
export function startOf(bytes: Uint8Array): "preamble" | "prefix" | "meta" | { syntax: string } | undefined {
  if (ascii(bytes, PREAMBLE, 4) === "DICM") return "preamble";
  if (ascii(bytes, 0, 4) === "DICM") return "prefix";
  if (bytes.length < 16) return undefined;
  const [a, b, c, d] = bytes;
  const explicit = /^[A-Z]{2}$/.test(ascii(bytes, 4, 2));
  if (a === 2 && b === 0 && d === 0 && explicit) return "meta";
  // Groups 0002 and 0008 come first; their elements have small numbers.
  if (a === 0 && b === 8 && c === 0 && explicit) return { syntax: BIG_ENDIAN };
  if (a !== 8 || b !== 0 || d !== 0) return undefined;
  if (explicit) return { syntax: EXPLICIT };
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(4, true);
  return length <= Math.min(1024, bytes.length - 8) ? { syntax: IMPLICIT } : undefined;
}

/** Whether bytes look like a DICOM file, also one without preamble. */
export const isDicom = (bytes: Uint8Array): boolean => startOf(bytes) !== undefined;

/** Whether a file's name is that of a DICOM file. */
export const hasDicomEnding = (name: string): boolean => /\.(dcm|dicom|ima)$/i.test(name);
