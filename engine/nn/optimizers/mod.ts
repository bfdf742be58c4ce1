/** Optimizers: pairs of pure functions, `init` and `update`. */
export { adam, adamw, lamb } from "./adam.ts";
export type { AdamOptions } from "./adam.ts";
export { clipGradNorm } from "./clip_grad_norm.ts";
export { muon } from "./muon.ts";
export type { MuonOptions } from "./muon.ts";
export type { Optimizer, OptimizerState } from "./optimizer.ts";
export { emaUpdate, parameterGroups } from "./parameter_groups.ts";
export type { ParameterGroup } from "./parameter_groups.ts";
export { lion, rmsprop } from "./rmsprop.ts";
export type { LionOptions, RmspropOptions } from "./rmsprop.ts";
export { sgd } from "./sgd.ts";
export type { SgdOptions } from "./sgd.ts";
