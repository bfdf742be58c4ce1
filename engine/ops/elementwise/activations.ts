/** Activations that are made of other operators. */
import { checkNumber, checkOptions } from "../../core/errors.ts";
import { checkTensor, type Tensor } from "../../core/tensor.ts";
import { mul } from "./arithmetic.ts";
import { greater, where } from "./comparison.ts";
import { clamp, erf, sigmoid, softplus, tanh } from "./elementwise.ts";
import { add } from "./elementwise_op.ts";
import { expm1 } from "./functions.ts";

/**
 * x Phi(x) with the normal distribution function, as PyTorch's default
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([-1, 0, 1]).gelu().array(); // [-0.1587, 0, 0.8413]
 * ```
 */
export function gelu(x: Tensor): Tensor {
  checkTensor("gelu", x);
  return mul(x, mul(add(erf(mul(x, Math.SQRT1_2)), 1), 0.5));
}

/**
 * x sigmoid(x), also called swish
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([-1, 0, 1]).silu().array(); // [-0.2689, 0, 0.7311]
 * ```
 */
export function silu(x: Tensor): Tensor {
  checkTensor("silu", x);
  return mul(x, sigmoid(x));
}

/**
 * x where positive, alpha (e^x - 1) elsewhere (default: alpha 1), Clevert et al. 2016
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([-1, 2]).elu().array(); // [-0.6321, 2]
 * ```
 */
export function elu(x: Tensor, options: { alpha?: number } = {}): Tensor {
  checkTensor("elu", x);
  checkOptions("elu", options, ["alpha"]);
  const { alpha = 1 } = options;
  checkNumber("elu", "alpha", alpha);
  const positive = greater(x, 0);
  // The side that is not taken must not overflow: 0 times infinity is NaN in the gradient.
  return where(positive, x, mul(expm1(where(positive, 0, x)), alpha));
}

/** Of the fixed point with mean 0 and variance 1. */
const [SELU_ALPHA, SELU_SCALE] = [1.6732632423543772, 1.0507009873554805];

/**
 * 1.0507 elu(x) with alpha 1.6733, which keeps mean 0 and variance 1, Klambauer et al. 2017
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([-1, 2]).selu().array(); // [-1.1113, 2.1014]
 * ```
 */
export function selu(x: Tensor): Tensor {
  checkTensor("selu", x);
  return mul(elu(x, { alpha: SELU_ALPHA }), SELU_SCALE);
}

/**
 * clamp(x + 3, 0, 6) / 6, as torch.nn.functional.hardsigmoid
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([-4, 0, 1.5]).hardSigmoid().array(); // [0, 0.5, 0.75]
 * ```
 */
export function hardSigmoid(x: Tensor): Tensor {
  checkTensor("hardSigmoid", x);
  return mul(clamp(add(x, 3), { min: 0, max: 6 }), 1 / 6);
}

/**
 * x hardSigmoid(x), Howard et al. 2019
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([-4, 1.5, 4]).hardSwish().array(); // [0, 1.125, 4]
 * ```
 */
export function hardSwish(x: Tensor): Tensor {
  checkTensor("hardSwish", x);
  return mul(x, hardSigmoid(x));
}

/**
 * x tanh(softplus(x)), Misra 2019
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([-1, 0, 1]).mish().array(); // [-0.3034, 0, 0.8651]
 * ```
 */
export function mish(x: Tensor): Tensor {
  checkTensor("mish", x);
  return mul(x, tanh(softplus(x)));
}
