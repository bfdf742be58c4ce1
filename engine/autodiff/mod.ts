/** Automatic differentiation: graph in, graph out. */
export { grad, valueAndGrad, vjp } from "./reverse.ts";
export type { ArgumentOptions } from "./graph.ts";
export type { Gradient, GradOptions, Picked, ValueAndGradOptions } from "./reverse.ts";
export { hvp, jvp, linearize } from "./forward.ts";
export { hessian, jacobian } from "./jacobian.ts";
export type { HessianOf, JacobianOf, JacobianOptions } from "./jacobian.ts";
export { checkpoint } from "./checkpoint.ts";
export { customJvp } from "./custom_jvp.ts";
export type { Tangents } from "./custom_jvp.ts";
export { customVjp } from "./custom_vjp.ts";
export type { Cotangents } from "./custom_vjp.ts";
export { vmap } from "./vmap.ts";
export type { Axes } from "./vmap.ts";
export { cond } from "./control/cond.ts";
export { foriLoop, scan } from "./control/scan.ts";
export type { LoopOptions, ScanOptions } from "./control/scan.ts";
export { whileLoop } from "./control/while_loop.ts";
export type { WhileOptions } from "./control/while_loop.ts";
