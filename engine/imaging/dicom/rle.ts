/** RLE Lossless of PS3.5, annex G: PackBits by planes of bytes, the highest first. */

/**
 * Unpacks a frame.
 *
 * @param width bytes of a value
 * @returns values of `width` bytes, little-endian
 * @throws Error where the planes do not hold `count` bytes each
 */
export function decodeRle(packed: Uint8Array, count: number, width: number): Uint8Array<ArrayBuffer> {
  if (packed.length < 64) throw new Error("its header ends too early");
  const view = new DataView(packed.buffer, packed.byteOffset, packed.byteLength);
  const planes = view.getUint32(0, true);
  if (planes !== width) throw new Error(`it holds ${planes} planes of bytes, where ${width} are wanted`);
  const out = new Uint8Array(count * width);
  for (let plane = 0; plane < planes; plane++) {
    const start = view.getUint32(4 + 4 * plane, true);
    const end = plane + 1 < planes ? view.getUint32(8 + 4 * plane, true) : packed.length;
    if (start < 64 || end > packed.length || start > end) throw new Error("its offsets lead out of the frame");
    let [at, put] = [start, 0];
    const low = width - 1 - plane;
    while (put < count) {
      if (at >= end) throw new Error(`plane ${plane} ends after ${put} of ${count} bytes`);
      const code = packed[at++];
      if (code === 128) continue;
      const run = code > 128;
      const length = run ? 257 - code : code + 1;
      if (put + length > count) throw new Error(`plane ${plane} goes on for more than ${count} bytes`);
      if (at + (run ? 1 : length) > end) throw new Error(`plane ${plane} ends after ${put} of ${count} bytes`);
      for (let k = 0; k < length; k++) out[(put + k) * width + low] = packed[run ? at : at + k];
      at += run ? 1 : length;
      put += length;
    }
  }
  return out;
}
