/** Finds networks: run folders, model files, and what nnU-Net trained. */
import { trimSlashes } from "../../core/paths.ts";
import { VoxgradError } from "../../core/errors.ts";
import { platform } from "#platform";
import type { DirectoryHandle } from "../../platform/files/directory_files.ts";
import { mountFiles } from "../../platform/files/mounts.ts";
import { isPath } from "../../platform/sources.ts";
import type { FileSource } from "../../platform/sources.ts";

/**
 * The model files of a list of runs: for each run folder its model.safetensors, or those of its folders fold_0, fold_1
 * and so on.
 *
 * @param runs run folders or model files, separated by commas
 * @param onNnunet called with the path of what nnU-Net trained, which has files of its own; default: throws
 * @returns paths, and the folder of each run, which may contain postprocessing.json
 * @throws VoxgradError if a run has no model
 * @example
 * ```ts
 * import { findModels } from "voxgrad/train";
 *
 * const { files } = await findModels("runs/liver"); // ["runs/liver/fold_0/model.safetensors", ...]
 * ```
 */
export async function findModels(
  runs: string,
  onNnunet: (path: string) => void = (path) => {
    throw new VoxgradError(`${path}: nnU-Net trained it, which predict and openModel take; name a run of voxgrad`);
  },
): Promise<{ files: string[]; folders: string[] }> {
  const files: string[] = [];
  const folders: string[] = [];
  // A folder name may contain a comma.
  const parts = (await platform.exists(runs)) ? [runs] : runs.split(",").map((part) => part.trim());
  for (const text of parts.map((part) => trimSlashes(part))) {
    if (text === "") throw new VoxgradError(`"${runs}": a run is missing; write run folders separated by commas`);
    if (/\.(safetensors|onnx|json)$/.test(text)) {
      files.push(text);
      folders.push(text.includes("/") ? text.slice(0, text.lastIndexOf("/")) : ".");
      continue;
    }
    const model = `${text}/model.safetensors`;
    if (await platform.exists(model)) {
      folders.push(text);
      files.push(model);
      continue;
    }
    const names = !TORCH.test(text) && (await platform.exists(text)) ? await platform.listFiles(text) : [];
    const folds: string[] = [];
    if (await isNnunet(text, names)) {
      onNnunet(text);
      continue;
    }
    for (const name of names.filter((entry) => /^fold_\d+$/.test(entry))) {
      const file = `${text}/${name}/model.safetensors`;
      if (!(await platform.exists(file))) {
        throw new VoxgradError(
          `${text}/${name}: it holds no model.safetensors; finish its training, or name the others`,
        );
      }
      folds.push(file);
    }
    if (folds.length === 0) {
      throw new VoxgradError(`${text}: it holds neither model.safetensors nor folders fold_0, fold_1, ...; name a run`);
    }
    folders.push(text);
    files.push(...folds.sort((a, b) => a.localeCompare(b, "en", { numeric: true })));
  }
  return { files, folders };
}

/** Whether a path, of a folder with these names in it, leads to what nnU-Net trained. */
async function isNnunet(path: string, names: readonly string[]): Promise<boolean> {
  const [, parent] = /^(.+)\/fold_(?:\d+|all)$/.exec(path) ?? [];
  return TORCH.test(path) || names.includes("plans.json") || names.some((name) => /.__.+__./.test(name)) ||
    (parent !== undefined && await platform.exists(`${parent}/plans.json`));
}

/** Whether a source that has no path is nnU-Net's, by its name or its first bytes, those of a zip. */
const isNnunetFile = (source: FileSource): boolean => {
  if (source instanceof Uint8Array) return source[0] === 0x50 && source[1] === 0x4b && source[2] === 3;
  const name = typeof source === "string"
    ? source
    : "href" in source
    ? source.href
    : (source as { name?: string }).name;
  return TORCH.test(name?.replace(/[?#].*$/, "") ?? "");
};
const TORCH = /\.(zip|pth|pt)$/i;

/** Where a model is: a model file; or a run folder, by path or as a page's folder handle. */
export type ModelSource = FileSource | DirectoryHandle;

/** The source, or the path at which a folder handle is mounted. */
export const mounted = (source: ModelSource): FileSource =>
  typeof source === "object" && "kind" in source && source.kind === "directory" ? mountFiles(source) : source;

/**
 * The model files of sources, and the run folders among them, as `findModels` finds those of paths.
 *
 * @returns folders: of each source, undefined if it is no folder and has no path; nnunet: what nnU-Net trained
 * @example
 * ```ts
 * import { modelFiles } from "voxgrad/train";
 *
 * const { files } = await modelFiles(["runs/liver"]); // of each fold its model.safetensors
 * ```
 */
export async function modelFiles(
  sources: readonly ModelSource[],
): Promise<{ files: FileSource[]; folders: (string | undefined)[]; nnunet: FileSource[] }> {
  const files: FileSource[] = [];
  const folders: (string | undefined)[] = [];
  const nnunet: FileSource[] = [];
  for (const each of sources) {
    const source = mounted(each);
    if (!isPath(source) && isNnunetFile(source)) {
      nnunet.push(source);
      continue;
    }
    const found = isPath(source)
      ? await findModels(source, (path) => nnunet.push(path))
      : { files: [source], folders: [undefined] };
    files.push(...found.files);
    folders.push(...found.folders);
  }
  return { files, folders, nnunet };
}
