/** The network of a plan. */
import { outputChannels, type Plan } from "../engine/imaging/mod.ts";
import { plainConvUNet, residualEncoderUNet } from "./unet/unet.ts";
import type { UNetConfig } from "./unet/config.ts";

type PlanOfNetwork = Pick<Plan, "channels" | "labels" | "regions" | "network">;

/**
 * What the constructor of a plan's network (`plan.network.name`) takes: as many inputs as the plan has channels, one
 * output per region or else per label.
 */
export function unetConfigOf(plan: PlanOfNetwork, options: { deepSupervision?: boolean } = {}): UNetConfig {
  const { name: _, ...network } = plan.network;
  return {
    ...network,
    inputChannels: plan.channels.length,
    classes: outputChannels(plan),
    deepSupervision: options.deepSupervision ?? false,
  };
}

/**
 * The U-Net that a plan describes.
 *
 * @param options.deepSupervision give logits at every decoder stage; default false
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { readPlan } from "voxgrad/imaging";
 * import { unetFromPlan } from "voxgrad/models";
 *
 * const model = unetFromPlan(await readPlan("plan.json"), { deepSupervision: true });
 * const params = model.init(random.key(1));
 * ```
 */
export function unetFromPlan(plan: PlanOfNetwork, options: { deepSupervision?: boolean } = {}) {
  const build = plan.network.name === "plainConvUNet" ? plainConvUNet : residualEncoderUNet;
  return build(unetConfigOf(plan, options));
}
