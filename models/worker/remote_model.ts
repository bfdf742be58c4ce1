/** This side of a worker: a model whose work another thread does. */
import { readOtherFormats } from "../../engine/imaging/formats/when_needed.ts";
import { check, isNiftiSource, isVolume, readVolume, VoxgradError } from "../../engine/segmenting.ts";
import type { Volume, VolumeSource } from "../../engine/imaging/mod.ts";
import type { FileSource, ModelSource } from "../../engine/train/mod.ts";
import { portable, type Thread } from "../../engine/platform/worker_ports.ts";
import type { OpenModelOptions } from "../open/open_model.ts";
import {
  type Scan,
  type ScanOptions,
  scanParts,
  type SegmentationModel,
  type Support,
  writable,
} from "../open/segmentation_model.ts";
import { writeLater } from "../open/write_later.ts";
import { type Answer, type Answers, isOurs, type Requests, revivedError } from "./messages.ts";

interface Call {
  resolve(result: unknown): void;
  reject(error: unknown): void;
  readonly onProgress: ScanOptions["onProgress"];
}

/** Requests of all models: a worker may have several. */
let requests = 0;

/** Requests to a thread, and their answers. */
class Remote {
  readonly thread: Thread;
  readonly #calls = new Map<number, Call>();
  #ended: Error | undefined;

  constructor(thread: Thread) {
    this.thread = thread;
    thread.listen((message) => isOurs(message) && this.#receive(message as Answer));
    thread.onEnd((error) => {
      this.#ended = new VoxgradError(`worker: it has ended: ${error.message}`, { cause: error });
      for (const { reject } of this.#calls.values()) reject(this.#ended);
      this.#calls.clear();
    });
  }

  #receive(answer: Answer): void {
    const call = this.#calls.get(answer.voxgrad);
    if (!call) return;
    if ("progress" in answer) {
      try {
        return call.onProgress?.(answer.progress);
      } catch (error) {
        call.reject(error);
        this.#stop(answer.voxgrad);
      }
    } else if ("error" in answer) call.reject(revivedError(answer.error));
    else call.resolve(answer.result);
    this.#calls.delete(answer.voxgrad);
  }

  /** Ends a request; one that has ended already, or whose worker has, needs nothing. */
  #stop(request: number): void {
    this.ask("stop", { request }).catch(() => undefined);
  }

  /** @returns the answer, and the number of the request */
  async ask<K extends keyof Requests>(
    request: K,
    body: Requests[K],
    { signal, onProgress, transfer }: Pick<ScanOptions, "signal" | "onProgress"> & { transfer?: ArrayBuffer[] } = {},
  ): Promise<{ answer: Answers[K]; id: number }> {
    signal?.throwIfAborted();
    if (this.#ended) throw this.#ended;
    const id = ++requests;
    const stop = (): void => this.#stop(id);
    signal?.addEventListener("abort", stop);
    try {
      const answer = await new Promise((resolve, reject) => {
        this.#calls.set(id, { resolve, reject, onProgress });
        this.thread.post({ voxgrad: id, request, body }, transfer);
      });
      return { answer: answer as Answers[K], id };
    } catch (error) {
      this.#calls.delete(id);
      // The worker has stopped because it was told to; why, is known here.
      if (signal?.aborted && (error as Error).name === "AbortError") throw signal.reason;
      throw error;
    } finally {
      signal?.removeEventListener("abort", stop);
    }
  }
}

/** Whether a scan may be moved to the worker instead of copied. */
export interface RemoteScanOptions extends ScanOptions {
  /** Moves the memory of the scan's bytes or volumes, which are empty here afterwards; default false: it is copied. */
  readonly transfer?: boolean;
}

/** A model of another thread. */
export interface RemoteModel extends SegmentationModel {
  segment(scan: Scan, options?: RemoteScanOptions): ReturnType<SegmentationModel["segment"]>;
}

type Part = FileSource | Volume;
/** What is no NIfTI file is read here: a worker is one file, and is without the readers of other formats. */
const sent = async (part: VolumeSource | Volume): Promise<Part> => {
  if (isVolume(part)) return { ...part };
  return await isNiftiSource(part) ? await portable(part) as FileSource : readVolume(part);
};
const sentScan = async (scan: Scan, channels: readonly string[]): Promise<Part[]> =>
  Promise.all((await scanParts(scan, channels)).map(sent));

const bufferOf = (part: unknown): ArrayBuffer[] => {
  const data = isVolume(part) ? part.data : part;
  if (ArrayBuffer.isView(data)) return [data.buffer as ArrayBuffer];
  return data instanceof ArrayBuffer ? [data] : [];
};

/** Opens a model in a thread; `owned` threads end with it. */
export async function remoteModel(
  thread: Thread,
  source: ModelSource | readonly ModelSource[],
  options: OpenModelOptions,
  owned: boolean,
): Promise<RemoteModel> {
  readOtherFormats();
  const remote = new Remote(thread);
  let disposed = false;
  try {
    const sources = await Promise.all(
      (Array.isArray(source) ? source as readonly ModelSource[] : [source as ModelSource]).map(portable),
    );
    const { answer: facts, id: model } = await remote.ask("open", { sources, options });
    return {
      ...facts,

      async segment(scan, { signal, onProgress, transfer = false, probabilities = false, support } = {}) {
        check(!disposed, "model", () => "it was disposed of; open it again");
        const given = [support].flat().filter((each) => each !== undefined);
        const supports = await Promise.all(
          given.map(async ({ image, labels }): Promise<Support> => ({
            image: await sentScan(image, facts.channels),
            labels: await sent(labels),
          })),
        );
        const parts = await sentScan(scan, facts.channels);
        const body = { model, scan: parts, probabilities, ...(support && { support: supports }) };
        const buffers = transfer ? [...new Set(parts.flatMap(bufferOf))] : [];
        const { answer } = await remote.ask("segment", body, { signal, onProgress, transfer: buffers });
        return {
          labels: writable(answer.labels, writeLater),
          ...(answer.probabilities && { probabilities: writable(answer.probabilities, writeLater) }),
        };
      },

      dispose() {
        if (disposed) return;
        disposed = true;
        const freed = remote.ask("dispose", { model, last: owned });
        const end = (): void => owned ? thread.close() : undefined;
        freed.then(end, end);
      },
    };
  } catch (error) {
    if (owned) thread.close();
    throw error;
  }
}
