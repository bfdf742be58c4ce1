/** Dataset folders: Medical Segmentation Decathlon (MSD), nnU-Net raw, plain folders of images and labels; groups. */
import { trimSlashes } from "../../core/paths.ts";
import { platform } from "#platform";
import { checkOptions, listed } from "../../core/errors.ts";
import { folderPath, type FolderSource } from "../../platform/files/mounts.ts";
import { showJson } from "../../core/json.ts";
import { baseName, checkCaseId, contentOf, filesOf, idsOf, imagesIn } from "./files.ts";
import { hasImageEnding, IMAGE_ENDINGS, withoutEnding } from "../formats/image_files.ts";
import { DatasetError } from "./finding.ts";
import { readChannels, readJson, readLabels } from "./dataset_json.ts";
import { isGroupFile, openGroup } from "./group.ts";
import { listedCases, listedTests, listsLabels, withLabelsPresent } from "./listed.ts";
import { namedCases } from "./named.ts";
import { openPlain, plainFolders } from "./plain.ts";
import type { Dataset, DatasetCase, OnFault, PlainFolders } from "./types.ts";

/**
 * Opens a dataset folder: by its path, or in a page the FileSystemDirectoryHandle or the Files that its visitor chose.
 *
 * With dataset.json: MSD and nnU-Net's first version (`training` lists the files; where CASE.nii.gz is listed and
 * CASE_0000.nii.gz, CASE_0001.nii.gz, ... are there, these are its channels), MONAI's data lists (an image may be a
 * list of paths), nnU-Net raw (CASE_0000.nii.gz, one file per channel, or `dataset` that lists them). Paths may be
 * absolute. Without file_ending it is inferred from the files; endings may be upper case, and labels may have another
 * ending than images.
 *
 * Without dataset.json: images and labels in folders named images and labels, imagesTr and labelsTr, image and mask and
 * the like, or beside each other as CASE_image and CASE_mask (or _label, _seg, ...), volume-0 and segmentation-0,
 * CASE_t1, CASE_flair and CASE_seg; each patient may have a folder. `{ images, labels }` names two folders, whatever
 * their names. The label files are then read to find their values.
 *
 * A case is named after its image; if several files share a name, the folders in which they differ come first: p0_ct,
 * p1_ct.
 *
 * Label values that are lists ("tumor": [1, 2]) are regions and need regions_class_order. If some labels were not
 * annotated in every case, declare it in dataset.json: "labels_present": {"CASE": ["liver"]}, or labels_present in an
 * entry of training.
 *
 * A path that ends in .json is a dataset group, which combines several folders with their own labels; see openGroup.
 *
 * @param folder a FileSystemDirectoryHandle or Files are mounted: the dataset's paths are those of `mountFiles`
 * @param onFault called with the errors of single files, which are then skipped; default: throws
 * @param options labels: "optional" also opens a folder of images alone (in itself or in imagesTr), or a dataset.json
 *   that names no label file: its cases have no label, and the dataset none but the background; default "required"
 * @throws DatasetError naming the file and the fix
 * @example
 * ```ts
 * import { openDataset } from "voxgrad/imaging";
 *
 * const dataset = await openDataset("data/Task04_Hippocampus");
 * dataset.cases.length; // 260
 * ```
 */
export async function openDataset(
  folder: string | PlainFolders | FolderSource,
  onFault: OnFault = (fault) => {
    throw fault;
  },
  options: { readonly labels?: "required" | "optional" } = {},
): Promise<Dataset> {
  checkOptions("openDataset", options, ["labels"]);
  const place = typeof folder === "object" && "images" in folder ? folder : folderPath(folder);
  const dataset = isGroupFile(place)
    ? await openGroup(place, (each) => openDataset(each, onFault), onFault)
    : options.labels === "optional" && typeof place === "string" && (await imagesAlone(trimSlashes(place)))
    ? await openImages(trimSlashes(place), onFault)
    : await openFolder(place, onFault);
  const seen = new Set<string>();
  const usable = (item: DatasetCase): boolean => {
    try {
      checkCaseId(item.id, dataset.description ?? item.images[0]);
      if (!seen.has(item.id)) return seen.add(item.id), true;
      throw new DatasetError(
        item.images[0],
        `case ${item.id} is listed twice`,
        "List every case once, and give each a name of its own",
      );
    } catch (fault) {
      if (!(fault instanceof DatasetError)) throw fault;
      onFault(fault);
      return false;
    }
  };
  const cases = dataset.cases.filter(usable);
  seen.clear();
  return { ...dataset, cases, testCases: dataset.testCases.filter(usable) };
}

async function openFolder(folder: string | PlainFolders, onFault: OnFault): Promise<Dataset> {
  const root = trimSlashes(typeof folder === "string" ? folder : folder.images);
  const plain = typeof folder === "string" ? await plainFolders(root) : folder;
  return plain
    ? openPlain(root, { images: trimSlashes(plain.images), labels: trimSlashes(plain.labels) }, onFault)
    : openDescribed(root, onFault);
}

async function openDescribed(root: string, onFault: OnFault): Promise<Dataset> {
  const file = `${root}/dataset.json`;
  if (!(await platform.exists(file))) throw await noDataset(root);
  const json = await readJson(file, "");
  const names = readLabels(json, file);
  const channels = readChannels(json, file);
  const ending = endingOf(json.file_ending, file);
  const context = { root, file, names, channels: channels.length, onFault };
  const folders = { images: `${root}/imagesTr`, labels: `${root}/labelsTr` };
  const naming = { ...(ending !== undefined && { ending }), channels: channels.length, onFault };
  let cases = (await listedCases(json, context)) ?? (await namedCases(folders, naming));
  const testCases = Array.isArray(json.test) && json.test.length > 0
    ? await listedTests(json.test, context)
    : await namedCases({ images: `${root}/imagesTs` }, naming);
  if (cases.length === 0 && testCases.length === 0) {
    const fix =
      `Put images into ${folders.images}, as CASE_0000.nii.gz, and labels into ${folders.labels}, as CASE.nii.gz, ` +
      `or list them under "training"`;
    onFault(
      new DatasetError(
        file,
        "no case found",
        `${fix}; ${await contentOf(folders.images)}, ${await contentOf(folders.labels)}`,
      ),
    );
  }
  cases = withLabelsPresent(cases, json.labels_present, context);
  const name = typeof json.name === "string" && json.name !== "" ? json.name : baseName(root);
  return { folder: root, name, description: file, channels, ...names, cases, testCases };
}

/** Whether a folder has images and no labels. */
async function imagesAlone(root: string): Promise<boolean> {
  const file = `${root}/dataset.json`;
  if (await platform.exists(file)) {
    const json = await readJson(file, "");
    return listsLabels(json) === false ||
      (listsLabels(json) === undefined && !(await platform.exists(`${root}/labelsTr`)));
  }
  if (!(await platform.exists(root)) || (await plainFolders(root))) return false;
  return (await imagesIn(root, 1)).length > 0;
}

/** A dataset of images alone. */
async function openImages(root: string, onFault: OnFault): Promise<Dataset> {
  const file = `${root}/dataset.json`;
  const described = await platform.exists(file);
  const json = described ? await readJson(file, "") : {};
  const folder = (await platform.exists(`${root}/imagesTr`)) ? `${root}/imagesTr` : root;
  const names = await imagesIn(folder, described ? 0 : 3);
  // case_0007 alone is a seventh case.
  const numbers = names.map((each) => /_(\d{4})$/.exec(withoutEnding(each))?.[1]);
  const numbered = described || (numbers.includes("0000") && !numbers.includes(undefined));
  const channels = described
    ? readChannels(json, file)
    : Array.from({ length: numbered ? 1 + Math.max(...numbers.map(Number)) : 1 }, (_, k) => `channel ${k}`);
  const labels = [{ name: "background", value: 0 }];
  const context = { root, file, names: { labels }, channels: channels.length, onFault };
  const listing = listsLabels(json) === false ? (json.training ?? Object.values(json.dataset ?? {})) : undefined;
  const cases = Array.isArray(listing)
    ? await listedTests(listing, context)
    : numbered
    ? await namedCases({ images: folder }, { channels: channels.length, onFault })
    : idsOf(names.map(withoutEnding)).map((id, k): DatasetCase => ({ id, images: [`${folder}/${names[k]}`] }));
  const name = typeof json.name === "string" && json.name !== "" ? json.name : baseName(root);
  return { folder: root, name, ...(described && { description: file }), channels, labels, cases, testCases: [] };
}

/** The file ending of dataset.json, in lower case and with its dot; undefined if there is none. */
function endingOf(stored: unknown, file: string): string | undefined {
  if (stored === undefined || stored === null || stored === "") return undefined;
  const ending = typeof stored === "string" ? stored.toLowerCase().replace(/^(?!\.)/, ".") : "";
  if (/^(\.\w+)+$/.test(ending) && hasImageEnding(`image${ending}`)) return ending;
  throw new DatasetError(
    file,
    `file_ending is ${showJson(stored)}`,
    `Convert the images to .nii.gz, or leave file_ending out; images are ${IMAGE_ENDINGS}`,
  );
}

/** The error for a folder that is not a dataset: what was expected, and what the folder contains. */
async function noDataset(root: string): Promise<DatasetError> {
  if (!(await platform.exists(root))) {
    return new DatasetError(
      root,
      "there is no such folder",
      "Name a folder with images and labels, or with a dataset.json",
    );
  }
  const within: string[] = [];
  for (const name of await filesOf(root)) {
    if (await platform.exists(`${root}/${name}/dataset.json`)) within.push(`${root}/${name}`);
  }
  const fix = within.length > 0
    ? `Name the dataset in it: ${listed(within, 3)}`
    : "Name a folder in the layout of MSD or nnU-Net, with dataset.json, imagesTr and labelsTr, or one with " +
      "folders such as images and labels, or with files such as CASE_image and CASE_label, volume-0 and segmentation-0";
  return new DatasetError(root, `it is no dataset that is known: ${await contentOf(root)}`, fix);
}
