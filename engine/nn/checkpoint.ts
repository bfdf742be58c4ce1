/** Reads checkpoints of PyTorch with more in them than weights. */
import { firstNotFinite } from "../core/dtype.ts";
import { show, VoxgradError } from "../core/errors.ts";
import type { Tensor } from "../core/tensor.ts";
import { type FileSource, readSource } from "../platform/sources.ts";

/** What a checkpoint holds. */
export interface Checkpoint {
  /** The network's weights. */
  readonly tensors: ReadonlyMap<string, Tensor>;
  /** Another entry as JSON would hold it; undefined if there is none, or it holds no plain values. */
  entry(key: string): unknown;
}

/**
 * Reads a checkpoint that torch.save wrote: its weights as readWeights, and what else it holds. Nothing that it names
 * is run.
 *
 * @param options.name for messages, where the source has none
 * @throws VoxgradError for a file that is no such checkpoint, is damaged, names anything but tensors, numbers, text and
 *   plain containers, or has weights that are not finite
 * @example
 * ```ts
 * import { readCheckpoint } from "voxgrad";
 *
 * const { tensors, entry } = await readCheckpoint("nnUNet_results/fold_0/checkpoint_final.pth");
 * console.log(tensors.size, entry("trainer_name"), entry("current_epoch"));
 * ```
 */
export async function readCheckpoint(source: FileSource, options: { name?: string } = {}): Promise<Checkpoint> {
  const { bytes, name: own } = await readSource(source);
  const { name = own } = options;
  const { loadCheckpoint } = await import("./torch_file.ts");
  try {
    const read = loadCheckpoint(bytes);
    for (const [key, t] of read.tensors) {
      const values = await t.data();
      const at = firstNotFinite(values);
      if (at >= 0) throw new VoxgradError(`tensor ${show(key)} holds ${values[at]}, and so would every prediction`);
    }
    return read;
  } catch (error) {
    throw new VoxgradError(`${name}: ${(error as Error).message}`, { cause: error });
  }
}
