/** Gzip for hosts without compressing streams, and for calls that do not wait. */
import { gzipSync } from "fflate";

/** Compresses; the same content gives the same bytes, because no time or name is stored. */
export const gzip = (bytes: Uint8Array): Uint8Array<ArrayBuffer> =>
  gzipSync(bytes as Uint8Array<ArrayBuffer>, { level: 6, mtime: 0 });
