/** Network architectures; parameter trees have the names of the published PyTorch models. */
export { plainConvUNet, residualEncoderUNet } from "./unet.ts";
export type { Model, ResolvedUNet, UNetConfig } from "./unet.ts";
