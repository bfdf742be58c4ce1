/** A trained model, opened to be trained further. */
import type { Params } from "../../engine/mod.ts";
import { check, loadParameters, random, VoxgradError } from "../../engine/segmenting.ts";
import { readOtherFormats } from "../../engine/imaging/formats/when_needed.ts";
import type { ModelDescription, ModelSource } from "../../engine/train/mod.ts";
import { ENCODER } from "../alpnet/network_name.ts";
import { type Model, networkOf } from "../known_networks.ts";
import { type OpenModelOptions, readModels } from "./open_any.ts";
import { parts } from "./open_model.ts";

/** A network with the weights of its training. */
export interface TrainableModel {
  readonly network: Model;
  readonly params: Params;
  /** What a model file of it says beside the weights; its plan says how scans are prepared. */
  readonly description: Pick<ModelDescription, "network" | "architecture" | "plan">;
  /** Where it was read. */
  readonly file: string;
}

/**
 * Opens one network that was trained, to train it further: whatever `openModel` opens but ensembles, second stages of
 * cascades, and encoders of few-shot segmentation. `saveModel` of its description writes what `openModel` reads.
 *
 * @param source as for openModel
 * @param options plan, external, configuration: as for openModel
 * @throws VoxgradError for what cannot be trained further, and as openModel
 * @example
 * ```ts
 * import { openForTraining } from "voxgrad/models";
 * import { saveModel } from "voxgrad/train";
 *
 * const { network, params, description } = await openForTraining("runs/liver/fold_0");
 * // ... training of params, by network.apply
 * const bytes = await saveModel(params, description);
 * ```
 */
export async function openForTraining(
  source: ModelSource,
  options: Pick<OpenModelOptions, "plan" | "external" | "configuration"> = {},
): Promise<TrainableModel> {
  readOtherFormats();
  const { loaded } = await readModels("openForTraining", [source], { ...options, mirror: "none" }, parts, cascade);
  const [{ description, tensors, file, network: graph, architecture }, ...others] = loaded;
  check(
    others.length === 0,
    "openForTraining",
    () => `${file}: one of ${loaded.length} networks; name the one to train, such as a fold of the run`,
  );
  check(
    description.network !== ENCODER,
    "openForTraining",
    () => `${file}: an encoder learns from a labeled scan as it is: give it corrected scans as supports instead`,
  );
  const network = graph ?? networkOf(description, file);
  const { backgrounds = 1 } = network as { backgrounds?: number };
  check(
    backgrounds === 1,
    "openForTraining",
    () => `${file}: its network has context labels, which only train_colab trains`,
  );
  return {
    network,
    params: loadParameters(network.init(random.key(0)), tensors),
    description: {
      network: graph ? "onnx" : description.network,
      architecture: architecture?.() ?? description.architecture,
      plan: description.plan,
    },
    file,
  };
}

const cascade = (): never => {
  throw new VoxgradError("openForTraining: second stages of cascades are not trained further; name the first stage");
};
