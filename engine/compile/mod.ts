/** From graphs to programs. */
export { evaluate } from "./evaluate.ts";
export { compile } from "./compile.ts";
export type { Compiled, CompileOptions, Precision } from "./compile.ts";
export type { ProgramInfo } from "./program.ts";
export { detectAnomaly } from "./anomaly.ts";
