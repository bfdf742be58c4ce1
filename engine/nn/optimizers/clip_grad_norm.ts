/** Clipping of gradients by their norm. */
import { check, refuseOptions, show } from "../../core/errors.ts";
import { isFloat } from "../../core/dtype.ts";
import { Tensor } from "../../core/tensor.ts";
import * as tree from "../../core/tree.ts";
import { add, cast, div, minimum, mul } from "../../ops/elementwise/elementwise.ts";
import { reshape } from "../../ops/shape/reshape.ts";
import { norm as normOf } from "../../ops/trees.ts";
import { like } from "./optimizer.ts";

/**
 * Scales gradients so that their global L2 norm is at most maxNorm; also returns the norm before clipping. As
 * torch.nn.utils.clip_grad_norm_, factor min(1, maxNorm / (norm + 1e-6)).
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 * import { clipGradNorm } from "voxgrad/nn";
 *
 * const [clipped, norm] = clipGradNorm({ weight: tensor([30, 40]) }, 5);
 * await norm.item(); // 50; the gradients are now about [3, 4]
 * ```
 */
export function clipGradNorm<P>(grads: P, maxNorm: number | Tensor, ...rest: never[]): [clipped: P, norm: Tensor] {
  refuseOptions("clipGradNorm", rest);
  check(
    maxNorm instanceof Tensor
      ? maxNorm.size === 1 && isFloat(maxNorm.dtype)
      : typeof maxNorm === "number" && maxNorm > 0,
    "clipGradNorm",
    () => `maxNorm is a number > 0 or a scalar tensor, got ${show(maxNorm)}`,
  );
  const leaves: Tensor[] = [];
  tree.map(grads as unknown, (g, path) => {
    check(
      g instanceof Tensor && isFloat(g.dtype),
      "clipGradNorm",
      () => `gradients are tensors of f32 or f16, got ${show(g)}${path && ` at ${path}`}`,
    );
    leaves.push(g);
  });
  check(leaves.length > 0, "clipGradNorm", () => "there are no gradients");
  const norm = normOf(leaves);
  const factor = minimum(
    div(maxNorm instanceof Tensor ? reshape(maxNorm, { shape: [] }) : maxNorm, add(norm, 1e-6)),
    1,
  );
  return [like(grads, leaves.map((g) => cast(mul(g, factor), g.dtype))), norm];
}
