/** Networks by the names that model files give them. */
import { ConfigError, type ModelDescription } from "../engine/train/mod.ts";
import { contextUNet } from "./colab/network.ts";
import { conResNet } from "./conresnet/conresnet.ts";
import { type Model, plainConvUNet, residualEncoderUNet } from "./unet/unet.ts";

const NETWORKS: Readonly<Record<string, (architecture: any) => Model<any, unknown>>> = {
  plainConvUNet,
  residualEncoderUNet,
  contextUNet,
  conResNet,
};

/**
 * The network of a model file, without its weights.
 *
 * @param file for the message
 * @throws ConfigError for a network that is not among those here
 * @example
 * ```ts
 * import { loadParameters, random } from "voxgrad";
 * import { networkOf } from "voxgrad/models";
 * import { loadModel } from "voxgrad/train";
 *
 * const { description, tensors } = await loadModel("runs/liver/fold_0");
 * const model = networkOf(description, "runs/liver/fold_0");
 * const params = loadParameters(model.init(random.key(0)), tensors);
 * ```
 */
export function networkOf(
  { network, architecture }: Pick<ModelDescription, "network" | "architecture">,
  file: string,
): Model<any, unknown> {
  if (network === "alpnetEncoder") {
    throw new ConfigError(`${file}: it holds an encoder, which needs labeled scans; use segment_one_shot`);
  }
  const make = Object.hasOwn(NETWORKS, network) ? NETWORKS[network] : undefined;
  if (!make) throw new ConfigError(`${file}: there is no network ${network} here`);
  return make(architecture);
}
