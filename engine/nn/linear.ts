/** The linear layer: a matrix product with learned weights along the last axis. */
import { check, checkFlag, checkOptions, refuseOptions, show } from "../core/errors.ts";
import { Tensor } from "../core/tensor.ts";
import { add } from "../ops/elementwise/elementwise.ts";
import { matmul } from "../ops/linear/matmul.ts";
import { transpose } from "../ops/shape/transpose.ts";
import { heParameter, type Parameter, zerosParameter } from "./init.ts";
import type { Affine } from "./layers.ts";

/**
 * Parameters of a linear layer, as torch.nn.Linear names them: weight [outputs, inputs] with He normal initialization,
 * bias 0.
 *
 * @param options.bias default: true
 * @param options.a slope of the activation that follows, for He initialization; default: 0, a ReLU
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { initialize, linearParameters } from "voxgrad/nn";
 *
 * const params = initialize(random.key(1), linearParameters(8, 3));
 * params.weight.shape; // [3, 8]
 * ```
 */
export function linearParameters(
  inputs: number,
  outputs: number,
  options: { bias?: boolean; a?: number } = {},
): Affine<Parameter> {
  checkOptions("linearParameters", options, ["bias", "a"]);
  checkFlag("linearParameters", "bias", options.bias);
  const weight = heParameter([outputs, inputs], options.a ?? 0);
  return options.bias === false ? { weight } : { weight, bias: zerosParameter([outputs]) };
}

/**
 * x W' + b along the last axis of x, as torch.nn.functional.linear.
 *
 * @param params weight [outputs, inputs] and bias [outputs]
 * @param x [..., inputs]
 * @returns [..., outputs]
 * @throws VoxgradError if the weight does not fit the last axis
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { initialize, linear, linearParameters } from "voxgrad/nn";
 *
 * const params = initialize(random.key(1), linearParameters(8, 3));
 * const y = linear(params, random.normal(random.key(2), { shape: [4, 5, 8] })); // [4, 5, 3]
 * ```
 */
export function linear(params: Affine, x: Tensor, ...rest: never[]): Tensor {
  refuseOptions("linear", rest);
  const weight = params?.weight;
  check(
    x instanceof Tensor && weight instanceof Tensor && weight.rank === 2 && x.shape.at(-1) === weight.shape[1],
    "linear",
    () => `x is [..., inputs] and the weight [outputs, inputs], got ${show(x)} and ${show(weight)}`,
  );
  const y = matmul(x, transpose(weight));
  return params.bias ? add(y, params.bias) : y;
}
