/** Gzip: at once, and by the host's streams, which leave the thread to others meanwhile. */
import { gzipSync } from "fflate";
import { inPieces, turns } from "./gunzip_stream.ts";

/** Compresses; the same content gives the same bytes, because no time or name is stored. */
export const gzip = (bytes: Uint8Array): Uint8Array<ArrayBuffer> =>
  gzipSync(bytes as Uint8Array<ArrayBuffer>, { level: 6, mtime: 0 });

/** Compresses; the same content gives the same bytes on the same host. */
export async function gzipStreamed(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  if (typeof CompressionStream === "undefined") return gzip(bytes);
  const reader = inPieces(bytes).pipeThrough(new CompressionStream("gzip")).getReader();
  const parts: Uint8Array[] = [];
  const turn = turns();
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    parts.push(next.value);
    await turn();
  }
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
