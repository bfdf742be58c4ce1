/** model.safetensors: the weights, and in the header all that is needed to use them on new images. */
import { trimSlashes } from "../../core/paths.ts";
import { platform } from "#platform";
import { isPlain, show, VoxgradError } from "../../core/errors.ts";
import { parseJson } from "../../core/json.ts";
import type { Tensor } from "../../core/tensor.ts";
import { VERSION } from "../../core/version.ts";
import type { Plan } from "../../imaging/plan/plan.ts";
import { checkPlan } from "../../imaging/plan/plan_file.ts";
import type { RunFolder } from "./run_folder.ts";
import { readWeights, saveSealed } from "../../nn/safetensors.ts";

/** A trained network but for its weights. */
export interface ModelDescription {
  readonly format: "voxgrad model 1";
  /** Name of the constructor in models/mod.ts. */
  readonly network: string;
  /** Its argument. */
  readonly architecture: object;
  /** How images are prepared for it, and what its outputs mean. */
  readonly plan: Plan;
  /** Of an encoder for few-shot segmentation: how it compares, as it was trained and measured. */
  readonly fewShot?: Readonly<Record<string, unknown>>;
  /** The version that wrote it, and digests of what the training was made from; see RunFolder.identity. */
  readonly voxgrad?: string;
  readonly of?: Readonly<Record<string, string>>;
}

const FORMAT = "voxgrad model 1";
const KEY = "voxgrad";
const NAME = "model.safetensors";

/**
 * The bytes of a model file; the same for the same weights and description. Its digest is in its header.
 *
 * @example
 * ```ts
 * import { ones } from "voxgrad";
 * import { readPlan } from "voxgrad/imaging";
 * import { saveModel } from "voxgrad/train";
 *
 * const description = { network: "mine", architecture: {}, plan: await readPlan("plan.json") };
 * const bytes = await saveModel({ weight: ones([8, 1, 3, 3, 3]) }, description);
 * ```
 */
export const saveModel = (
  params: object,
  description: Omit<ModelDescription, "format">,
): Promise<Uint8Array<ArrayBuffer>> =>
  saveSealed(params, { [KEY]: JSON.stringify({ format: FORMAT, ...description }) });

/**
 * Writes a model file into a run, with the digests of what the run is made from in its header. For the last weights,
 * model.safetensors, it waits for room where the disk is full: they are what the run was for.
 *
 * @example
 * ```ts
 * import { ones } from "voxgrad";
 * import { readPlan } from "voxgrad/imaging";
 * import { openRun, writeModel } from "voxgrad/train";
 *
 * const description = { network: "mine", architecture: {}, plan: await readPlan("plan.json") };
 * const run = await openRun({ name: "liver" });
 * await writeModel(run, "model.safetensors", { weight: ones([8, 1, 3, 3, 3]) }, description);
 * ```
 */
export async function writeModel(
  run: RunFolder,
  file: "model.safetensors" | "model_best.safetensors",
  params: object,
  description: Omit<ModelDescription, "format" | "voxgrad" | "of">,
): Promise<string> {
  const bytes = await saveModel(params, {
    ...description,
    voxgrad: VERSION,
    ...(run.identity && { of: run.identity }),
  });
  return file === NAME ? run.writeWhenRoom(file, bytes) : run.write(file, bytes);
}

/** The plan in the header of a file of weights; undefined where it is not one of voxgrad's. */
export function planOf(metadata: Readonly<Record<string, string>>, file: string): Plan | undefined {
  const stored = metadata[KEY];
  if (stored === undefined) return undefined;
  const description = parseJson(stored, `${file}: the description in its header`);
  return isPlain(description) ? checkPlan(description.plan, `${file}, the plan in its header`) : undefined;
}

/**
 * Reads a model file. One without a digest, as voxgrad wrote before 0.2, is taken with a word in the log.
 *
 * @param path the file, or the run folder that holds it
 * @throws VoxgradError when `saveModel` did not write the file; PlanError where its plan cannot be used;
 *   SafetensorsError where it is damaged or holds weights that are not finite; PlatformError when it is unreadable
 * @example
 * ```ts
 * import { loadModel } from "voxgrad/train";
 *
 * const { description, tensors } = await loadModel("runs/phantom-001");
 * ```
 */
export async function loadModel(
  path: string,
): Promise<{ description: ModelDescription; tensors: Map<string, Tensor> }> {
  const file = path.endsWith(".safetensors") ? path : `${trimSlashes(path)}/${NAME}`;
  const { tensors, metadata, sealed } = await readWeights(file);
  const stored = metadata[KEY];
  if (stored === undefined) {
    throw new VoxgradError(`${file}: its header does not describe a network; name a run of scripts/train_unet.ts`);
  }
  const description = parseJson(stored, `${file}: the description in its header`) as ModelDescription;
  const format = isPlain(description) ? description.format : undefined;
  if (format !== FORMAT) {
    throw new VoxgradError(
      `${file}: its format is ${
        format === undefined ? "none" : show(format)
      }, this version reads "${FORMAT}"; train again`,
    );
  }
  const { network, architecture, plan } = description;
  if (typeof network !== "string" || !isPlain(architecture)) {
    throw new VoxgradError(`${file}: the description in its header lacks network or architecture; train again`);
  }
  checkPlan(plan, `${file}, the plan in its header`);
  if (!sealed) {
    platform.log(`${file}: it has no digest to check it by, as files of voxgrad before 0.2; train again for one`);
  }
  return { description, tensors };
}
