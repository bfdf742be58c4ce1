/** Which files are images to be segmented, and which are networks. */
import { platform } from "#platform";
import { VoxgradError } from "../core/errors.ts";
import type { DatasetCase } from "../imaging/dataset.ts";

const ENDING = /\.(nii|hdr)(\.gz)?$/;
const number = (channel: number): string => String(channel).padStart(4, "0");

/**
 * The cases in a NIfTI file or in a folder of them (.hdr stands for its pair). Files of one case that differ in their channel number alone, as
 * nnU-Net names them (CASE_0000.nii.gz, CASE_0001.nii.gz), belong together; any other file is a case with all channels.
 *
 * @param input a .nii or .nii.gz file (of a case with several, any one), or a folder
 * @param channels how many channels an image has
 * @returns cases by id: the file's name without channel number and ending
 * @throws VoxgradError when there is no image, a channel is missing, or two files are one case; PlatformError
 * @example const cases = await findImages("imagesTs", 1);
 */
export async function findImages(input: string, channels: number): Promise<DatasetCase[]> {
  // With several channels any number counts; with one, _0000 alone, for case_0007 is more likely a seventh case.
  const numbered = channels > 1 ? /^(.+)_(\d{4})$/ : /^(.+)_(0000)$/;
  const files = new Map<string, string[]>();
  for (const path of await listImages(input, numbered, channels)) {
    const stem = path.slice(path.lastIndexOf("/") + 1).replace(ENDING, "");
    const match = numbered.exec(stem);
    const id = match ? match[1] : stem;
    const list = files.get(id) ?? [];
    const channel = match ? Number(match[2]) : 0;
    const twin = list[channel];
    if (twin !== undefined) throw new VoxgradError(`${path}: ${twin} is the same case; keep one of them`);
    list[channel] = path;
    files.set(id, list);
  }
  if (files.size === 0) throw new VoxgradError(`${input}: there is no .nii or .nii.gz file in it`);
  for (const [id, images] of files) {
    // A single file may hold all channels; loadCase checks that.
    if (images.length === 1) continue;
    if (images.length > channels) {
      throw new VoxgradError(`${images.at(-1)}: the network takes ${channels} channel(s), numbered from 0000`);
    }
    for (let c = 0; c < channels; c++) {
      if (images[c] !== undefined) continue;
      throw new VoxgradError(`${input}: case ${id} has no channel ${number(c)}; add ${id}_${number(c)}.nii.gz`);
    }
  }
  return [...files].map(([id, images]) => ({ id, images }));
}

/** Paths of the images in a folder, or of a file and those of its other channels. */
async function listImages(input: string, numbered: RegExp, channels: number): Promise<string[]> {
  const [ending] = ENDING.exec(input) ?? [];
  if (ending === undefined) {
    const folder = input.replace(/(?<=.)\/+$/, "");
    const names = await platform.listFiles(folder);
    return names.filter((name) => ENDING.test(name) && !name.startsWith(".")).map((name) => `${folder}/${name}`);
  }
  const [, stem] = numbered.exec(input.slice(0, -ending.length)) ?? [];
  if (stem === undefined) return [input];
  return Array.from({ length: channels }, (_, c) => `${stem}_${number(c)}${ending}`);
}

/**
 * The model files that a list of runs names: of each run folder its model.safetensors, or those of its folders fold_0,
 * fold_1 and so on.
 *
 * @param runs run folders or model files, separated by commas
 * @returns paths, and the folder of each run, where its postprocessing.json may lie
 * @throws VoxgradError when a run holds no model
 * @example (await findModels("runs/liver")).files; // ["runs/liver/fold_0/model.safetensors", ...]
 */
export async function findModels(runs: string): Promise<{ files: string[]; folders: string[] }> {
  const files: string[] = [];
  const folders: string[] = [];
  for (const text of runs.split(",").map((part) => part.trim().replace(/(?<=.)\/+$/, ""))) {
    if (text === "") throw new VoxgradError(`"${runs}": a run is missing; write run folders separated by commas`);
    if (text.endsWith(".safetensors")) {
      files.push(text);
      folders.push(text.includes("/") ? text.slice(0, text.lastIndexOf("/")) : ".");
      continue;
    }
    folders.push(text);
    const own = `${text}/model.safetensors`;
    if (await platform.exists(own)) {
      files.push(own);
      continue;
    }
    const names = (await platform.exists(text)) ? await platform.listFiles(text) : [];
    const folds: string[] = [];
    for (const name of names.filter((entry) => /^fold_\d+$/.test(entry))) {
      const file = `${text}/${name}/model.safetensors`;
      if (!(await platform.exists(file))) {
        throw new VoxgradError(`${text}/${name}: it holds no model.safetensors; finish its training, or name the others`);
      }
      folds.push(file);
    }
    if (folds.length === 0) {
      throw new VoxgradError(`${text}: it holds neither model.safetensors nor folders fold_0, fold_1, ...; name a run`);
    }
    files.push(...folds.sort((a, b) => a.localeCompare(b, "en", { numeric: true })));
  }
  return { files, folders };
}
