/** The network of a plan. */
import { outputChannels, type Plan } from "../engine/mod.ts";
import { plainConvUNet, residualEncoderUNet } from "./unet.ts";

/**
 * The U-Net that a plan describes: as many inputs as it has channels, one output per region or else per label.
 *
 * @param options.deepSupervision give logits at every decoder stage; default false
 * @example
 * const model = unetFromPlan(await readPlan("plan.json"), { deepSupervision: true });
 * const params = model.init(random.key(1));
 */
export function unetFromPlan(
  plan: Pick<Plan, "channels" | "labels" | "regions" | "network">,
  options: { deepSupervision?: boolean } = {},
) {
  const { name, ...network } = plan.network;
  const config = {
    ...network,
    inputChannels: plan.channels.length,
    classes: outputChannels(plan),
    deepSupervision: options.deepSupervision ?? false,
  };
  return name === "plainConvUNet" ? plainConvUNet(config) : residualEncoderUNet(config);
}
