/** Separates the engine's command-line flags from the script's arguments. */
import type { EngineFlags } from "./types.ts";

/** The flags of a host that is no program of voxgrad. */
export const NO_FLAGS: EngineFlags = { profile: false, tune: false, printConfig: false };

/**
 * `--tune`, `--print-config`, and `--profile`: alone, followed by a word that ends in .json, or as `--profile=FILE`.
 *
 * @param words the words after the script's name
 */
export function splitFlags(words: readonly string[]): { args: readonly string[]; flags: EngineFlags } {
  let profile: string | boolean = false;
  let [tune, printConfig] = [false, false];
  const args: string[] = [];
  for (let k = 0; k < words.length; k++) {
    const word = words[k];
    if (word === "--profile") profile = /\.json$/.test(words[k + 1] ?? "") ? words[++k] : true;
    else if (word.startsWith("--profile=")) profile = word.slice(10) || true;
    else if (word === "--tune") tune = true;
    else if (word === "--print-config") printConfig = true;
    else args.push(word);
  }
  return { args, flags: { profile, tune, printConfig } };
}
