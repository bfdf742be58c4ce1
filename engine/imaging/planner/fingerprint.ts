/** The fingerprint of a dataset: the input of nnU-Net's planning rules. */
import { VoxgradError } from "../../core/errors.ts";
import { platform } from "#platform";
import type { CaseFaults } from "../dataset/case_faults.ts";
import { openCasePool } from "../prepare/case_pool.ts";
import type { Dataset } from "../dataset/types.ts";
import type { CaseFingerprint, CaseSamples } from "../prepare/fingerprint_case.ts";
import type { Plan } from "../plan/plan.ts";

export type { CaseFingerprint } from "../prepare/fingerprint_case.ts";

/** Intensities of a channel at foreground voxels, each case weighted equally. */
export interface ChannelFingerprint {
  readonly name: string;
  readonly mean: number;
  readonly median: number;
  /** Standard deviation (of the population). */
  readonly deviation: number;
  readonly min: number;
  readonly max: number;
  /** 0.5 and 99.5 percentile. */
  readonly low: number;
  readonly high: number;
}

export interface Fingerprint {
  readonly orientation: Plan["orientation"];
  readonly cases: readonly CaseFingerprint[];
  readonly channels: readonly ChannelFingerprint[];
}

/** Number of values sampled per channel in total, and the minimum per case. */
const SAMPLES = 2e6;
const LEAST = 1000;

/** The value below which a fraction q of the sorted values lies, interpolated as in NumPy's percentile. */
export function quantile(sorted: ArrayLike<number>, q: number): number {
  if (sorted.length === 0) return NaN;
  const at = q * (sorted.length - 1);
  const below = Math.floor(at);
  const above = Math.min(sorted.length - 1, below + 1);
  return sorted[below] + (at - below) * (sorted[above] - sorted[below]);
}

function statistics(name: string, lists: readonly Float32Array[]): ChannelFingerprint {
  const all = new Float32Array(lists.reduce((sum, list) => sum + list.length, 0));
  let at = 0;
  for (const list of lists) {
    all.set(list, at);
    at += list.length;
  }
  all.sort();
  let sum = 0;
  for (const value of all) sum += value;
  const mean = sum / all.length;
  let squares = 0;
  for (const value of all) squares += (value - mean) ** 2;
  return {
    name,
    mean,
    median: quantile(all, 0.5),
    deviation: Math.sqrt(squares / all.length),
    min: all[0] ?? NaN,
    max: all[all.length - 1] ?? NaN,
    low: quantile(all, 0.005),
    high: quantile(all, 0.995),
  };
}

/**
 * Reads all labeled cases of a dataset: their spacings, their sizes after the crop to non-zero, and the intensity
 * distribution in the foreground, from a seeded sample that weights each case equally.
 *
 * @param options.workers threads that read and decompress files, if the host has them; default 0, the calling thread
 * @param options.orientation "RAS" (default), or "stored" to keep axes as in the file
 * @param options.faults collects the errors of unusable cases, which are then skipped; default: throws the first
 * @param options.signal stops after the case at hand, with its reason
 * @param options.unlabeled also reads cases without a label, whose intensities are those in the body (`bodyMask`)
 * @param options.clip intensities are cut off at these before they are counted
 * @throws DatasetError for the first case that cannot be used, NiftiError or PlatformError for one that cannot be read
 * @throws VoxgradError when no case has a label
 * @example
 * ```ts
 * import { fingerprintDataset, openDataset } from "voxgrad/imaging";
 *
 * const fingerprint = await fingerprintDataset(await openDataset("data/Task09_Spleen"), { workers: 4 });
 * ```
 */
export async function fingerprintDataset(
  dataset: Dataset,
  options: {
    workers?: number;
    orientation?: Plan["orientation"];
    faults?: CaseFaults;
    signal?: AbortSignal | undefined;
    unlabeled?: boolean;
    clip?: readonly [number, number];
  } = {},
): Promise<Fingerprint> {
  const { workers = 0, orientation = "RAS", faults, signal, unlabeled = false, clip } = options;
  const cases = dataset.cases.filter((item) => unlabeled || item.label !== undefined);
  if (cases.length === 0) {
    throw new VoxgradError(`fingerprintDataset: no case of ${dataset.folder} has a label; add some to labelsTr`);
  }
  const samples = Math.max(LEAST, Math.ceil(SAMPLES / cases.length));
  const found = new Map<string, CaseSamples>();
  const pool = openCasePool(workers);
  try {
    await pool.each(
      cases,
      (item) => ({ kind: "fingerprint", dataset, item, orientation, samples, ...(clip && { clip }) }),
      async (result) => {
        signal?.throwIfAborted();
        if (result.kind !== "fingerprint") return;
        found.set(result.samples.id, result.samples);
        const [done, total] = [found.size, cases.length];
        platform.progress({ done, total, text: `fingerprint  case ${done}/${total}  ${result.samples.id}` });
      },
      faults && ((item, error) => faults.note(item.id, error)),
    );
  } finally {
    await pool.close();
  }
  const ordered = cases.flatMap((item) => found.get(item.id) ?? []);
  return {
    orientation,
    cases: ordered.map(({ values: _, ...rest }) => rest),
    channels: dataset.channels.map((name, c) =>
      statistics(
        name,
        ordered.map((item) => item.values[c]),
      )
    ),
  };
}
