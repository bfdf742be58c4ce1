/** Inputs of segmentation by labeled scans: an encoder from its file, and supports from label maps. */
import { loadParameters, random } from "../../engine/mod.ts";
import {
  axisCodes,
  checkGrid,
  type Plan,
  type PreparedCase,
  preprocessCase,
  type Volume,
  wholeLabels,
} from "../../engine/imaging/mod.ts";
import {
  ConfigError,
  type LoadedModel,
  loadModel,
  type ModelSource,
  type PatientAxis,
  print,
  RunFolder,
} from "../../engine/train/mod.ts";
import * as alpnet from "./alpnet.ts";
import { ENCODER } from "./network_name.ts";
import { oneShotSegmenter } from "./scans.ts";
import type { OneShotSegmenter } from "./scans.ts";
import { checkedAsked, checkedSettings, FEW_SHOT, fewShotOptions } from "./settings.ts";
import type { FewShotSettings, OneShotSettings } from "./settings.ts";
import { largestSlices } from "./slices.ts";

/**
 * The settings of an encoder whose file lacks them (voxgrad before 0.2): from config.json in its run folder, or else
 * defaults, with a warning.
 */
async function settingsBeside({ file, folder }: LoadedModel): Promise<FewShotSettings> {
  const config = folder === undefined
    ? undefined
    : await new RunFolder(folder.replace(/\/fold_\d+$/, "")).readJson("config.json");
  const { options = {} } = (config ?? {}) as { readonly options?: Readonly<Record<string, unknown>> };
  const { testWindow: window, chunks, temperature, rule, arm } = options;
  const prototypes = ["panet", "ssl-panet"].includes(String(arm)) ? "panet" as const : "alpnet" as const;
  if (window !== undefined) {
    return checkedSettings({ window, chunks, temperature, rule, prototypes }, `${folder}/config.json`);
  }
  print(
    `${file}: it does not say how the encoder was measured; window ${FEW_SHOT.window}, ${FEW_SHOT.chunks} chunks ` +
      "and local prototypes are taken",
  );
  return FEW_SHOT;
}

/** A trained encoder and its plan. */
export interface OneShot {
  readonly plan: Plan;
  /** How the encoder compares slices here. */
  readonly settings: FewShotSettings;
  readonly segment: OneShotSegmenter;
}

/**
 * The encoder of a model file, and how it compares slices.
 *
 * @throws ConfigError if the file holds another network, or invalid settings
 */
export async function encoderOf(loaded: LoadedModel) {
  const { description: { network, architecture, plan, fewShot }, tensors, file } = loaded;
  if (network !== ENCODER) throw new ConfigError(`${file}: it holds a ${network}; name a run of train_alpnet`);
  const model = alpnet.encoder(architecture);
  const settings = fewShot ? checkedSettings(fewShot, file) : await settingsBeside(loaded);
  return {
    model,
    params: loadParameters(model.init(random.key(0)), tensors),
    plan,
    tensors,
    settings,
    description: { network, architecture },
  };
}

/**
 * The segmenter of an encoder trained by scripts/train_alpnet.ts.
 *
 * @param run its run folder, or model.safetensors
 * @param asked overrides of the encoder's settings
 * @throws ConfigError if the file holds another network, or invalid settings; and as `loadModel`
 * @example
 * ```ts
 * import { loadOneShot } from "voxgrad/models";
 *
 * const { plan, segment } = await loadOneShot("runs/encoder");
 * ```
 */
export async function loadOneShot(run: ModelSource, asked: OneShotSettings = {}): Promise<OneShot> {
  const { model, params, plan, settings: own } = await encoderOf(await loadModel(run));
  const settings = checkedAsked(own, asked);
  return { plan, settings, segment: oneShotSegmenter(model, params, { plan, ...fewShotOptions(settings) }) };
}

/** Letters of both directions along the axes [z, y, x] of a scan in RAS. */
const LETTERS = ["SI", "AP", "RL"] as const;

/** The stored axis (0 x, 1 y, 2 z) of prepared axis k. */
export const storedAxis = (
  { affine }: Pick<Volume, "affine">,
  { orientation, transpose }: Pick<Plan, "orientation" | "transpose">,
  k: number,
): 0 | 1 | 2 => {
  const axis = transpose[k];
  if (orientation === "stored") return (2 - axis) as 0 | 1 | 2;
  return [...axisCodes(affine)].findIndex((code) => LETTERS[axis].includes(code)) as 0 | 1 | 2;
};

/** The patient axis nearest to a stored axis. */
export const patientAxis = ({ affine }: Pick<Volume, "affine">, stored: 0 | 1 | 2): PatientAxis =>
  LETTERS.find((both) => both.includes(axisCodes(affine)[stored]))![0] as PatientAxis;

/**
 * The axis of a volume along which the encoder takes slices.
 *
 * @returns storage: 0, 1 or 2 for x, y or z of the volume; patient: the axis nearest to it
 */
export function sliceAxis(
  image: Pick<Volume, "affine">,
  plan: Pick<Plan, "orientation" | "transpose">,
): { storage: 0 | 1 | 2; patient: PatientAxis } {
  const storage = storedAxis(image, plan, 0);
  return { storage, patient: patientAxis(image, storage) };
}

/** Extends some classes to neighboring slices within half a slice of the plan. */
function thickened(label: Volume, values: readonly number[], plan: Plan): Volume {
  const { storage } = sliceAxis(label, plan);
  const [X, Y] = label.shape;
  const [stride, size] = [[1, X, X * Y][storage], label.shape[storage]];
  const reach = Math.ceil(plan.spacing[0] / label.spacing[storage] / 2);
  const data = Uint8Array.from(label.data);
  for (let i = 0; i < data.length; i++) {
    const value = label.data[i];
    if (!values.includes(value)) continue;
    const at = Math.floor(i / stride) % size;
    for (let n = Math.max(0, at - reach); n <= Math.min(size - 1, at + reach); n++) {
      const beside = i + (n - at) * stride;
      if (data[beside] === 0) data[beside] = value;
    }
  }
  return { ...label, data };
}

/**
 * Prepares a labeled scan for the encoder. A class on so few slices that resampling to the encoder's spacing would lose
 * it is extended to the next slice.
 *
 * @param support label: values from 0 to 255 on the grid of the image
 * @param options slices: "largest" keeps, for each class, only the slice that shows most of it; any other keeps all
 * @returns lost: a message naming the classes lost anyway, with the reason
 * @throws ConfigError, DatasetError for invalid labels; DatasetError if the grids differ
 * @example
 * ```ts
 * import { readLabelVolume, readPlan, readVolume } from "voxgrad/imaging";
 * import { prepareSupport } from "voxgrad/models";
 *
 * const scan = { id: "first", image: await readVolume("scan.nii.gz"), label: await readLabelVolume("organ.nii.gz") };
 * const { support, lost } = await prepareSupport(scan, await readPlan("plan.json"), { slices: "largest" });
 * ```
 */
export async function prepareSupport(
  { id, image, label: stored }: { id: string; image: Volume; label: Volume },
  plan: Plan,
  { slices }: { readonly slices?: OneShotSettings["slices"] } = {},
): Promise<{ support: PreparedCase; lost?: string }> {
  checkGrid(image, stored, 0.05);
  const given = wholeLabels(stored);
  for (const value of given.data) {
    if (Number.isInteger(value) && value >= 0 && value < 256) continue;
    throw new ConfigError(`${given.name}: it holds ${value}; labels are integers from 0 to 255`);
  }
  const label: Volume = { ...given, data: Uint8Array.from(given.data) };
  const values = [...new Set(label.data as Iterable<number>)].filter((value) => value > 0);
  const missing = ({ label }: PreparedCase): number[] => values.filter((value) => !label.includes(value));
  let support = await preprocessCase({ id, image, label }, plan);
  const thin = missing(support);
  if (thin.length > 0) support = await preprocessCase({ id, image, label: thickened(label, thin, plan) }, plan);
  if (slices === "largest") support = largestSlices(support);
  const [first] = missing(support);
  if (first === undefined) return { support };
  const size = plan.spacing.map((mm) => Number(mm.toPrecision(3))).join(" x ");
  const where = `in what the encoder sees, voxels of ${size} mm where the scan is not 0`;
  return { support, lost: `${given.name}: nothing of class ${first} is left ${where}; label more of it` };
}

/**
 * Labels of a scan of which some slices were labeled by hand: in a slice that shows a class, the class is as it was
 * labeled there.
 *
 * @param found labels of the scan
 * @param painted what was labeled, on the same grid; a slice that shows nothing of a class says nothing of it
 * @param plan of the encoder, along whose slices it was labeled
 * @example
 * ```ts
 * import { readLabelVolume, readPlan } from "voxgrad/imaging";
 * import { keepPainted } from "voxgrad/models";
 *
 * const [found, painted] = [await readLabelVolume("found.nii.gz"), await readLabelVolume("painted.nii.gz")];
 * const labels = keepPainted(found, painted, await readPlan("plan.json"));
 * ```
 */
export function keepPainted(found: Volume, painted: Volume, plan: Pick<Plan, "orientation" | "transpose">): Volume {
  const { storage } = sliceAxis(painted, plan);
  const [X, Y] = painted.shape;
  const [stride, count] = [[1, X, X * Y][storage], painted.shape[storage]];
  const shown = Array.from({ length: count }, () => new Set<number>());
  const sliceOf = (i: number): Set<number> => shown[Math.floor(i / stride) % count];
  painted.data.forEach((value: number, i: number) => void (value > 0 && sliceOf(i).add(value)));
  const data = Uint8Array.from(found.data, (value, i) => {
    const own = painted.data[i];
    return own > 0 || sliceOf(i).has(value) ? own : value;
  });
  return { ...found, data };
}
