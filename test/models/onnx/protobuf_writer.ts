/** Writes protobuf messages byte by byte, for tests of the reader. */

/** Fields of a protobuf message: [number, value]; strings, messages and bytes have a length, numbers are varints. */
export type Fields = readonly (readonly [number, number | string | Uint8Array | Fields])[];
export function varint(value: number): number[] {
  let rest = BigInt.asUintN(64, BigInt(value));
  const bytes: number[] = [];
  do {
    bytes.push(Number(rest & 127n) | (rest > 127n ? 128 : 0));
    rest >>= 7n;
  } while (rest > 0n);
  return bytes;
}
export function message(fields: Fields): Uint8Array {
  return Uint8Array.from(fields.flatMap(([number, value]) => {
    if (typeof value === "number") return [...varint(number << 3), ...varint(value)];
    const bytes = typeof value === "string"
      ? new TextEncoder().encode(value)
      : value instanceof Uint8Array
      ? value
      : message(value);
    return [...varint((number << 3) | 2), ...varint(bytes.length), ...bytes];
  }));
}
