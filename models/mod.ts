/** Network architectures; parameter trees have the names of the published PyTorch models. */
export { unetConfigOf, unetFromPlan } from "./from_plan.ts";
export { plainConvUNet, residualEncoderUNet } from "./unet.ts";
export type { Model, ResolvedUNet, UNetConfig } from "./unet.ts";
