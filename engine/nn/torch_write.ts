/** Writes files that torch.load reads. */
import { zipSync } from "fflate";
import type { Tensor } from "../core/tensor.ts";
import { evaluate } from "../compile/mod.ts";
import { type Content, pickle } from "./pickle.ts";

/** Archives hold no date, so that the same content gives the same bytes. */
const DATE = new Date(1980, 0, 1);

/**
 * The bytes of a file as torch.save writes it; a tensor that the content holds several times is stored once.
 *
 * @param content numbers, text, lists, dictionaries, and tensors of f32
 * @param name of the archive in it, by custom the file's without its ending
 * @throws VoxgradError for other content
 * @example
 * ```ts
 * import { ones, saveTorch } from "voxgrad";
 * import { RunFolder } from "voxgrad/train";
 *
 * const bytes = await saveTorch({ state_dict: { "conv.weight": ones([8, 1, 3, 3, 3]) }, epoch: 10 });
 * await new RunFolder("runs/mine").write("weights.pth", bytes);
 * ```
 */
export async function saveTorch(content: Content, name = "archive"): Promise<Uint8Array<ArrayBuffer>> {
  const keys = new Map<Tensor, string>();
  const bytes = pickle(content, (t) => {
    if (!keys.has(t)) keys.set(t, `${keys.size}`);
    return keys.get(t)!;
  });
  await evaluate([...keys.keys()]);
  const files: Record<string, Uint8Array> = { [`${name}/data.pkl`]: bytes };
  for (const [t, key] of keys) {
    const { buffer, byteOffset, byteLength } = await t.data();
    files[`${name}/data/${key}`] = new Uint8Array(buffer, byteOffset, byteLength);
  }
  files[`${name}/version`] = new TextEncoder().encode("3\n");
  return zipSync(files, { level: 0, mtime: DATE }) as Uint8Array<ArrayBuffer>;
}
