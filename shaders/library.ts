/** The functions that fused kernels may call. */
import { mathFunctions, mathSource } from "./math.wgsl.ts";
import { randomFunctions } from "./random.wgsl.ts";

const library = { ...mathFunctions, ...randomFunctions };

/** WGSL of the named functions and of what they call, each once, callees first. */
export const librarySource = (names: Iterable<string>): string => mathSource([...names].sort(), library);
