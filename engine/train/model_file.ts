/** model.safetensors: the weights, and in the header all that is needed to use them on new images. */
import { VoxgradError } from "../core/errors.ts";
import type { Plan } from "../imaging/plan.ts";
import type { Tensor } from "../core/tensor.ts";
import { readSafetensors, saveSafetensors } from "./safetensors.ts";

/** A trained network but for its weights. */
export interface ModelDescription {
  readonly format: "voxgrad model 1";
  /** Name of the constructor in models/mod.ts. */
  readonly network: string;
  /** Its argument. */
  readonly architecture: Readonly<Record<string, any>>;
  /** How images are prepared for it, and what its outputs mean. */
  readonly plan: Plan;
}

const FORMAT = "voxgrad model 1";
const KEY = "voxgrad";
const NAME = "model.safetensors";

/**
 * The bytes of a model file; the same for the same weights and description.
 *
 * @example await run.write("model.safetensors", await saveModel(params, description));
 */
export const saveModel = (
  params: any,
  description: Omit<ModelDescription, "format">,
): Promise<Uint8Array<ArrayBuffer>> =>
  saveSafetensors(params, { [KEY]: JSON.stringify({ format: FORMAT, ...description }) });

/**
 * Reads a model file.
 *
 * @param path the file, or the run folder that holds it
 * @throws VoxgradError when `saveModel` did not write the file; SafetensorsError, PlatformError when it is unreadable
 * @example const { description, tensors } = await loadModel("runs/phantom-001");
 */
export async function loadModel(
  path: string,
): Promise<{ description: ModelDescription; tensors: Map<string, Tensor> }> {
  const file = path.endsWith(".safetensors") ? path : `${path.replace(/(?<=.)\/+$/, "")}/${NAME}`;
  const { tensors, metadata } = await readSafetensors(file);
  const stored = metadata[KEY];
  if (stored === undefined) {
    throw new VoxgradError(`${file}: its header does not describe a network; name a run of scripts/train_unet.ts`);
  }
  let description: ModelDescription;
  try {
    description = JSON.parse(stored) as ModelDescription;
  } catch (cause) {
    throw new VoxgradError(`${file}: the description in its header is no JSON; train again`, { cause });
  }
  if (description.format !== FORMAT) {
    const got = description.format ? `"${description.format}"` : "none";
    throw new VoxgradError(`${file}: its format is ${got}, this version reads "${FORMAT}"; train again`);
  }
  const { network, architecture, plan } = description;
  if (typeof network !== "string" || typeof architecture !== "object" || typeof plan !== "object") {
    throw new VoxgradError(`${file}: the description in its header is incomplete; train again`);
  }
  return { description, tensors };
}
