/** Networks that other programs wrote, to be trained here and written again. */
import type { Tensor } from "../../engine/mod.ts";
import type { Plan } from "../../engine/imaging/mod.ts";
import type { LoadedModel } from "../../engine/train/mod.ts";
import type { Model } from "../known_networks.ts";

/**
 * A network of an ONNX file (NAME.onnx) or a layers model of TensorFlow.js (NAME.json), to be trained: its initial
 * parameters are the weights of the file. A model file with this architecture and the name "onnx" opens as any other.
 *
 * @param file its path
 * @throws VoxgradError for a file that is damaged, or does not fit the plan's channels, patch and labels;
 *   UnsupportedOnnx for operators that voxgrad does not have
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { readPlan } from "voxgrad/imaging";
 * import { networkFromFile } from "voxgrad/models";
 * import { saveModel } from "voxgrad/train";
 *
 * const plan = await readPlan("plan.json");
 * const { model, architecture } = await networkFromFile("network.onnx", plan);
 * const params = model.init(random.key(0));
 * // ... training
 * const bytes = await saveModel(params, { network: "onnx", architecture, plan });
 * ```
 */
export async function networkFromFile(
  file: string,
  plan: Plan,
): Promise<{ model: Model<Tensor>; architecture: object }> {
  const { foreignNetwork } = await import("./foreign_model.ts");
  return foreignNetwork(file, plan);
}

/**
 * The ONNX file of a network of `networkFromFile` with the weights of a training; the rest is as in the first file.
 *
 * @param loaded of `loadModel`
 * @example
 * ```ts
 * import { exportTrained } from "voxgrad/models";
 * import { loadModel } from "voxgrad/train";
 *
 * const bytes = await exportTrained(await loadModel("runs/finetuned/fold_0"));
 * ```
 */
export async function exportTrained(loaded: LoadedModel): Promise<Uint8Array> {
  const { writeTrained } = await import("./foreign_model.ts");
  return writeTrained(loaded);
}
