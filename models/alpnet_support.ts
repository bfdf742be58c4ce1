/** What segmentation by labelled scans starts from: an encoder out of its file, and supports made of label maps. */
import {
  axisCodes, checkGrid, ConfigError, loadModel, loadParameters, preprocessCase, random,
} from "../engine/mod.ts";
import type { PatientAxis, Plan, PreparedCase, Volume } from "../engine/mod.ts";
import * as alpnet from "./alpnet.ts";
import { largestSlices, oneShotSegmenter } from "./alpnet_scans.ts";

export interface OneShotSettings {
  /** Edge of a prototype's window in features. */
  readonly window: number;
  /** Parts of a class along the slices. */
  readonly chunks: number;
  /** Local prototypes, or one for each class. */
  readonly prototypes: "alpnet" | "panet";
}

/** A trained encoder and how scans come to it. */
export interface OneShot {
  readonly plan: Plan;
  readonly segment: ReturnType<typeof oneShotSegmenter>;
}

/**
 * An encoder that scripts/train_alpnet.ts has trained.
 *
 * @param run its run folder, or model.safetensors
 * @throws ConfigError where the file holds another network; what `loadModel` throws
 */
export async function loadEncoder(run: string) {
  const { description, tensors } = await loadModel(run);
  const { network, architecture, plan } = description;
  if (network !== "alpnetEncoder") throw new ConfigError(`${run}: it holds a ${network}; name a run of train_alpnet`);
  const model = alpnet.encoder(architecture);
  return { model, params: loadParameters(model.init(random.key(0)), tensors), plan, tensors, description: { network, architecture } };
}

/**
 * The segmenter of an encoder that scripts/train_alpnet.ts has trained.
 *
 * @param run its run folder, or model.safetensors
 * @throws as loadEncoder
 * @example const { plan, segment } = await loadOneShot("runs/encoder", { window: 2, chunks: 3, prototypes: "alpnet" });
 */
export async function loadOneShot(run: string, { window, chunks, prototypes }: OneShotSettings): Promise<OneShot> {
  const { model, params, plan } = await loadEncoder(run);
  const panet = prototypes === "panet" ? { foreground: "mask" as const, background: "mask" as const } : {};
  return { plan, segment: oneShotSegmenter(model, params, { plan, window, chunks, ...panet }) };
}

/** Letters of both directions along the axes [z, y, x] of a scan turned to RAS. */
const LETTERS = ["SI", "AP", "RL"] as const;

/** Which stored axis (0 x, 1 y, 2 z) becomes prepared axis k. */
export const storedAxis = ({ affine }: Pick<Volume, "affine">, { orientation, transpose }: Pick<Plan, "orientation" | "transpose">, k: number): 0 | 1 | 2 => {
  const axis = transpose[k]!;
  if (orientation === "stored") return (2 - axis) as 0 | 1 | 2;
  return [...axisCodes(affine)].findIndex((code) => LETTERS[axis]!.includes(code)) as 0 | 1 | 2;
};

/** The axis of the patient that a stored axis is nearest to. */
export const patientAxis = ({ affine }: Pick<Volume, "affine">, stored: 0 | 1 | 2): PatientAxis =>
  LETTERS.find((both) => both.includes(axisCodes(affine)[stored]!))![0] as PatientAxis;

/**
 * Along which axis of a volume the encoder takes slices.
 *
 * @returns storage: 0, 1 or 2 for x, y or z of the volume; patient: the axis nearest to it
 */
export function sliceAxis(image: Pick<Volume, "affine">, plan: Plan): { storage: 0 | 1 | 2; patient: PatientAxis } {
  const storage = storedAxis(image, plan, 0);
  return { storage, patient: patientAxis(image, storage) };
}

/** Labels of which some classes also fill the slices beside theirs, as many as lie within half a slice of the plan. */
function thickened(label: Volume, values: readonly number[], plan: Plan): Volume {
  const { storage } = sliceAxis(label, plan);
  const [X, Y] = label.shape;
  const [stride, size] = [[1, X, X * Y][storage]!, label.shape[storage]];
  const reach = Math.ceil(plan.spacing[0] / label.spacing[storage] / 2);
  const data = Uint8Array.from(label.data);
  for (let i = 0; i < data.length; i++) {
    const value = label.data[i]!;
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
 * A labelled scan as the encoder sees it. A class that is on so few slices that it would be lost, for the encoder's are
 * further apart, is taken to fill the next one.
 *
 * @param support label: values from 0 to 255 on the grid of the image
 * @param options slices: "largest" keeps of each class the slice alone that shows most of it; "chunks" unless given
 * @returns lost: which class is lost all the same, and why, in words
 * @throws ConfigError for labels that are no such numbers; DatasetError where the grids differ
 * @example const { support } = await prepareSupport({ id: "first", image, label: await readVolume("organ.nii.gz") }, plan);
 */
export async function prepareSupport(
  { id, image, label: given }: { id: string; image: Volume; label: Volume },
  plan: Plan,
  { slices = "chunks" }: { slices?: "chunks" | "largest" } = {},
): Promise<{ support: PreparedCase; lost?: string }> {
  checkGrid(image, given, 0.05);
  for (const value of given.data) {
    if (Number.isInteger(value) && value >= 0 && value < 256) continue;
    throw new ConfigError(`${given.name}: it holds ${value}; labels are whole numbers from 0 to 255`);
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
