/** Derivatives: graph in, graph out. */
export { grad, valueAndGrad, vjp } from "./reverse.ts";
export { hvp, jvp } from "./forward.ts";
