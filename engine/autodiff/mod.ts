/** Automatic differentiation: graph in, graph out. */
export { grad, valueAndGrad, vjp } from "./reverse.ts";
export type { Gradient, GradOptions, ValueAndGradOptions } from "./reverse.ts";
export { hvp, jvp } from "./forward.ts";
export { checkpoint } from "./checkpoint.ts";
export { customVjp } from "./custom_vjp.ts";
export type { Cotangents } from "./custom_vjp.ts";
export { vmap } from "./vmap.ts";
export { foriLoop, scan } from "./control/scan.ts";
export type { LoopOptions, ScanOptions } from "./control/scan.ts";
