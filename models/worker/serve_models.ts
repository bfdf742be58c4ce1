/** The worker's side: opens models and segments by them, as it is told. */
import { check, closeDevice } from "../../engine/mod.ts";
import type { Port } from "../../engine/platform/worker_ports.ts";
// All at once: bundlers such as Vite 7 make workers of one file.
import { openModel } from "../open/open_at_once.ts";
import type { SegmentationModel } from "../open/segmentation_model.ts";
import { type Answers, isOurs, plainError, type Request, type Requests } from "./messages.ts";

/** Answers the requests of a port. */
export function serveModels(port: Port): void {
  const models = new Map<number, SegmentationModel>();
  const running = new Map<number, { readonly stop: (reason: unknown) => void; readonly work: Promise<unknown> }>();

  const answer: { [K in keyof Requests]: (body: Requests[K], id: number, signal: AbortSignal) => Promise<Answers[K]> } =
    {
      async open({ sources, options }, id) {
        const model = await openModel(sources, options);
        models.set(id, model);
        const { labels, channels, plan, needsSupport, mirror, postprocessing } = model;
        return { labels, channels, plan, needsSupport, mirror, ...(postprocessing && { postprocessing }) };
      },

      async segment({ model, scan, ...options }, id, signal) {
        const onProgress = (progress: { done: number; total: number }): void => port.post({ voxgrad: id, progress });
        const opened = models.get(model);
        check(opened !== undefined, "model", () => "it was disposed of; open it again");
        return opened.segment(scan, { ...options, signal, onProgress });
      },

      async stop({ request }) {
        running.get(request)?.stop(undefined);
        return undefined;
      },

      async dispose({ model, last }, id) {
        models.get(model)?.dispose();
        if (!last) return undefined;
        // What is under way ends because its model does.
        await Promise.allSettled([...running].flatMap(([other, { work }]) => (other === id ? [] : [work])));
        await closeDevice();
        return undefined;
      },
    };

  port.listen(async (message) => {
    if (!isOurs(message)) return;
    const { voxgrad: id, request, body } = message as Request;
    const controller = new AbortController();
    const handle = answer[request] as (body: unknown, id: number, signal: AbortSignal) => Promise<unknown>;
    const work = handle(body, id, controller.signal);
    running.set(id, { stop: (reason) => controller.abort(reason), work });
    try {
      const result = await work;
      port.post({ voxgrad: id, result }, buffersOf(result));
    } catch (error) {
      port.post({ voxgrad: id, error: plainError(error) });
    } finally {
      running.delete(id);
    }
  });
}

/** The memory of the volumes in a result, which moves to the other side. */
const buffersOf = (result: unknown): ArrayBuffer[] =>
  Object.values((result ?? {}) as Record<string, { data?: unknown }>).flatMap(({ data } = {}) =>
    ArrayBuffer.isView(data) ? [data.buffer as ArrayBuffer] : []
  );
