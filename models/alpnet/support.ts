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
import { largestSlices, oneShotSegmenter } from "./scans.ts";
import type { OneShotOptions, OneShotSegmenter } from "./scans.ts";

/** How an encoder compares slices: stored in its model file, as trained and evaluated. */
export interface FewShotSettings {
  /** Edge of a prototype window in feature pixels. */
  readonly window: number;
  /** Parts of a class along the slices. */
  readonly chunks: number;
  /** Local prototypes, or one per class. */
  readonly prototypes: "alpnet" | "panet";
  /** alpha of Eq. 4. */
  readonly temperature: number;
  /** See alpnet.classPrototypes. */
  readonly rule: "code" | "paper";
}

/** User overrides; 0 and "run" keep the encoder's settings. */
export interface OneShotSettings {
  readonly window?: number;
  readonly chunks?: number;
  readonly prototypes?: "run" | "alpnet" | "panet";
}

const DEFAULTS: FewShotSettings = { window: 2, chunks: 3, prototypes: "alpnet", temperature: 20, rule: "code" };

const isCount = (value: unknown): boolean => Number.isInteger(value) && (value as number) >= 1;
const RIGHT: Readonly<Record<keyof FewShotSettings, (value: unknown) => boolean>> = {
  window: isCount,
  chunks: isCount,
  prototypes: (value) => value === "alpnet" || value === "panet",
  temperature: (value) => typeof value === "number" && Number.isFinite(value) && value > 0,
  rule: (value) => value === "code" || value === "paper",
};

/** @throws ConfigError that names the file and the setting */
function checkedSettings(found: Readonly<Record<string, unknown>>, file: string): FewShotSettings {
  for (const [key, right] of Object.entries(RIGHT)) {
    if (!right(found[key])) {
      throw new ConfigError(
        `${file}: its few-shot setting ${key} is ${JSON.stringify(found[key])?.slice(0, 80)}; train again`,
      );
    }
  }
  return found as unknown as FewShotSettings;
}

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
    return checkedSettings({ ...DEFAULTS, window, chunks, temperature, rule, prototypes }, `${folder}/config.json`);
  }
  print(
    `${file}: it does not say how the encoder was measured; window ${DEFAULTS.window}, ${DEFAULTS.chunks} chunks ` +
      "and local prototypes are taken",
  );
  return DEFAULTS;
}

/** The encoder's settings with user overrides, as options of oneShotSegmenter. */
export function fewShotOptions(
  own: FewShotSettings,
  asked: OneShotSettings = {},
):
  & Pick<OneShotOptions, "foreground" | "background">
  & Required<Pick<OneShotOptions, "window" | "chunks" | "temperature" | "rule">> {
  const prototypes = asked.prototypes === "alpnet" || asked.prototypes === "panet" ? asked.prototypes : own.prototypes;
  return {
    window: asked.window || own.window,
    chunks: asked.chunks || own.chunks,
    temperature: own.temperature,
    rule: own.rule,
    ...(prototypes === "panet" && { foreground: "mask", background: "mask" }),
  };
}

/** A trained encoder and its plan. */
export interface OneShot {
  readonly plan: Plan;
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
  const { model, params, plan, settings } = await encoderOf(await loadModel(run));
  return { plan, segment: oneShotSegmenter(model, params, { plan, ...fewShotOptions(settings, asked) }) };
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
export function sliceAxis(image: Pick<Volume, "affine">, plan: Plan): { storage: 0 | 1 | 2; patient: PatientAxis } {
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
 * @param options slices: "largest" keeps, for each class, only the slice that shows most of it; default "chunks"
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
  { slices = "chunks" }: { slices?: "chunks" | "largest" } = {},
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
