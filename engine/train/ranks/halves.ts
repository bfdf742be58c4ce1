/** Vectors as half-precision numbers; single ones are in dtype.ts. */
import { fromHalf } from "../../core/dtype.ts";

/** The bits of the nearest half-precision numbers, ties to even: as `toHalf`, by integers alone. */
export function toHalves(values: Float32Array): Uint16Array<ArrayBuffer> {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const halves = new Uint16Array(values.length);
  for (let k = 0; k < bits.length; k++) {
    const sign = (bits[k] >>> 16) & 0x8000;
    const magnitude = bits[k] & 0x7fffffff;
    if (magnitude > 0x7f800000) halves[k] = 0x7e00;
    // From 65520 on it is infinite.
    else if (magnitude >= 0x477ff000) halves[k] = sign | 0x7c00;
    // From 2^-14 on it is normal: another bias of the exponent, and half a unit, less a bit where the last one is even.
    else if (magnitude >= 0x38800000) {
      halves[k] = sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
    } // Below 2^-25, or just there, it is 0.
    else if (magnitude <= 0x33000000) halves[k] = sign;
    else {
      const shift = 126 - (magnitude >>> 23);
      const mantissa = (magnitude & 0x7fffff) | 0x800000;
      const half = 1 << (shift - 1);
      halves[k] = sign | ((mantissa + half - 1 + ((mantissa >>> shift) & 1)) >>> shift);
    }
  }
  return halves;
}

let table: Float32Array | undefined;

/** The values of half-precision numbers. */
export function fromHalves(halves: Uint16Array): Float32Array<ArrayBuffer> {
  const all = (table ??= Float32Array.from({ length: 2 ** 16 }, (_, bits) => fromHalf(bits)));
  const values = new Float32Array(halves.length);
  for (let k = 0; k < halves.length; k++) values[k] = all[halves[k]];
  return values;
}
