/** Writing NIfTI files: single file, little-endian, no scaling. */
import { applyAffine } from "../volume/affine.ts";
import { quaternionFromAffine } from "../volume/rotation.ts";
import type { Affine } from "../volume/affine.ts";
import { gzip } from "./gzip.ts";
import { MILLIMETERS } from "./header.ts";
import { NiftiError } from "./nifti_error.ts";
import { voxelCount } from "../volume/volume.ts";
import type { NiftiExtension, NiftiSource, Volume, VoxelData } from "../volume/volume.ts";

export type NiftiDtype = "uint8" | "int8" | "int16" | "uint16" | "int32" | "uint32" | "float32" | "float64";

const WRITERS: Readonly<
  Record<NiftiDtype, { code: number; make: new (n: number) => VoxelData; range?: [number, number] }>
> = {
  uint8: { code: 2, make: Uint8Array, range: [0, 255] },
  int8: { code: 256, make: Int8Array, range: [-128, 127] },
  int16: { code: 4, make: Int16Array, range: [-32768, 32767] },
  uint16: { code: 512, make: Uint16Array, range: [0, 65535] },
  int32: { code: 8, make: Int32Array, range: [-2147483648, 2147483647] },
  uint32: { code: 768, make: Uint32Array, range: [0, 4294967295] },
  float32: { code: 16, make: Float32Array },
  float64: { code: 64, make: Float64Array },
};

const dtypeOf = (data: VoxelData): NiftiDtype =>
  (Object.keys(WRITERS) as NiftiDtype[]).find((dtype) => data instanceof WRITERS[dtype].make)!;

/**
 * Encodes a volume as a NIfTI file. A volume read from a file keeps that file's version, units, codes and extensions;
 * if its affine has changed since, both forms are rewritten. A new volume stores the affine in both forms (code 1,
 * scanner), or only in the sform if its axes are not at right angles. Version 2 is used if a size exceeds 32767.
 *
 * @param volume values are written unscaled: no slope, no intercept
 * @param options dtype: stored type, default that of `volume.data`; gzip: compress (.nii.gz), default false
 * @returns the bytes of the file, the same for the same volume
 * @throws NiftiError when a value does not fit an integer dtype
 * @example
 * ```ts
 * import { writeNifti } from "voxgrad";
 * import { phantomCase } from "voxgrad/imaging";
 * import { RunFolder } from "voxgrad/train";
 *
 * const { label } = phantomCase({ seed: 1 });
 * await new RunFolder("runs/mine").write("mask.nii.gz", writeNifti(label, { dtype: "uint8", gzip: true }));
 * ```
 */
export function writeNifti(
  volume: Volume,
  options: { dtype?: NiftiDtype; gzip?: boolean } = {},
): Uint8Array<ArrayBuffer> {
  const dtype = options.dtype ?? dtypeOf(volume.data);
  const writer = WRITERS[dtype];
  if (!writer) throw new NiftiError(volume.name, `dtype ${dtype}`, `one of ${Object.keys(WRITERS).join(", ")}`);
  const dims = dimsOf(volume);
  const version = volume.source?.version === 2 || Math.max(...dims) > 32767 ? 2 : 1;
  const extensions = volume.source?.extensions ?? [];
  const start = version === 1 ? 352 : 544;
  const offset = extensions.reduce((sum, extension) => sum + extensionSize(extension), start);
  const values = convert(volume, dtype);
  const bytes = new Uint8Array(offset + values.byteLength);
  const view = new DataView(bytes.buffer);
  writeHeader(view, volume, {
    version,
    dims,
    offset,
    code: writer.code,
    width: values.BYTES_PER_ELEMENT,
  });
  if (extensions.length > 0) bytes[start - 4] = 1;
  let at = start;
  for (const extension of extensions) {
    view.setInt32(at, extensionSize(extension), true);
    view.setInt32(at + 4, extension.code, true);
    bytes.set(extension.data, at + 8);
    at += extensionSize(extension);
  }
  bytes.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), offset);
  return options.gzip ? gzip(bytes) : bytes;
}

/** With its header of 8 bytes, a multiple of 16 as the standard requires. */
const extensionSize = ({ data }: NiftiExtension): number => Math.ceil((8 + data.length) / 16) * 16;

function dimsOf(volume: Volume): readonly number[] {
  const kept = volume.source?.dims;
  const same = kept && [0, 1, 2].every((axis) => (kept[axis] ?? 1) === volume.shape[axis]);
  if (same && voxelCount(kept.slice(3)) === volume.channels) return kept;
  return volume.channels === 1 ? volume.shape : [...volume.shape, volume.channels];
}

function convert(volume: Volume, dtype: NiftiDtype): VoxelData {
  const { data, name } = volume;
  const { make, range } = WRITERS[dtype];
  if (data.length !== voxelCount(volume.shape) * volume.channels) {
    throw new NiftiError(name, `${data.length} values`, `${volume.channels} x ${volume.shape.join(" x ")}`);
  }
  if (data instanceof make) return data;
  const out = new make(data.length);
  for (let i = 0; i < data.length; i++) {
    const value = data[i];
    if (range && !(value >= range[0] && value <= range[1] && Number.isInteger(value))) {
      throw new NiftiError(
        name,
        `the value ${value}`,
        `integers from ${range[0]} to ${range[1]} for ${dtype}; try float32`,
      );
    }
    out[i] = value;
  }
  return out;
}

interface Layout {
  readonly version: 1 | 2;
  readonly dims: readonly number[];
  readonly offset: number;
  readonly code: number;
  readonly width: number;
}

function writeHeader(view: DataView, volume: Volume, layout: Layout): void {
  const two = layout.version === 2;
  const place = placement(volume);
  const i16 = (at: number, v: number) => view.setInt16(at, v, true);
  const i32 = (at: number, v: number) => view.setInt32(at, v, true);
  const i64 = (at: number, v: number) => view.setBigInt64(at, BigInt(v), true);
  const reals = (at: number, list: readonly number[]) =>
    list.forEach((v, i) => (two ? view.setFloat64(at + 8 * i, v, true) : view.setFloat32(at + 4 * i, v, true)));
  const text = (at: number, size: number, value: string) => {
    for (let i = 0; i < Math.min(size, value.length); i++) view.setUint8(at + i, value.charCodeAt(i) & 255);
  };
  const dims = [layout.dims.length, ...layout.dims, 1, 1, 1, 1, 1, 1, 1].slice(0, 8);
  const pixdim = [...place.pixdim.slice(0, 4), ...(volume.source?.pixdim.slice(4) ?? [1, 1, 1, 1])];
  // Units of length as read; a new volume is in mm. 8 is seconds, kept from the source.
  const unitsCode = volume.source?.unitsCode ?? 2;
  const intent = volume.source?.intentCode ?? 0;
  const description = volume.source?.description ?? "voxgrad";
  i32(0, two ? 540 : 348);
  if (two) {
    text(4, 8, "n+2\0\r\n\x1a\n");
    i16(12, layout.code);
    i16(14, 8 * layout.width);
    dims.forEach((n, i) => i64(16 + 8 * i, n));
    reals(104, pixdim);
    i64(168, layout.offset);
    reals(176, [1, 0]);
    text(240, 80, description);
    i32(344, place.qformCode);
    i32(348, place.sformCode);
    reals(352, [...place.quaternion, ...place.offset]);
    reals(400, place.rows);
    i32(500, unitsCode);
    i32(504, intent);
  } else {
    view.setUint8(38, 114); // "regular" of ANALYZE, which old readers expect
    dims.forEach((n, i) => i16(40 + 2 * i, n));
    i16(68, intent);
    i16(70, layout.code);
    i16(72, 8 * layout.width);
    reals(76, pixdim);
    reals(108, [layout.offset, 1, 0]);
    view.setUint8(123, unitsCode);
    text(148, 80, description);
    i16(252, place.qformCode);
    i16(254, place.sformCode);
    reals(256, [...place.quaternion, ...place.offset]);
    reals(280, place.rows);
    text(344, 4, "n+1\0");
  }
}

type Placement = Pick<NiftiSource, "pixdim" | "qformCode" | "sformCode" | "quaternion" | "offset"> & {
  readonly rows: Affine;
};

/** The orientation fields of the header: those of the source if the affine is unchanged, else new ones. */
function placement(volume: Volume): Placement {
  const { source, units } = volume;
  const scale = 1 / MILLIMETERS[units];
  const affine = scale === 1 ? volume.affine : volume.affine.map((v, i) => (i < 12 ? v * scale : v));
  if (source && unmoved(affine, source.affine)) {
    return { ...source, rows: source.sformCode > 0 ? source.affine.slice(0, 12) : new Array(12).fill(0) };
  }
  const form = quaternionFromAffine(affine);
  const steps = form?.spacing ?? [0, 1, 2].map((c) => Math.hypot(affine[c], affine[4 + c], affine[8 + c]));
  return {
    pixdim: [form?.qfac ?? 1, ...steps],
    qformCode: form ? source?.qformCode || 1 : 0,
    sformCode: source?.sformCode || 1,
    quaternion: form?.quaternion ?? [0, 0, 0],
    offset: form?.offset ?? applyAffine(affine, [0, 0, 0]),
    rows: affine.slice(0, 12),
  };
}

const unmoved = (a: Affine, b: Affine): boolean =>
  a.every((v, i) => Math.abs(v - b[i]) <= 1e-9 * Math.max(1, Math.abs(b[i])));
