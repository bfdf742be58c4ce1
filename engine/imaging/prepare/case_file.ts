/** Prepared cases as files: safetensors with the geometry in the header. */
import { checkSeal, decodeSafetensors, encodeSealed, SafetensorsError } from "../../core/safetensors.ts";
import type { FileTensor } from "../../core/safetensors.ts";
import type { CaseGeometry, PreparedCase } from "./prepared_case.ts";

const bytesOf = (values: Float32Array | Uint32Array): Uint8Array =>
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength);

/** Encodes what JSON cannot: numbers that are not finite, and bytes. */
const replace = (_: string, value: unknown): unknown =>
  typeof value === "number" && !Number.isFinite(value)
    ? { $number: String(value) }
    : value instanceof Uint8Array
    ? { $bytes: Array.from(value) }
    : value;

const revive = (_: string, value: unknown): unknown => {
  if (typeof value !== "object" || value === null) return value;
  if ("$number" in value) return Number(value.$number);
  if ("$bytes" in value) return Uint8Array.from(value.$bytes as number[]);
  return value;
};

/** A prepared case as a file, with its digest. `key` identifies its inputs. */
export function encodeCase(item: PreparedCase, key: string): Promise<Uint8Array<ArrayBuffer>> {
  const { id, channels, shape, spacing, geometry, labelsPresent, foreground } = item;
  const tensors: FileTensor[] = [
    { name: "image", dtype: "F32", shape: [channels, ...shape], bytes: bytesOf(item.image) },
    { name: "label", dtype: "U8", shape, bytes: item.label },
    ...foreground.map(({ value, voxels }): FileTensor => ({
      name: `foreground.${value}`,
      dtype: "U32",
      shape: [voxels.length],
      bytes: bytesOf(voxels),
    })),
  ];
  // What a DICOM series says of its patient is not kept.
  const { dicom: _, ...source } = geometry.source;
  const notes = JSON.stringify({ id, spacing, geometry: { ...geometry, source }, labelsPresent }, replace);
  return encodeSealed(tensors, { key, case: notes });
}

/**
 * Decodes a case and the key it was written with.
 *
 * @throws SafetensorsError for a damaged file or one with other content
 */
export async function decodeCase(bytes: Uint8Array): Promise<{ item: PreparedCase; key: string }> {
  if (!(await checkSeal(bytes))) throw new SafetensorsError("the file has no digest to check it by");
  const { tensors, metadata } = decodeSafetensors(bytes);
  const image = tensors.find((t) => t.name === "image");
  const label = tensors.find((t) => t.name === "label");
  const notes = metadata.case;
  if (!image || !label || notes === undefined || image.dtype !== "F32" || image.shape.length !== 4) {
    throw new SafetensorsError("the file holds no prepared case: image [C, D, H, W], label and notes are wanted");
  }
  const { id, spacing, geometry, labelsPresent } = JSON.parse(notes, revive) as
    & Pick<
      PreparedCase,
      "id" | "spacing" | "labelsPresent"
    >
    & { geometry: CaseGeometry };
  const [channels, D, H, W] = image.shape as [number, number, number, number];
  const copy = (t: FileTensor): ArrayBuffer => new Uint8Array(t.bytes).buffer;
  return {
    key: metadata.key ?? "",
    item: {
      id,
      image: new Float32Array(copy(image)),
      label: new Uint8Array(copy(label)),
      channels,
      shape: [D, H, W],
      spacing,
      foreground: tensors.flatMap((t) => {
        const value = /^foreground\.(\d+)$/.exec(t.name)?.[1];
        return value === undefined ? [] : [{ value: Number(value), voxels: new Uint32Array(copy(t)) }];
      }),
      geometry,
      ...(labelsPresent && { labelsPresent }),
    },
  };
}

/** Bytes of a case in memory. */
export const caseBytes = (item: PreparedCase): number =>
  item.image.byteLength +
  item.label.byteLength +
  item.foreground.reduce((sum, { voxels }) => sum + voxels.byteLength, 0);
