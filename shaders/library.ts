/** The functions that fused kernels may call. */
import { mathFunctions, mathSource } from "./math.wgsl.ts";
import { randomFunctions } from "./random.wgsl.ts";
import { trigonometricFunctions } from "./trigonometry.wgsl.ts";
import type { Declarations } from "./types.ts";

const library = { ...mathFunctions, ...randomFunctions, ...trigonometricFunctions };

/** WGSL of the named functions and the functions they call, each once, callees first. */
export const librarySource = (names: Iterable<string>): string => mathSource([...names].sort(), library);

/** The declarations that several groups of statements need, each function once; must come before all other code. */
export const declarationsSource = (list: readonly Declarations[]): string =>
  [
    ...(list.some(({ usesF16 }) => usesF16) ? ["enable f16;"] : []),
    librarySource(new Set(list.flatMap(({ functions }) => functions))),
    ...list.flatMap(({ loaders }) => loaders),
  ].join("\n");
