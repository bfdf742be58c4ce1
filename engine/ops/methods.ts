/** Operators as methods of Tensor: `x.sub(mean).div(std)`. One table; the declaration below gives it types. */
import { Tensor } from "../core/tensor.ts";
import { broadcastTo } from "./broadcast_to.ts";
import * as elementwise from "./elementwise.ts";
import { argmax, logSumExp, max, mean, min, sum, variance } from "./reduce.ts";
import { expandDims, reshape, squeeze } from "./reshape.ts";
import { flip, slice, split } from "./slice.ts";
import { logSoftmax, softmax } from "./softmax.ts";
import { matmul } from "./matmul.ts";
import { pad } from "./pad.ts";
import { take } from "./take.ts";
import { transpose } from "./transpose.ts";

// All elementwise operators but `where`, whose first argument is the condition.
const { where: _where, literal: _literal, ...elementwiseMethods } = elementwise;

const table = {
  ...elementwiseMethods,
  ...{ argmax, logSumExp, max, mean, min, sum, variance },
  ...{ broadcastTo, expandDims, flip, pad, reshape, slice, split, squeeze, take, transpose },
  ...{ logSoftmax, matmul, softmax },
};

type Method<F> = F extends (x: Tensor, ...rest: infer R) => infer T
  ? (...rest: R) => T
  : F extends (x: elementwise.Operand, ...rest: infer R) => infer T
    ? (...rest: R) => T
    : never;
type Methods = { [Name in keyof typeof table]: Method<(typeof table)[Name]> };

declare module "../core/tensor.ts" {
  interface Tensor extends Methods {}
}

for (const [name, operator] of Object.entries(table)) {
  Object.defineProperty(Tensor.prototype, name, {
    configurable: true,
    writable: true,
    value(this: Tensor, ...rest: unknown[]) {
      return (operator as (...args: unknown[]) => unknown)(this, ...rest);
    },
  });
}
