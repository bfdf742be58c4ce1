/** Element types and how they promote. */
export type DType = "f32" | "i32" | "u32" | "bool";

/** What `data()` gives: bool comes as 0 and 1. */
export type TypedArray = Float32Array | Int32Array | Uint32Array | Uint8Array;

/** Bytes of one element on the device; a bool is stored as a u32 that is 0 or 1. */
export const BYTES_PER_ELEMENT = 4;

const rank: Record<DType, number> = { bool: 0, u32: 1, i32: 2, f32: 3 };

export const isFloat = (dtype: DType): boolean => dtype === "f32";

/** bool < u32 < i32 < f32: the type that two operands meet in. */
export const promote = (a: DType, b: DType): DType => (rank[a] >= rank[b] ? a : b);

/** The integer type that arithmetic on truth values happens in. */
export const arithmetic = (dtype: DType): DType => (dtype === "bool" ? "i32" : dtype);

export const isDType = (value: unknown): value is DType => typeof value === "string" && value in rank;

export function allocate(dtype: DType, length: number): TypedArray {
  switch (dtype) {
    case "f32":
      return new Float32Array(length);
    case "i32":
      return new Int32Array(length);
    case "u32":
      return new Uint32Array(length);
    case "bool":
      return new Uint8Array(length);
  }
}

/** The dtype that a typed array holds; null for one that no dtype fits. */
export function dtypeOf(array: ArrayBufferView): DType | null {
  if (array instanceof Float32Array) return "f32";
  if (array instanceof Int32Array) return "i32";
  if (array instanceof Uint32Array) return "u32";
  if (array instanceof Uint8Array) return "bool";
  return null;
}
