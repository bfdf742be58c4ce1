import process from "node:process";
import type { AdapterChoice } from "../types.ts";
import { PlatformError } from "../types.ts";

/** What the environment asks of any device: VOXGRAD_LIMITS, VOXGRAD_FEATURES and VOXGRAD_KERNELS. */
export function asked(): Pick<AdapterChoice, "limits" | "features" | "kernels"> {
  const limits = wish("VOXGRAD_LIMITS", ["adapter", "default", "compatibility"]);
  const features = wish("VOXGRAD_FEATURES", ["none"]);
  const kernels = wish("VOXGRAD_KERNELS", ["cpu", "gpu"]);
  return { ...(limits && { limits }), ...(features && { features }), ...(kernels && { kernels }) };
}

/** The value of an environment variable that must be one of a few words. */
function wish<T extends string>(name: string, words: readonly T[]): T | undefined {
  const word = process.env[name];
  if (word === undefined || word === "") return undefined;
  if (words.includes(word as T)) return word as T;
  throw new PlatformError("no-adapter", `${name} is ${words.join(", ")} or not set, got "${word.slice(0, 80)}"`);
}
