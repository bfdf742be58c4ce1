/** Losses, from logits and labels or between tensors of one shape. */
export { infoNce, ntXent } from "./contrastive.ts";
export { deepSupervision, deepSupervisionWeights, resizeLabels } from "./deep_supervision.ts";
export { diceBinaryCrossEntropy, diceCrossEntropy, regionTargets, softDice, tversky } from "./dice.ts";
export type {
  DiceBinaryCrossEntropyOptions,
  DiceCrossEntropyOptions,
  SoftDiceOptions,
  TverskyOptions,
} from "./dice.ts";
export { binaryFocalWithLogits, focal } from "./focal.ts";
export type { FocalOptions } from "./focal.ts";
export type { ReductionOptions } from "./reduction.ts";
export { hinge, huber, klDivergence, l1, mse } from "./regression.ts";
export { boundaryLoss, clDice, signedDistances, softSkeleton } from "./shape.ts";
export type { ClDiceOptions } from "./shape.ts";
