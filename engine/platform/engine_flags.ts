/** The words of a command line that are for the engine, taken from among those for the script. */
import type { EngineFlags } from "./types.ts";

/**
 * `--tune`, and `--profile`: alone, with the next word where that ends in .json, or as `--profile=FILE`.
 *
 * @param words what stands after the script's name
 */
export function splitFlags(words: readonly string[]): { args: readonly string[]; flags: EngineFlags } {
  let profile: string | boolean = false;
  let tune = false;
  const args: string[] = [];
  for (let k = 0; k < words.length; k++) {
    const word = words[k];
    if (word === "--profile") profile = /\.json$/.test(words[k + 1] ?? "") ? words[++k] : true;
    else if (word.startsWith("--profile=")) profile = word.slice(10) || true;
    else if (word === "--tune") tune = true;
    else args.push(word);
  }
  return { args, flags: { profile, tune } };
}
