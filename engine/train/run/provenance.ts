/** Digests of inputs by content, because a file name says nothing about its content. */
import { platform } from "#platform";
import { sha256 } from "../../core/digest.ts";

/**
 * SHA-256 of a file; for a folder, that of the names and digests of its direct files.
 *
 * @example
 * ```ts
 * import { contentDigest } from "voxgrad/train";
 *
 * const digest = await contentDigest("runs/liver/fold_0/model.safetensors"); // 64 hexadecimal digits
 * ```
 */
export async function contentDigest(path: string): Promise<string> {
  let names: string[];
  try {
    names = await platform.listFiles(path);
  } catch {
    return sha256(await platform.readFile(path));
  }
  const lines: string[] = [];
  for (const name of names) {
    if (name.startsWith(".")) continue;
    const inside = `${path}/${name}`;
    const isFolder = await platform.listFiles(inside).then(() => true, () => false);
    if (!isFolder) lines.push(`${name} ${await sha256(await platform.readFile(inside))}`);
  }
  return sha256(lines.join("\n"));
}

/** SHA-256 of a value as JSON, independent of key order. */
export const valueDigest = (value: unknown): Promise<string> => sha256(JSON.stringify(value, sorted));

const sorted = (_: string, value: unknown): unknown =>
  typeof value === "object" && value !== null && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
    : value;

/** Whether a path is a folder or inside it, with symlinks resolved. */
export async function isWithin(path: string, folder: string): Promise<boolean> {
  const [inner, outer] = await Promise.all([path, folder].map((each) => platform.realPath(each)));
  return inner === outer || inner.startsWith(outer.endsWith("/") ? outer : `${outer}/`);
}
