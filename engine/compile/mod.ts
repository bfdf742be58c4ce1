/** From graphs to programs. */
export { evaluate } from "./evaluate.ts";
export { compile } from "./compile.ts";
export type { Compiled, CompileOptions, Precision } from "./compile_options.ts";
export type { ProgramInfo } from "./program.ts";
export { tune } from "./tune.ts";
export type { TunedKernel } from "./tune.ts";
export { countProducts } from "./count.ts";
export type { ProductCount } from "./count.ts";
export { traceGraph } from "./trace_graph.ts";
export type { TracedGraph, TracedValue } from "./trace_graph.ts";
export { detectAnomaly } from "./anomaly.ts";
export { debugPrint } from "./debug_print.ts";
import "./run_tune.ts";
