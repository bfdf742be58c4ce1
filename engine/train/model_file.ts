/** model.safetensors: the weights, and in the header all that is needed to use them on new images. */
import { VoxgradError } from "../core/errors.ts";
import type { Tensor } from "../core/tensor.ts";
import { platform } from "#platform";
import { loadSafetensors, saveSafetensors } from "./safetensors.ts";
import type { Task } from "./segment.ts";

/** A trained network but for its weights. */
export interface ModelDescription extends Task {
  /** Name of the constructor in models/mod.ts. */
  readonly network: string;
  /** Its argument. */
  readonly architecture: Readonly<Record<string, any>>;
  /** How images are brought to the network's scale. */
  readonly normalisation: "z-score per channel";
  /** Names of the channels of an image, in order. */
  readonly channelNames: readonly string[];
}

const KEY = "voxgrad";
const NAME = "model.safetensors";

/**
 * The bytes of a model file; the same for the same weights and description.
 *
 * @example await run.write("model.safetensors", await saveModel(params, description));
 */
export const saveModel = (params: any, description: ModelDescription): Promise<Uint8Array<ArrayBuffer>> =>
  saveSafetensors(params, { [KEY]: JSON.stringify(description) });

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
  const { tensors, metadata } = loadSafetensors(await platform.readFile(file));
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
  const { network, architecture, labels, patch, channels, normalisation } = description;
  const usable = [
    typeof network === "string", typeof architecture === "object", Array.isArray(labels) && labels.length > 1,
    Array.isArray(patch) && patch.length === 3, Number.isInteger(channels), normalisation === "z-score per channel",
  ];
  if (!usable.every(Boolean)) {
    throw new VoxgradError(`${file}: the description in its header is incomplete; train again`);
  }
  return { description, tensors };
}
