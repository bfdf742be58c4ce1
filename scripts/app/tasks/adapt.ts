/** Adapting a model to corrected scans. Everything lies in the browser's storage, so a closed tab costs little. */
import { zipSync } from "fflate";
import { VoxgradError } from "../../../engine/mod.ts";
import { resumableConfig, withDefaults } from "../../../engine/train/mod.ts";
import { openForTraining } from "../../../models/mod.ts";
import { adapt, adaptEntries } from "../../adapt.ts";
import type { Work } from "../protocol.ts";
import { imageOf } from "./adapt_scans.ts";
import { type AdaptModel, type AdaptScan, type AdaptState, change, home, type Role, state } from "./adapt_state.ts";
import { toShown } from "./kept.ts";
import { named } from "./models.ts";
import type { Folder } from "./store.ts";
import { told, type TrainingEvent } from "./training.ts";

export { add, addPhantom, keep, known, open, remove, setRole } from "./adapt_scans.ts";
export { clear, state } from "./adapt_state.ts";

/** Chooses the model: its file, with files of weights beside it; a folder of a run; or an address. */
export async function choose(
  { files, url }: { files?: readonly Chosen[]; url?: string },
  work: Work,
): Promise<AdaptState> {
  work.tell({ done: 0, total: 1, text: "Opening the model" });
  const folder = await home();
  await folder.remove("model");
  const list = files ?? [await fetched(url!)];
  for (const { file, path } of list) await folder.write(`model/${path}`, new Uint8Array(await file.arrayBuffer()));
  const main = list.find(({ path }) => /\.(onnx|json|zip|pth|pt|safetensors)$/i.test(path)) ?? list[0];
  const name = main.path.split("/")[0];
  const path = `${folder.path}/model/${name}`;
  const { description: { plan } } = await openForTraining(path);
  const labels = named(plan.labels.map((name, value) => ({ name, value })));
  return change((before) => ({
    ...before,
    model: { name, path, labels, channels: plan.channels.map(({ name }) => name) },
  }));
}

/** A file with its path in the folder that it was chosen with, or its name. */
interface Chosen {
  readonly file: Blob;
  readonly path: string;
}

async function fetched(url: string): Promise<Chosen> {
  const answer = await fetch(url);
  if (!answer.ok) throw new VoxgradError(`${url}: the server answers ${answer.status} ${answer.statusText}`);
  return { file: new Blob([await answer.arrayBuffer()]), path: new URL(url).pathname.split("/").at(-1)! };
}

/** What may be set. */
export interface LearnOptions {
  readonly steps: number;
  readonly look: number;
  readonly rate: number;
  readonly augment: "nnunet" | "scale" | "mirror" | "none";
}

/** Learns from the corrected scans, from the first step on. */
export async function learn(options: LearnOptions, work: Work<TrainingEvent>): Promise<AdaptState> {
  const [folder, { model, scans }] = [await home(), await state()];
  const usable = scans.filter(({ role, corrected }) => role === "watch" || corrected);
  if (!model || !usable.some(({ role }) => role === "learn")) {
    throw new VoxgradError("nothing can be learned yet; correct at least one of the scans to learn from");
  }
  await writeDataset(folder, model, usable);
  const idsOf = (role: Role): string[] => usable.filter((each) => each.role === role).map(({ id }) => id);
  const values = withDefaults(adaptEntries, {
    ...options,
    model: model.path,
    data: `${folder.path}/data`,
    held: idsOf("held").join(","),
    watch: idsOf("watch").length > 0 ? `${folder.path}/watched` : "",
    run: `${folder.path}/run`,
    cache: `${folder.path}/prepared`,
    overwrite: true,
    checkpoint: 0.25,
    workers: 0,
  });
  return run(values, work);
}

/** Goes on with what a stop, a reload or a closed tab ended, to the same weights. */
export async function resume(_: object, work: Work<TrainingEvent>): Promise<AdaptState> {
  const folder = await home();
  return run(await resumableConfig(adaptEntries, { change: [] }, ["--resume", `${folder.path}/run`]), work);
}

async function run(values: Parameters<typeof adapt>[0], work: Work<TrainingEvent>): Promise<AdaptState> {
  await told(work, () =>
    adapt(values, {
      signal: work.signal,
      onLook: ({ id, step, steps, labels, dice }) =>
        work.tell({ kind: "look", id, step, steps, labels: toShown(labels), ...(dice && { dice }) }),
    }));
  return state();
}

/** Folders of images and labels, whose names are the model's, and the scans that are only looked at. */
async function writeDataset(folder: Folder, model: AdaptModel, scans: readonly AdaptScan[]): Promise<void> {
  for (const name of ["data", "watched"]) await folder.remove(name);
  for (const { id, role } of scans) {
    const into = role === "watch" ? "watched" : "data/imagesTr";
    for (let c = 0; c < model.channels.length; c++) {
      await folder.write(imageOf(id, c).replace("images", into), (await folder.read(imageOf(id, c)))!);
    }
    if (role !== "watch") {
      await folder.write(`data/labelsTr/${id}.nii.gz`, (await folder.read(`labels/${id}.nii.gz`))!);
    }
  }
}

/** The corrected scans as a dataset in the layout of nnU-Net, for `voxgrad adapt` elsewhere and for other trainings. */
export async function corrected(): Promise<{ name: string; bytes: Uint8Array<ArrayBuffer> }> {
  const [folder, { model, scans }] = [await home(), await state()];
  const files: Record<string, Uint8Array> = {};
  const own = scans.filter((each) => each.corrected);
  if (!model || own.length === 0) throw new VoxgradError("no scan is corrected yet");
  for (const { id } of own) {
    for (let c = 0; c < model.channels.length; c++) {
      files[imageOf(id, c).replace("images", "imagesTr")] = (await folder.read(imageOf(id, c)))!;
    }
    files[`labelsTr/${id}.nii.gz`] = (await folder.read(`labels/${id}.nii.gz`))!;
  }
  const json = {
    channel_names: Object.fromEntries(model.channels.map((name, k) => [k, name])),
    labels: Object.fromEntries([["background", 0], ...model.labels.map(({ name, value }) => [name, value])]),
    numTraining: own.length,
    file_ending: ".nii.gz",
  };
  files["dataset.json"] = new TextEncoder().encode(JSON.stringify(json, undefined, 1));
  return { name: "corrected.zip", bytes: zipSync(files, { level: 0 }) as Uint8Array<ArrayBuffer> };
}

/** The adapted model. */
export async function adapted(): Promise<{ name: string; bytes: Uint8Array<ArrayBuffer> }> {
  const bytes = await (await home()).read("run/model.safetensors");
  if (!bytes) throw new VoxgradError("there is no adapted model yet; let it learn to the end");
  return { name: "adapted.safetensors", bytes: bytes as Uint8Array<ArrayBuffer> };
}
