/** Context labels that are known before training: prepared as a case's own label is, or clustered by intensity. */
import {
  bodyMask,
  checkGrid,
  kMeans,
  loadCase,
  nearestCenters,
  openDataset,
  preprocessCase,
  Prng,
  readLabelVolume,
  type SampleCase,
  type Volume,
  volumeLike,
} from "../../engine/imaging/mod.ts";
import {
  ConfigError,
  counted,
  print,
  readJson,
  RunFolder,
  type TrainingRun,
  trimSlashes,
} from "../../engine/train/mod.ts";

/**
 * A label map on a case's grid, as the case's own label is prepared.
 *
 * @param make gives the label map, of integers to 255, from the scan as stored
 * @returns [D, H, W] of the prepared case
 */
export async function preparedLabels(
  training: Pick<TrainingRun, "dataset" | "plan">,
  id: string,
  make: (image: Volume) => Volume | Promise<Volume>,
): Promise<Uint8Array> {
  const { dataset, plan } = training;
  const { image } = await loadCase(dataset, dataset.cases.find((each) => each.id === id)!);
  return (await preprocessCase({ id, image, label: await make(image) }, plan)).label;
}

/** The label map of a case in a folder of context labels. */
export const contextFile = (folder: string, id: string): string => `${trimSlashes(folder)}/${id}.nii.gz`;

/** @throws ConfigError for a value that is no context */
export function checkContextValues(label: Volume, contexts: number): void {
  for (const value of label.data) {
    if (Number.isInteger(value) && value >= 0 && value < contexts) continue;
    throw new ConfigError(`${label.name}: it holds ${value}; --contexts ${contexts} allows 0 to ${contexts - 1}`);
  }
}

/**
 * Looks through a folder of context labels before any case is prepared: a map for each case, on the grid of its label,
 * with values of contexts, and each context in one of them.
 *
 * @throws ConfigError, DatasetError that name the file or the option
 */
export async function checkContextLabels(
  { data, splits, contextLabels, contexts }: { data: string; splits: string; contextLabels: string; contexts: number },
): Promise<void> {
  const { cases } = await openDataset(data);
  // Of given splits only what they name is looked at; whether they are right is told where they are read.
  const named = splits === "" ? undefined : new Set(
    JSON.stringify(await readJson(splits)).match(/"(?:[^"\\]|\\.)*"/g)?.map((text) => JSON.parse(text) as string),
  );
  const wanted = cases.filter(({ id }) => named?.has(id) ?? true);
  const folder = new RunFolder(trimSlashes(contextLabels));
  const there = await Promise.all(wanted.map(({ id }) => folder.has(`${id}.nii.gz`)));
  const missing = wanted.filter((_, k) => !there[k]);
  if (missing.length > 0) {
    const more = missing.length > 1 ? `, nor those of ${missing.length - 1} other cases` : "";
    throw new ConfigError(`--contextLabels: there is no ${contextFile(contextLabels, missing[0].id)}${more}`);
  }
  const found = new Set<number>();
  for (const { id, label } of counted(wanted, "context labels")) {
    const map = await readLabelVolume(contextFile(contextLabels, id));
    if (label) checkGrid(await readLabelVolume(label), map, 0.05);
    checkContextValues(map, contexts);
    for (const value of map.data) found.add(value);
  }
  const absent = Array.from({ length: contexts }, (_, k) => k).filter((k) => !found.has(k));
  if (absent.length > 0) {
    throw new ConfigError(
      `--contexts ${contexts}: no file of ${contextLabels} has the value ${
        absent.join(", ")
      }; what would such a context be taught?`,
    );
  }
}

/** Training cases that k-means looks at, and voxels of each. */
const FITTED_CASES = 20;
const FITTED_VOXELS = 4000;
/** Of CT, in HU, as the official code. */
const CT_BODY = -200;

/**
 * Labels by k-means on the intensities in the body (Li et al. 2022, section IV-B). The paper does not say whether every
 * case has centers of its own: here they are those of some training cases together, in ascending order of brightness,
 * so that a context means the same in all. Voxels outside the body have the first context, with the darkest of the
 * body.
 *
 * The body is the largest connected part of what is brighter than a threshold in the first channel of the scan as
 * stored, holes filled: -200 HU for CT, 0 where the plan normalizes in the mask of what is not zero, else Otsu's.
 *
 * @param ids training cases: no held-out case may take part
 * @param options contexts; threshold in place of those; seed
 * @returns labels [D, H, W] of a prepared case; the centers are found when it is called first
 * @throws ConfigError where no voxel is body, VoxgradError where intensities are fewer than contexts
 * @example
 * ```ts
 * import { openCaseStore, openDataset, readPlan, withChannels } from "voxgrad/imaging";
 *
 * const [plan, dataset] = [await readPlan("plan.json"), await openDataset("data/KiTS")];
 * const store = await openCaseStore(dataset, plan, { folder: "runs/prepared" });
 * const contexts = clusteredContexts({ dataset, plan, store }, store.ids, { contexts: 2, seed: 1 });
 * const source = withChannels(store, contexts);
 * ```
 */
export function clusteredContexts(
  training: Pick<TrainingRun, "dataset" | "plan" | "store">,
  ids: readonly string[],
  options: { contexts: number; seed: number; threshold?: number },
): (item: SampleCase) => Promise<Float32Array> {
  const { plan, dataset, store } = training;
  const { contexts, seed } = options;
  const { normalization } = plan.channels[0];
  const usual = normalization === "ct" ? CT_BODY : normalization === "z-score in mask" ? 0 : undefined;
  const threshold = options.threshold ?? usual;
  const how = threshold === undefined ? {} : { threshold };
  // Those of the cases that were looked at wait here for their turn.
  const bodies = new Map<string, Promise<Uint8Array>>();
  const body = (id: string): Promise<Uint8Array> =>
    bodies.get(id) ?? preparedLabels(training, id, (image) => volumeLike(image, bodyMask(image, how)));

  const fit = async (): Promise<Float64Array> => {
    const prng = new Prng(seed).fork("k-means");
    const chosen = prng.shuffle(ids).slice(0, FITTED_CASES);
    const channels = plan.channels.length;
    const lists = Array.from({ length: channels }, (): number[] => []);
    for (const id of chosen) {
      const { image, label } = await store.get(id);
      bodies.set(id, body(id));
      const mask = await bodies.get(id)!;
      const inside = Array.from(mask.keys()).filter((i) => mask[i] === 1);
      const own = prng.fork(id);
      for (let k = 0; k < Math.min(FITTED_VOXELS, inside.length); k++) {
        const i = inside.length > FITTED_VOXELS ? inside[own.integer(inside.length)] : inside[k];
        for (let c = 0; c < channels; c++) lists[c].push(image[c * label.length + i]);
      }
    }
    if (lists[0].length === 0) {
      const above = threshold === undefined ? "Otsu's threshold" : `${threshold}`;
      throw new ConfigError(
        `${dataset.folder}: no voxel above ${above} in ${chosen.length} training cases; set --bodyThreshold`,
      );
    }
    const { centers } = kMeans(lists.flat(), { clusters: contexts, channels, seed });
    const shown = Array.from(
      { length: contexts },
      (_, k) => [...centers.subarray(k * channels, (k + 1) * channels)].map((v) => v.toPrecision(3)).join(" "),
    );
    print(
      `k-means on ${lists[0].length} voxels of ${chosen.length} training cases, centers as prepared: ${
        shown.join(", ")
      }`,
    );
    return centers;
  };
  let centers: Promise<Float64Array> | undefined;
  return async (item) => {
    const [found, mask] = [await (centers ??= fit()), await body(item.id)];
    bodies.delete(item.id);
    const nearest = nearestCenters(item.image, found, { channels: item.channels });
    return Float32Array.from(nearest, (label, i) => label * mask[i]);
  };
}
