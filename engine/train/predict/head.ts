/** Networks, and their last layer, where that is a convolution of single voxels, apart from the rest. */
import { Tensor } from "../../core/tensor.ts";
import { conv3d } from "../../ops/linear/conv.ts";

/** A network as in models/. */
export interface Network {
  /** Logits [N, K, d, h, w] of images [N, C, d, h, w], or a list of them, finest first. */
  apply(params: object, image: Tensor, options?: { train?: boolean }): Tensor | readonly Tensor[];
  /**
   * Number of leading outputs that together form the background; default 1. Each is averaged separately: a voxel is
   * background if one of them is the most likely output, and the background probability is their sum.
   */
  readonly backgrounds?: number;
}

/** Finest logits [N, K, d, h, w] of a network in prediction. */
export const logitsOf = (network: Network, params: object, image: Tensor): Tensor => {
  const logits = network.apply(params, image, { train: false });
  return logits instanceof Tensor ? logits : logits[0];
};

interface Head {
  /** What the convolution takes, [N, F, d, h, w]. */
  readonly features: Tensor;
  readonly weight: Tensor;
  readonly bias?: Tensor;
}

/** The convolution that gives logits; undefined if they come from another operator, or from neighbors of a voxel. */
export function headOf(logits: Tensor): Head | undefined {
  const { source } = logits;
  if (source.kind !== "op" || source.op.name !== "conv" || logits.rank !== 5) return undefined;
  const [features, weight, bias] = source.inputs;
  const pointwise = String(weight.shape.slice(1)) === String([features.shape[1], 1, 1, 1]) &&
    String(features.shape.slice(2)) === String(logits.shape.slice(2));
  return pointwise ? { features, weight, ...(bias && { bias }) } : undefined;
}

/** The logits of features, by the weights of a head. */
export const applyHead = (features: Tensor, { weight, bias }: Head): Tensor =>
  conv3d(features, weight, bias ? { bias } : {});
