/** Unpacking by the host's streams, which leave the thread to others meanwhile. */
import { contentSink, gunzip } from "./gunzip.ts";
import type { GunzipOptions } from "./gunzip.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** Bytes given to a stream at a time: browsers work on each without a pause. */
const PIECE = 2 ** 15;
/** Milliseconds of work after which others get a turn. */
const TURN = 8;

/**
 * The content of a gzip file, as `gunzip` gives it, with the same limits and errors. Files that the host's stream does
 * not read alone (damaged ones, several members, zeros at the end) are read by `gunzip`.
 *
 * @throws as gunzip
 */
export async function gunzipStreamed(bytes: Bytes, options?: GunzipOptions): Promise<Bytes> {
  if (typeof DecompressionStream === "undefined") return gunzip(bytes, options);
  const reader = inPieces(bytes).pipeThrough(new DecompressionStream("gzip")).getReader();
  const sink = contentSink(options);
  const turn = turns();
  for (;;) {
    let next;
    try {
      next = await reader.read();
    } catch {
      return gunzip(bytes, options);
    }
    if (next.done) break;
    const { value } = next;
    try {
      for (let at = 0; at < value.length;) {
        if (sink.length === sink.buffer.length) sink.grow();
        const part = value.subarray(at, at + sink.buffer.length - sink.length);
        sink.buffer.set(part, sink.length);
        sink.length += part.length;
        at += part.length;
      }
    } catch (error) {
      reader.cancel().catch(() => undefined);
      throw error;
    }
    await turn();
  }
  // The stream has checked the content. It may have passed over bytes behind it, or joined several members: then the
  // size at the end of the file is not that of the content.
  const size = new DataView(bytes.buffer, bytes.byteOffset).getUint32(bytes.length - 4, true);
  return size === sink.length % 2 ** 32 ? sink.buffer.subarray(0, sink.length) : gunzip(bytes, options);
}

/** A stream of the bytes. */
export function inPieces(bytes: Uint8Array) {
  let at = 0;
  return new ReadableStream({
    pull(controller) {
      if (at < bytes.length) controller.enqueue(bytes.subarray(at, at + PIECE));
      else controller.close();
      at += PIECE;
    },
  });
}

/** A function that waits for other tasks once a turn is over: streams alone may go on without letting any run. */
export function turns(): () => Promise<void> | undefined {
  let end = performance.now() + TURN;
  return () => {
    if (performance.now() < end) return undefined;
    return new Promise<void>((resolve) => setTimeout(resolve)).then(() => void (end = performance.now() + TURN));
  };
}
