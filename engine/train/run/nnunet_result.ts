/** Finds the files of what nnU-Net trained: a folder of nnUNet_results, or a zip of nnUNetv2_export_model_to_zip. */
import { platform } from "#platform";
import { listed, VoxgradError } from "../../core/errors.ts";
import { parseJson } from "../../core/json.ts";
import { trimSlashes } from "../../core/paths.ts";
import { zipEntries } from "../../imaging/formats/zip.ts";
import { previousStageOf } from "../../imaging/plan/nnunet_plans.ts";
import { type FileSource, isPath, readSource, type SourceBytes } from "../../platform/sources.ts";
import {
  baseOf,
  configurationsIn,
  diskTree,
  FOLD,
  isConfiguration,
  parentOf,
  type ReadableFile,
  type Tree,
  within,
} from "./nnunet_paths.ts";

/** One trained configuration. */
export interface NnunetResult {
  /** Its folder, for messages. */
  readonly name: string;
  /** plans.json and dataset.json; absent of a checkpoint alone, which holds both. */
  readonly described?: { readonly plans: NamedJson; readonly dataset: NamedJson };
  /** Checkpoints of its folds. */
  readonly checkpoints: readonly ReadableFile[];
  /** postprocessing.pkl of the cross-validation of just these folds. */
  readonly postprocessing?: ReadableFile;
  /** Of a cascade: the configuration before, if it lies beside. */
  readonly previous?: NnunetResult;
  /** Paths of all files that count; of a zip the zip's. */
  readonly files: readonly string[];
}

/** JSON and the name of its file. */
export interface NamedJson {
  readonly json: unknown;
  readonly file: string;
}

function zipTree({ bytes, name }: SourceBytes): Tree {
  const entries = zipEntries(bytes as Uint8Array<ArrayBuffer>, name);
  return {
    name,
    list(folder) {
      const start = folder === "" ? "" : `${folder}/`;
      const inside = entries.filter((each) => each.name.startsWith(start));
      return Promise.resolve([...new Set(inside.map((each) => each.name.slice(start.length).split("/")[0]))]);
    },
    file: (path) => ({
      name: `${name}: ${path}`,
      read: () =>
        Promise.resolve({ bytes: entries.find((each) => each.name === path)!.read(), name: `${name}: ${path}` }),
    }),
  };
}

/** In the order of preference, as nnUNetv2_predict takes them. */
const CHECKPOINTS = ["checkpoint_final.pth", "checkpoint_best.pth"];

/** The last part of TRAINER__PLANS__CONFIGURATION; undefined for a folder that is called otherwise. */
const configurationOf = (folder: string): string | undefined => /^.+__.+__(.+)$/.exec(baseOf(folder))?.[1];

/** The files of one configuration; `only` names a fold, or a checkpoint in it. */
async function resultIn(
  tree: Tree,
  folder: string,
  options: { only?: string; files: (paths: readonly string[]) => readonly string[] },
): Promise<NnunetResult> {
  const { only, files } = options;
  const name = within(tree.name, folder);
  const names = await tree.list(folder);
  const missing = ["plans.json", "dataset.json"].find((each) => !names.includes(each));
  if (missing !== undefined) throw new VoxgradError(`${name}: it holds no ${missing}; copy it there from the training`);
  const [plans, dataset] = await Promise.all(["plans.json", "dataset.json"].map(async (each): Promise<NamedJson> => {
    const { bytes, name: file } = await tree.file(within(folder, each)).read();
    return { json: parseJson(bytes, file), file };
  }));
  const { chosen, folds } = await checkpointsIn(tree, folder, names, only);
  const crossval = `crossval_results_folds_${folds.join("_")}`;
  const rule = within(folder, `${crossval}/postprocessing.pkl`);
  const ruled = (await tree.list(within(folder, crossval))).includes("postprocessing.pkl");
  const configuration = configurationOf(folder);
  const stage = configuration === undefined ? undefined : previousStageOf(plans.json, configuration);
  const before = stage === undefined
    ? undefined
    : within(parentOf(folder) === "." ? "" : parentOf(folder), baseOf(folder).slice(0, -configuration!.length) + stage);
  const previous = before !== undefined && isConfiguration(await tree.list(before))
    ? await resultIn(tree, before, { files })
    : undefined;
  return {
    name,
    described: { plans, dataset },
    checkpoints: chosen.map((path) => tree.file(path)),
    ...(ruled && { postprocessing: tree.file(rule) }),
    ...(previous && { previous }),
    files: [
      ...files([within(folder, "plans.json"), within(folder, "dataset.json"), ...chosen, ...(ruled ? [rule] : [])]),
      ...(previous?.files ?? []),
    ],
  };
}

/** Of all folds the last checkpoint, or if none has one, the best; fold_all counts where it is alone. */
async function checkpointsIn(
  tree: Tree,
  folder: string,
  names: readonly string[],
  only: string | undefined,
): Promise<{ chosen: string[]; folds: string[] }> {
  const name = within(tree.name, folder);
  const [wanted, checkpoint] = only?.split("/") ?? [];
  const all = names.filter((each) => FOLD.test(each) && (wanted === undefined || each === wanted));
  const numbered = all.filter((each) => each !== "fold_all")
    .sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  const folds = numbered.length > 0 ? numbered : all;
  const contents = await Promise.all(folds.map((fold) => tree.list(within(folder, fold))));
  const file = checkpoint ?? CHECKPOINTS.find((each) => contents.some((content) => content.includes(each)));
  const used = folds.filter((_, k) => file !== undefined && contents[k].includes(file));
  if (file === undefined || used.length === 0) {
    throw new VoxgradError(
      `${name}: of its folds (${listed(folds) || "none"}) none holds ${
        checkpoint ?? CHECKPOINTS.join(" or ")
      }; name a ` +
        "folder with fold_0, fold_1, ... or fold_all in it",
    );
  }
  const left = folds.filter((fold) => !used.includes(fold));
  if (left.length > 0) platform.log(`${name}: without ${listed(left)}, which hold no ${file}`);
  if (file === CHECKPOINTS[1] && checkpoint === undefined) {
    platform.log(`${name}: no fold holds ${CHECKPOINTS[0]}, so ${file} is taken`);
  }
  return { chosen: used.map((fold) => within(folder, `${fold}/${file}`)), folds: used.map((fold) => fold.slice(5)) };
}

/**
 * The files of what nnU-Net trained.
 *
 * @param options configuration: which of several, such as "3d_fullres", or its folder's whole name
 * @throws VoxgradError without checkpoints, or for several configurations of which none is named
 * @example
 * ```ts
 * import { openNnunetResult } from "voxgrad/train";
 *
 * const result = await openNnunetResult("nnUNet_results/Dataset004_Hippocampus", { configuration: "3d_fullres" });
 * console.log(result.checkpoints.map(({ name }) => name)); // of each fold
 * ```
 */
export async function openNnunetResult(
  source: FileSource,
  options: { configuration?: string | undefined } = {},
): Promise<NnunetResult> {
  if (isPath(source) && !/\.zip$/i.test(source)) return openPath(trimSlashes(source), options.configuration);
  const read = await readSource(source);
  if (isCheckpoint(read.bytes)) return alone(source, read.name);
  const tree = zipTree(read);
  const files = (): readonly string[] => isPath(source) ? [source] : [];
  const folder = chosenOf(await configurationsIn(tree, "", 3), tree.name, options.configuration);
  return resultIn(tree, folder, { files });
}

/** torch.save writes a zip too, and this file first. */
const isCheckpoint = (bytes: Uint8Array): boolean => {
  const name = bytes.subarray(30, 30 + (bytes[26] | (bytes[27] << 8)));
  return /(^|\/)data\.pkl$/.test(new TextDecoder().decode(name));
};

/** A checkpoint without its folder. */
const alone = (source: FileSource, name: string): NnunetResult => ({
  name,
  checkpoints: [{ name, read: () => readSource(source) }],
  files: isPath(source) ? [source] : [],
});

function openPath(path: string, configuration: string | undefined): Promise<NnunetResult> {
  const open = async (folder: string, only?: string): Promise<NnunetResult> => {
    const root = parentOf(folder);
    const tree = diskTree(root);
    const files = (paths: readonly string[]): string[] => paths.map((each) => within(root, each));
    return resultIn(tree, baseOf(folder), { files, ...(only !== undefined && { only }) });
  };
  const described = async (folder: string): Promise<boolean> => isConfiguration(await diskTree(folder).list(""));
  return (async () => {
    if (/\.(pth|pt)$/i.test(path)) {
      const fold = parentOf(path);
      const folder = parentOf(fold);
      const inside = FOLD.test(baseOf(fold)) && await described(folder);
      return inside ? open(folder, `${baseOf(fold)}/${baseOf(path)}`) : alone(path, path);
    }
    if (FOLD.test(baseOf(path)) && await described(parentOf(path))) return open(parentOf(path), baseOf(path));
    // Says so of a folder that does not exist.
    await platform.listFiles(path);
    const found = await configurationsIn(diskTree(path), "", 1);
    return open(trimSlashes(within(path, chosenOf(found, path, configuration))));
  })();
}

/** The one folder, or the one of a configuration. */
function chosenOf(folders: readonly string[], name: string, configuration: string | undefined): string {
  const fits = (folder: string): boolean =>
    configuration === undefined || baseOf(folder) === configuration || configurationOf(folder) === configuration;
  const found = folders.filter((folder) => folders.length === 1 && folder === "" || fits(folder));
  if (found.length === 1) return found[0];
  const there = listed(folders.map(baseOf), 20);
  if (folders.length === 0) {
    throw new VoxgradError(`${name}: it holds no folder of nnU-Net with plans.json, dataset.json and fold_0; name one`);
  }
  throw new VoxgradError(
    found.length === 0
      ? `${name}: it has no configuration ${configuration}; there are ${there}`
      : `${name}: it holds several configurations; name one of ${there} by --configuration, or by its folder`,
  );
}
