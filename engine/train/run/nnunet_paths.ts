/** Tells what nnU-Net trained by its files. */
import { platform } from "#platform";
import { readSource, type SourceBytes } from "../../platform/sources.ts";

/** A file that is read when it is needed. */
export interface ReadableFile {
  readonly name: string;
  read(): Promise<SourceBytes>;
}

/** Files by paths below a root. */
export interface Tree {
  /** For messages. */
  readonly name: string;
  /** Names of files and folders in a folder; none if there is no such folder. */
  list(folder: string): Promise<readonly string[]>;
  file(path: string): ReadableFile;
}

export const within = (folder: string, name: string): string => folder === "" ? name : `${folder}/${name}`;
export const parentOf = (path: string): string => path.includes("/") ? path.slice(0, path.lastIndexOf("/")) : ".";
export const baseOf = (path: string): string => path.slice(path.lastIndexOf("/") + 1);

export const diskTree = (root: string): Tree => ({
  name: root,
  async list(folder) {
    const path = within(root, folder);
    return (await platform.exists(path)) ? await platform.listFiles(path).catch(() => []) : [];
  },
  file: (path) => ({ name: within(root, path), read: () => readSource(within(root, path)) }),
});

export const FOLD = /^fold_(\d+|all)$/;

export const isConfiguration = (names: readonly string[]): boolean =>
  names.includes("plans.json") && names.includes("dataset.json") && !names.includes("model.safetensors");

/** Folders of trained configurations at or below a folder, none within another. */
export async function configurationsIn(tree: Tree, folder: string, depth: number): Promise<string[]> {
  const names = await tree.list(folder);
  if (isConfiguration(names)) return [folder];
  if (depth === 0) return [];
  const found: string[] = [];
  for (const name of names) {
    // Of a folder on the disk only what nnU-Net calls TRAINER__PLANS__CONFIGURATION is looked into.
    if (depth === 1 && !/__.+__/.test(name)) continue;
    found.push(...await configurationsIn(tree, within(folder, name), depth - 1));
  }
  return found;
}
