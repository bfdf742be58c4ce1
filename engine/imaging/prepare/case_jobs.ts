/** Per-case work that needs no device; runs in worker threads, or in the calling thread if there are none. */
import { platform } from "#platform";
import type { Dataset, DatasetCase } from "../dataset/types.ts";
import { fingerprintCase } from "./fingerprint_case.ts";
import type { CaseSamples } from "./fingerprint_case.ts";
import { ContentHash } from "../volume/content_hash.ts";
import { loadCase } from "../dataset/load_case.ts";
import { volumeFiles } from "../formats/image_folders.ts";
import { readOtherFormats } from "../formats/when_needed.ts";
import type { Plan } from "../plan/plan.ts";
import { cropCase } from "./preprocess.ts";
import type { CroppedCase } from "./preprocess.ts";

/** The parts of a dataset that loading a case depends on. */
type CaseDataset = Pick<Dataset, "channels" | "labels" | "ignoreLabel">;

export type CaseJob =
  | {
    readonly kind: "fingerprint";
    readonly dataset: CaseDataset;
    readonly item: DatasetCase;
    readonly orientation: Plan["orientation"];
    readonly samples: number;
    readonly clip?: readonly [number, number];
  }
  | {
    readonly kind: "crop";
    readonly dataset: CaseDataset;
    readonly item: DatasetCase;
    readonly plan: Plan;
    /** Settings that the result depends on, and the key of a stored result. */
    readonly settings: string;
    readonly kept?: string;
  };

export type CaseResult =
  | { readonly kind: "fingerprint"; readonly samples: CaseSamples }
  /** content: hash of the case's files, whatever the settings. No case if the stored result is up to date. */
  | {
    readonly kind: "crop";
    readonly id: string;
    readonly content: string;
    readonly key: string;
    readonly cropped?: CroppedCase;
  };

/** URL of this module, for worker threads. */
export const caseJobsUrl: string = (import.meta as unknown as { url: string }).url;

/** Runs a job. Error messages begin with the case. */
export async function run(job: CaseJob): Promise<CaseResult> {
  readOtherFormats(); // a thread has loaded this module alone
  try {
    return await perform(job);
  } catch (error) {
    if (error instanceof Error) error.message = `case ${job.item.id}: ${error.message}`;
    throw error;
  }
}

async function perform(job: CaseJob): Promise<CaseResult> {
  const { item } = job;
  const { channels, labels, ignoreLabel } = job.dataset;
  const dataset = { channels, labels, ...(ignoreLabel !== undefined && { ignoreLabel }) };
  if (job.kind === "fingerprint") {
    const { orientation, samples, clip } = job;
    const options = { orientation, samples, ...(clip && { clip }), ...(ignoreLabel !== undefined && { ignoreLabel }) };
    return { kind: "fingerprint", samples: fingerprintCase(await loadCase(dataset, item), options) };
  }
  const files = new ContentHash();
  const { id, labelsPresent, labelMap } = item;
  files.text(JSON.stringify([id, labelsPresent ?? null, ...(labelMap ? [labelMap] : [])]));
  for (const path of await filesOf(item)) {
    files.text(path.slice(path.lastIndexOf("/") + 1));
    files.bytes(await platform.readFile(path));
  }
  const content = files.digest();
  const all = new ContentHash();
  all.text(JSON.stringify([job.settings, content]));
  const key = all.digest();
  if (key === job.kept) return { kind: "crop", id, content, key };
  return { kind: "crop", id, content, key, cropped: cropCase(await loadCase(dataset, item), job.plan) };
}

/** All files of a case, both of a .hdr/.img pair. */
async function filesOf(item: DatasetCase): Promise<string[]> {
  const named = [...item.images, ...(item.label === undefined ? [] : [item.label])];
  return (await Promise.all(named.map(volumeFiles))).flat();
}
