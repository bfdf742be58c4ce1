/** Prepared cases, computed once and stored on disk, and cached in memory up to a cap. */
import { trimSlashes } from "../../core/paths.ts";
import { platform } from "#platform";
import { VoxgradError } from "../../core/errors.ts";
import { PlatformError } from "../../platform/types.ts";
import { CaseFaults } from "../dataset/case_faults.ts";
import { caseBytes, decodeCase, encodeCase } from "./case_file.ts";
import { openCasePool } from "./case_pool.ts";
import type { CaseResult } from "./case_jobs.ts";
import type { Dataset, DatasetCase } from "../dataset/types.ts";
import { DatasetError } from "../dataset/finding.ts";
import { type Plan, preparedSpacing } from "../plan/plan.ts";
import type { PreparedCase } from "./prepared_case.ts";
import { resampleCase } from "./preprocess_case.ts";
import { LruCache } from "../../core/lru_cache.ts";
import { hashText } from "../../core/prng.ts";
import { voxelCount } from "../volume/volume.ts";
import type { CaseSource } from "./sampling.ts";

/** Increased whenever preparation gives different results, to invalidate stored cases. */
const VERSION = 1;

export interface CaseStore extends CaseSource {
  readonly ids: readonly string[];
  get(id: string): Promise<PreparedCase>;
  /** Digest of the source files of each case, independent of the plan. */
  readonly contents: ReadonlyMap<string, string>;
  /** Numbers of cases that opening it had to prepare, and found on disk. */
  readonly made: number;
  readonly kept: number;
  /** Bytes of the cases currently in memory. */
  memory(): number;
}

export interface CaseStoreOptions {
  /** Where the prepared cases are stored; where files are in memory, the cases stay there. */
  readonly folder: string;
  /** Threads that read, crop and normalize, if the host has them; default 0, the calling thread. */
  readonly workers?: number;
  /** Bytes of cases cached in memory; the least recently used are evicted first. Default 2 GiB. */
  readonly memory?: number;
  /** Stops after the case at hand, with its reason; what is prepared stays. */
  readonly signal?: AbortSignal | undefined;
  /** Only these cases; default all with a label. */
  readonly ids?: readonly string[];
  /** Also cases without a label, whose label is 0 throughout; default false. */
  readonly unlabeled?: boolean;
}

/** The settings that a prepared case depends on. */
const settingsOf = (dataset: Dataset, plan: Plan): string => {
  const { orientation, transpose, channels, resampling } = plan;
  const labels = [plan.labels.length, dataset.labels.length, dataset.ignoreLabel ?? null];
  const spacing = preparedSpacing(plan, [-1, -1, -1]);
  return JSON.stringify([VERSION, orientation, transpose, spacing, channels, resampling, labels]);
};

/**
 * The folder for the cases of a dataset prepared by a plan, NAME-1a2b3c4d, below a cache that many runs share.
 *
 * @example
 * ```ts
 * import { openCaseStore, openDataset, readPlan, storeFolder } from "voxgrad/imaging";
 *
 * const dataset = await openDataset("data/Task04_Hippocampus");
 * const plan = await readPlan("plan.json");
 * const store = await openCaseStore(dataset, plan, { folder: storeFolder("runs/prepared", dataset, plan) });
 * ```
 */
export function storeFolder(root: string, dataset: Dataset, plan: Plan): string {
  const name = dataset.name.toLowerCase().replace(/[^a-z0-9]+/g, "_").replace(/^_+|_+$/g, "") || "cases";
  const number = hashText(JSON.stringify([dataset.folder, settingsOf(dataset, plan)]));
  return `${trimSlashes(root)}/${name}-${number.toString(16).padStart(8, "0")}`;
}

/**
 * Prepares the labeled cases of a dataset by a plan and stores them in a folder, one file each. A case is prepared
 * again if its files or the relevant parts of the plan have changed. Files are written atomically, so an interrupted
 * preparation resumes where it stopped.
 *
 * @throws DatasetError if some cases failed, once all others are prepared; the log lists each by case and file
 * @throws VoxgradError for ids that are not labeled cases
 * @example
 * ```ts
 * import { openCaseStore, openDataset, Prng, readPlan, sampleBatch } from "voxgrad/imaging";
 *
 * const plan = await readPlan("plan.json");
 * const dataset = await openDataset("data/Task04_Hippocampus");
 * const store = await openCaseStore(dataset, plan, { folder: "runs/prepared", workers: 4, memory: 4 * 2 ** 30 });
 * const { image, label } = await sampleBatch(new Prng(1), store, { batch: 2, patch: plan.patch });
 * ```
 */
export async function openCaseStore(dataset: Dataset, plan: Plan, options: CaseStoreOptions): Promise<CaseStore> {
  const { folder, workers = 0, memory: cap = 2 * 2 ** 30, signal, unlabeled = false } = options;
  const labeled = new Map(
    dataset.cases.flatMap((item) => (item.label === undefined && !unlabeled ? [] : [[item.id, item]])),
  );
  const ids = options.ids ?? [...labeled.keys()];
  const unknown = ids.find((id) => !labeled.has(id));
  if (unknown !== undefined) {
    throw new VoxgradError(`openCaseStore: ${unknown} is no case of ${dataset.folder} with a label; correct the ids`);
  }
  const settings = settingsOf(dataset, plan);
  const stores = platform.storesFiles();
  const fileOf = (id: string): string => `${folder}/${id}.safetensors`;
  const keyFileOf = (id: string): string => `${folder}/${id}.key`;
  const keys = new Map<string, string>();
  const contents = new Map<string, string>();
  const cache = new LruCache<string, PreparedCase>(stores ? cap : Infinity, { sizeOf: caseBytes });
  const job = (item: DatasetCase, kept?: string) =>
    ({ kind: "crop", dataset, item, plan, settings, ...(kept !== undefined && { kept }) }) as const;

  const finish = async (result: CaseResult): Promise<PreparedCase | undefined> => {
    if (result.kind !== "crop") return undefined;
    keys.set(result.id, result.key);
    contents.set(result.id, result.content);
    if (!result.cropped) return undefined;
    const { label = new Uint8Array(voxelCount(result.cropped.geometry.cropSize)) } = result.cropped;
    const item = await resampleCase({ ...result.cropped, label }, plan);
    if (stores) {
      // The key comes last: it marks the file as complete.
      await platform.writeFile(fileOf(item.id), await encodeCase(item, result.key));
      await platform.writeFile(keyFileOf(item.id), result.key);
    }
    return item;
  };

  let [made, kept] = [0, 0];
  const keptKeys = new Map<string, string>();
  if (stores && (await platform.exists(folder))) {
    await platform.removeRemains(folder);
    const present = new Set(await platform.listFiles(folder));
    for (const id of ids) {
      if (!present.has(`${id}.key`) || !present.has(`${id}.safetensors`)) continue;
      keptKeys.set(id, new TextDecoder().decode(await platform.readFile(keyFileOf(id))));
    }
  }
  const faults = new CaseFaults();
  const pool = openCasePool(workers);
  try {
    await pool.each(
      ids.map((id) => labeled.get(id)!),
      (item) => job(item, keptKeys.get(item.id)),
      async (result) => {
        signal?.throwIfAborted();
        const item = await finish(result);
        if (item) {
          made++;
          cache.set(item.id, item);
        } else {
          kept++;
        }
        const [done, total] = [made + kept, ids.length];
        const id = result.kind === "crop" ? result.id : "";
        platform.progress({ done, total, text: `preparing  case ${done}/${total}  ${id}` });
      },
      (item, error) => faults.note(item.id, error),
    );
  } finally {
    await pool.close();
  }

  if (faults.count > 0) {
    // A message is limited to 2 kB; longer lists go to the log, so that no error is lost.
    const isLong = faults.text().length > 1500;
    if (isLong) platform.log(`\nNot prepared:\n${faults.text()}`);
    const problem = `${faults.count} of ${ids.length} cases cannot be prepared${
      isLong ? ", listed above" : `:\n${faults.text()}\n`
    }`;
    throw new DatasetError(dataset.folder, problem, "Mend or leave them out, and try again; the others are ready");
  }

  const read = async (id: string): Promise<PreparedCase> => {
    try {
      const { item, key } = await decodeCase(await platform.readFile(fileOf(id)));
      if (key === keys.get(id)) return item;
    } catch (error) {
      // Whatever the problem, the file can be recreated.
      if (!(error instanceof VoxgradError || error instanceof PlatformError)) throw error;
    }
    // From another plan (stopped between two files), damaged, or of an earlier version.
    platform.log(`${fileOf(id)} is not what was prepared here; it is made again`);
    const wanted = keys.get(id);
    const alone = openCasePool(0);
    let item: PreparedCase | undefined;
    await alone.each(
      [labeled.get(id)!],
      (c) => job(c),
      async (result) => void (item = await finish(result)),
    );
    if (keys.get(id) !== wanted) {
      throw new VoxgradError(
        `case ${id}: its files have changed since the training began; put back what they were, or start again`,
      );
    }
    return item!;
  };
  const coming = new Map<string, Promise<PreparedCase>>();
  const wanted = new Set(ids);
  return {
    ids,
    contents,
    made,
    kept,
    memory: () => cache.total,
    async get(id) {
      if (!wanted.has(id)) throw new VoxgradError(`there is no case ${id} among the ${ids.length} prepared ones`);
      const here = cache.get(id);
      if (here) return here;
      let promise = coming.get(id);
      if (!promise) {
        promise = read(id).finally(() => coming.delete(id));
        coming.set(id, promise);
      }
      const item = await promise;
      cache.set(item.id, item);
      return item;
    },
  };
}
