/** Automatic differentiation: graph in, graph out. */
export { grad, valueAndGrad, vjp } from "./reverse.ts";
export type { Gradient, GradOptions, ValueAndGradOptions } from "./reverse.ts";
export { hvp, jvp } from "./forward.ts";
export { checkpoint } from "./checkpoint.ts";
export { customVjp } from "./custom_vjp.ts";
export type { Cotangents } from "./custom_vjp.ts";
export { vmap } from "./vmap.ts";
export { cond } from "./control/cond.ts";
export { foriLoop, scan } from "./control/scan.ts";
export type { LoopOptions, ScanOptions } from "./control/scan.ts";
export { whileLoop } from "./control/while_loop.ts";
export type { WhileOptions } from "./control/while_loop.ts";
