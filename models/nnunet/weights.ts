/** Weights of nnU-Net's networks by their names in voxgrad, which are the published ones. */
import { type Tensor, tensor } from "../../engine/segmenting.ts";

/** nnU-Net's checkpoints hold every weight up to three times. */
export const REPEATED: RegExp = /(^|\.)all_modules\.|^decoder\.encoder\./;

/** What torch.compile and data-parallel trainings put before every name. */
const WRAPPED = /^(_orig_mod\.|module\.)+/;

/**
 * The weights without repetitions, and those of two-dimensional convolutions as kernels of one slice.
 *
 * @param flat whether the network is two-dimensional
 */
export async function ownWeights(
  tensors: ReadonlyMap<string, Tensor>,
  flat: boolean,
): Promise<Map<string, Tensor>> {
  const result = new Map<string, Tensor>();
  for (const [name, t] of tensors) {
    const own = name.replace(WRAPPED, "");
    if (REPEATED.test(own)) continue;
    const [outputs, inputs, ...kernel] = t.shape;
    const sliced = flat && kernel.length === 2;
    result.set(own, sliced ? tensor(await t.data(), { shape: [outputs, inputs, 1, ...kernel] }) : t);
  }
  return result;
}
