/** Operators as methods of Tensor: `x.sub(mean).div(std)`. The declaration below provides the types. */
import { Tensor } from "../core/tensor.ts";
import * as operators from "./tensor_methods.ts";
import type { Operand } from "./tensor_methods.ts";

// `where` is excluded because its first argument is the condition.
const { where: _, ...table } = operators;

/** Method names. */
export const methodNames: readonly string[] = Object.keys(table);

type Method<F> = F extends (x: Tensor, ...rest: infer R) => infer T ? (...rest: R) => T
  : F extends (x: Operand, ...rest: infer R) => infer T ? (...rest: R) => T
  : never;
type Methods = { [Name in keyof typeof table]: Method<(typeof table)[Name]> };

declare module "../core/tensor.ts" {
  interface Tensor extends Methods {}
}

for (const [name, operator] of Object.entries(table)) {
  // Named, for stacks of errors.
  const { [name]: value } = {
    [name](this: Tensor, ...rest: unknown[]): unknown {
      return (operator as (...args: unknown[]) => unknown)(this, ...rest);
    },
  };
  Object.defineProperty(Tensor.prototype, name, { configurable: true, writable: true, value });
}
