/** model.safetensors: the weights, with everything needed to apply them to new images in the header. */
import { trimSlashes } from "../../core/paths.ts";
import { platform } from "#platform";
import { isPath } from "../../platform/sources.ts";
import { checkOptions, isPlain, show, VoxgradError } from "../../core/errors.ts";
import { parseJson } from "../../core/json.ts";
import type { Tensor } from "../../core/tensor.ts";
import { VERSION } from "../../core/version.ts";
import type { Plan } from "../../imaging/plan/plan.ts";
import { checkPlan } from "../../imaging/plan/plan_file.ts";
import { type ModelSource, mounted } from "./find_models.ts";
import type { RunFolder } from "./run_folder.ts";
import { readWeights, saveSealed } from "../../nn/safetensors.ts";

/** A trained network without its weights. */
export interface ModelDescription {
  readonly format: "voxgrad model 1";
  /** Name of the constructor in models/mod.ts. */
  readonly network: string;
  /** Its argument. */
  readonly architecture: object;
  /** Preprocessing, and the meaning of its outputs. */
  readonly plan: Plan;
  /** For an encoder of few-shot segmentation: comparison settings, as trained and evaluated. */
  readonly fewShot?: Readonly<Record<string, unknown>>;
  /** The version that wrote it, and digests of the training's inputs; see RunFolder.identity. */
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
 * Writes a model file into a run, with the digests of the run's inputs in its header. For the final weights,
 * model.safetensors, it waits for space if the disk is full.
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

/**
 * The plan in the header of a file of weights; undefined if voxgrad did not write it.
 *
 * @example
 * ```ts
 * import { readSafetensors } from "voxgrad";
 * import { planOf } from "voxgrad/train";
 *
 * const file = "runs/liver/fold_0/model.safetensors";
 * const plan = planOf((await readSafetensors(file)).metadata, file);
 * ```
 */
export function planOf(metadata: Readonly<Record<string, string>>, file: string): Plan | undefined {
  const stored = metadata[KEY];
  if (stored === undefined) return undefined;
  const description = parseJson(stored, `${file}: the description in its header`);
  return isPlain(description) ? checkPlan(description.plan, `${file}, the plan in its header`) : undefined;
}

/** A model file that was read. */
export interface LoadedModel {
  readonly description: ModelDescription;
  readonly tensors: Map<string, Tensor>;
  /** The path or the name of the file. */
  readonly file: string;
  /** The folder that it lies in, if it was read by its path. */
  readonly folder?: string;
}

/**
 * Reads a model file, wherever it is. A file without a digest, from voxgrad before 0.2, is accepted with a warning.
 *
 * @param source the file; or its run folder, by path or as a page's folder handle
 * @param options.onNetwork called with the name of the network before its plan is checked; may load what registers it
 * @throws VoxgradError if the file was not written by `saveModel`; PlanError if its plan is invalid; SafetensorsError
 *   if it is damaged or has weights that are not finite; PlatformError if it cannot be read
 * @example
 * ```ts
 * import { loadModel } from "voxgrad/train";
 *
 * const { description, tensors } = await loadModel("runs/phantom-001");
 * ```
 */
export async function loadModel(
  source: ModelSource,
  options: { onNetwork?: (name: string) => unknown } = {},
): Promise<LoadedModel> {
  checkOptions("loadModel", options, ["onNetwork"]);
  const given = mounted(source);
  const place = isPath(given) && !given.endsWith(".safetensors") ? `${trimSlashes(given)}/${NAME}` : given;
  const { tensors, metadata, sealed, name: file } = await readWeights(place);
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
  await options.onNetwork?.(network);
  checkPlan(plan, `${file}, the plan in its header`);
  if (!sealed) {
    platform.log(`${file}: it has no digest to check it by, as files of voxgrad before 0.2; train again for one`);
  }
  return { description, tensors, file, ...(isPath(place) && { folder: file.replace(/\/?[^/]*$/, "") || "." }) };
}
