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

const {
  abs,
  add,
  cast,
  clamp,
  cos,
  div,
  equal,
  erf,
  exp,
  floor,
  gelu,
  greater,
  greaterEqual,
  leakyRelu,
  less,
  lessEqual,
} = elementwise;
const {
  log,
  log1p,
  logicalAnd,
  logicalNot,
  logicalOr,
  maximum,
  minimum,
  mul,
  neg,
  notEqual,
  pow,
  relu,
  rsqrt,
  sigmoid,
} = elementwise;
const { sign, sin, softplus, sqrt, square, sub, tanh } = elementwise;

const table = {
  abs,
  add,
  argmax,
  broadcastTo,
  cast,
  clamp,
  cos,
  div,
  equal,
  erf,
  exp,
  expandDims,
  flip,
  floor,
  gelu,
  greater,
  greaterEqual,
  leakyRelu,
  less,
  lessEqual,
  log,
  log1p,
  logicalAnd,
  logicalNot,
  logicalOr,
  logSoftmax,
  logSumExp,
  matmul,
  max,
  maximum,
  mean,
  min,
  minimum,
  mul,
  neg,
  notEqual,
  pad,
  pow,
  relu,
  reshape,
  rsqrt,
  sigmoid,
  sign,
  sin,
  slice,
  softmax,
  softplus,
  split,
  sqrt,
  square,
  squeeze,
  sub,
  sum,
  take,
  tanh,
  transpose,
  variance,
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
