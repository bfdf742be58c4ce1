/** Reads pickles that hold functions by name, of which none is run. */
import { VoxgradError } from "../core/errors.ts";
import type { SourceBytes } from "../platform/sources.ts";

/**
 * The value of a pickle as JSON would hold it.
 *
 * @param functions what it may name without calling it, by module and name; each becomes undefined
 * @throws VoxgradError for a pickle that is damaged, or names or calls anything else than NumPy's numbers and plain
 *   containers
 */
export async function readPickle({ bytes, name }: SourceBytes, functions: readonly string[]): Promise<unknown> {
  const { loadPickle } = await import("./torch_file.ts");
  try {
    return loadPickle(bytes, functions);
  } catch (error) {
    throw new VoxgradError(`${name}: ${(error as Error).message}`, { cause: error });
  }
}
