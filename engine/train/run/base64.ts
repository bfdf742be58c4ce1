/** Base64 of RFC 4648, with padding. */
import { VoxgradError } from "../../core/errors.ts";

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

export function base64(bytes: Uint8Array): string {
  let out = "";
  for (let i = 0; i < bytes.length; i += 3) {
    const word = (bytes[i] << 16) | ((bytes[i + 1] ?? 0) << 8) | (bytes[i + 2] ?? 0);
    const left = bytes.length - i;
    out += ALPHABET[word >> 18] + ALPHABET[(word >> 12) & 63];
    out += (left > 1 ? ALPHABET[(word >> 6) & 63] : "=") + (left > 2 ? ALPHABET[word & 63] : "=");
  }
  return out;
}

/**
 * The bytes that `base64` wrote.
 *
 * @param what for the message
 * @throws VoxgradError for other text
 */
export function fromBase64(text: string, what: string): Uint8Array<ArrayBuffer> {
  const [, body, padding] = /^([A-Za-z0-9+/]*)(={0,2})$/.exec(text) ?? [];
  if (body === undefined || (body.length + padding.length) % 4 !== 0) {
    throw new VoxgradError(`${what} is no text of base64; it is damaged`);
  }
  const bytes = new Uint8Array(Math.floor((body.length * 3) / 4));
  let [word, bits, at] = [0, 0, 0];
  for (let k = 0; k < body.length; k++) {
    word = ((word << 6) | ALPHABET.indexOf(body[k])) & 0xfff;
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    bytes[at++] = (word >> bits) & 0xff;
  }
  return bytes;
}
