// The type of "#platform" for the type checker, whichever host it resolves to.
import type { Platform } from "./types.ts";
export const platform: Platform;
