/** Superpixels of prepared cases, made in worker threads and kept on disk. */
import { platform } from "#platform";
import { VoxgradError } from "../../core/errors.ts";
import { checkSeal, decodeSafetensors, encodeSealed, SafetensorsError } from "../../core/safetensors.ts";
import { ContentHash } from "../volume/content_hash.ts";
import type { CaseSource } from "../prepare/sampling.ts";
import { type SuperpixelOptions, superpixels } from "./superpixels.ts";

/** Options of superpixels; see `superpixels`. The threshold applies to values from 0 to 255. */
export type StoredSuperpixelOptions = Pick<SuperpixelOptions, "scale" | "sigma" | "minSize" | "threshold" | "volume">;

/** A job of a worker thread: superpixels of the first channel of a case. */
interface Job {
  readonly image: Float32Array;
  readonly shape: readonly [number, number, number];
  readonly options: StoredSuperpixelOptions;
}

/** Runs a job; worker threads call it by this name. */
export async function run({ image, shape, options }: Job): Promise<Uint16Array<ArrayBuffer>> {
  if (!image.every(Number.isFinite)) throw new VoxgradError("the image holds NaN or infinity; replace them");
  const low = image.reduce((a, b) => Math.min(a, b), Infinity);
  const high = image.reduce((a, b) => Math.max(a, b), -Infinity);
  const gain = high > low ? 255 / (high - low) : 0;
  const { labels, counts } = superpixels(Float64Array.from(image, (value) => (value - low) * gain), {
    ...options,
    shape,
  });
  const most = Math.max(...counts);
  if (most >= 2 ** 16) throw new VoxgradError(`there are ${most} superpixels; raise minSize`);
  return Uint16Array.from(labels);
}

const moduleUrl: string = (import.meta as unknown as { url: string }).url;

export interface SuperpixelStore {
  /** Superpixels of a case, [D, H, W] as its image: 0 outside the patient. */
  get(id: string): Uint16Array<ArrayBuffer>;
  /** Numbers of cases whose superpixels were computed, and were found on disk. */
  readonly made: number;
  readonly kept: number;
}

/**
 * Superpixels of the first channel of prepared cases, rescaled to 0 to 255 over the case, computed once and stored in a
 * folder, one file each; recomputed if a case's image or the options have changed. They are also held in memory, two
 * bytes per voxel.
 *
 * @param options folder: where to store them, unless files are in memory; workers: threads, if the host has them;
 *   others as for `superpixels`
 * @throws VoxgradError as superpixels, naming the case
 * @example
 * ```ts
 * import { openCaseStore, openDataset, openSuperpixels, readPlan } from "voxgrad/imaging";
 *
 * const dataset = await openDataset("data/Task04_Hippocampus");
 * const store = await openCaseStore(dataset, await readPlan("plan.json"), { folder: "runs/prepared" });
 * const options = { folder: "runs/prepared/superpixels", workers: 4, minSize: 100, threshold: 50 };
 * const superpixels = await openSuperpixels(store, options);
 * ```
 */
export async function openSuperpixels(
  source: CaseSource,
  options: StoredSuperpixelOptions & { readonly folder: string; readonly workers?: number },
): Promise<SuperpixelStore> {
  const { folder, workers = 0, ...own } = options;
  const stores = platform.storesFiles();
  const threads = workers > 0 ? platform.openWorkers?.(moduleUrl, workers) : undefined;
  const all = new Map<string, Uint16Array<ArrayBuffer>>();
  const { ids } = source;
  let [made, kept, next] = [0, 0, 0];
  const one = async (id: string): Promise<void> => {
    const { image, shape } = await source.get(id);
    const channel = image.slice(0, shape[0] * shape[1] * shape[2]);
    const hash = new ContentHash();
    hash.text(JSON.stringify([own, shape]));
    hash.bytes(new Uint8Array(channel.buffer));
    const key = hash.digest();
    const file = `${folder}/${id}.safetensors`;
    const before = stores && (await platform.exists(file))
      ? await stored(await platform.readFile(file), key)
      : undefined;
    const job: Job = { image: channel, shape, options: own };
    let labels = before;
    try {
      labels ??= (await (threads ? threads.run(job) : run(job))) as Uint16Array<ArrayBuffer>;
    } catch (error) {
      throw new VoxgradError(`case ${id}: ${(error as Error).message}`, { cause: error });
    }
    if (before) kept++;
    else made++;
    all.set(id, labels);
    if (stores && !before) {
      const tensor = {
        name: "superpixels",
        dtype: "U16" as const,
        shape: [...shape],
        bytes: new Uint8Array(labels.buffer),
      };
      await platform.writeFile(file, await encodeSealed([tensor], { key }));
    }
    const done = made + kept;
    platform.progress({ done, total: ids.length, text: `superpixels  case ${done}/${ids.length}  ${id}` });
  };
  const lane = async (): Promise<void> => {
    while (next < ids.length) await one(ids[next++]);
  };
  try {
    await Promise.all(Array.from({ length: threads ? workers : 1 }, lane));
  } finally {
    await threads?.close();
  }
  return {
    made,
    kept,
    get(id) {
      const labels = all.get(id);
      if (!labels) throw new VoxgradError(`there is no case ${id} among the ${ids.length} with superpixels`);
      return labels;
    },
  };
}

/** The superpixels in a file; undefined if it is stale or damaged. */
async function stored(bytes: Uint8Array, key: string): Promise<Uint16Array<ArrayBuffer> | undefined> {
  try {
    if (!(await checkSeal(bytes))) return undefined;
    const { tensors, metadata } = decodeSafetensors(bytes);
    const [tensor] = tensors;
    if (metadata.key !== key || tensor?.dtype !== "U16") return undefined;
    return new Uint16Array(new Uint8Array(tensor.bytes).buffer);
  } catch (error) {
    if (error instanceof SafetensorsError) return undefined;
    throw error;
  }
}
