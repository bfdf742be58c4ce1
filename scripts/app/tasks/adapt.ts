/** Adapting a model to corrected scans. Everything lies in the browser's storage, so a closed tab costs little. */
import { zipSync } from "fflate";
import {
  loadImage,
  phantomCase,
  readVolume,
  type Volume,
  voxelCount,
  writeNifti,
} from "../../../engine/imaging/mod.ts";
import { VoxgradError } from "../../../engine/mod.ts";
import { resumableConfig, withDefaults } from "../../../engine/train/mod.ts";
import { openForTraining, openModel } from "../../../models/mod.ts";
import { adapt, adaptEntries } from "../../adapt.ts";
import type { Work } from "../protocol.ts";
import { scanOf, toScan, toShown } from "./kept.ts";
import { type LabelName, named } from "./models.ts";
import { described, type ScanView } from "./scans.ts";
import { type Folder, store } from "./store.ts";
import { type RunState, runState, told, type TrainingEvent } from "./training.ts";

/** What a scan is there for: to be learned from, to be measured meanwhile by its corrected labels, to be looked at. */
export type Role = "learn" | "held" | "watch";

export interface AdaptScan {
  /** Its name among the files. */
  readonly id: string;
  readonly name: string;
  readonly role: Role;
  /** Whether somebody corrected what the model found. */
  readonly corrected: boolean;
  /** Whether its labels are known without correcting, as of synthetic scans. */
  readonly known?: boolean;
}

export interface AdaptModel {
  readonly name: string;
  readonly path: string;
  readonly labels: readonly LabelName[];
  readonly channels: readonly string[];
}

/** What the browser keeps. */
export interface AdaptState {
  readonly model?: AdaptModel;
  readonly scans: readonly AdaptScan[];
  /** The last adaptation. */
  readonly run?: RunState;
}

/** A scan with its labels by now, on the grid that the page shows. */
export interface OpenedScan {
  readonly scan: ScanView;
  readonly labels: Uint8Array<ArrayBuffer>;
}

const STATE = "state.json";
const home = async (): Promise<Folder> => (await store()).within("adapt");

/** What was kept from before. */
export async function state(): Promise<AdaptState> {
  const folder = await home();
  const kept = await folder.json<AdaptState>(STATE, { scans: [] });
  const run = await runState(folder);
  return { ...kept, ...(run && { run }) };
}

async function change(made: (before: AdaptState) => AdaptState): Promise<AdaptState> {
  const folder = await home();
  await folder.write(STATE, JSON.stringify(made(await folder.json<AdaptState>(STATE, { scans: [] }))));
  return state();
}

/** Forgets everything. */
export async function clear(): Promise<AdaptState> {
  await (await store()).remove("adapt");
  return state();
}

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

/** Takes a scan that is open in, with what the model finds in it. */
export function add({ scan, name }: { scan: number; name: string }, work: Work): Promise<AdaptState> {
  return take(scanOf(scan), name, work);
}

/** Takes a synthetic scan in, dark where those are brightest on which the first model was trained. */
export async function addPhantom({ seed }: { seed: number }, work: Work): Promise<AdaptState> {
  const { image, label } = phantomCase({ seed });
  const data = Int16Array.from(image.data, (value) => (value > 700 ? 1400 - value : value));
  const made = await take({ ...image, data }, `Synthetic scan ${seed - 100}`, work);
  const { id } = made.scans.at(-1)!;
  await (await home()).write(`known/${id}.nii.gz`, writeNifti(label, { dtype: "uint8", gzip: true }));
  return changeScan(id, { known: true });
}

/** The labels of a synthetic scan, on the grid that the page shows. */
export async function known({ id }: { id: string }): Promise<{ labels: Uint8Array<ArrayBuffer> }> {
  return { labels: toShown(await readVolume(`${(await home()).path}/known/${id}.nii.gz`)) };
}

async function take(scan: Volume, name: string, { signal, tell }: Work): Promise<AdaptState> {
  const [folder, { model, scans }] = [await home(), await state()];
  if (!model) throw new VoxgradError("no model is chosen; choose the one to adapt first");
  const opened = await openModel(model.path);
  try {
    const image = await loadImage([scan], model.channels);
    const { labels } = await opened.segment(image, { signal, onProgress: (at) => tell({ ...at, text: "Segmenting" }) });
    const id = `scan_${String(1 + Math.max(0, ...scans.map(({ id }) => Number(id.slice(5))))).padStart(2, "0")}`;
    for (let c = 0; c < model.channels.length; c++) {
      await folder.write(imageOf(id, c), writeNifti(channelOf(image, c), { gzip: true }));
    }
    await folder.write(`found/${id}.nii.gz`, writeNifti(labels, { dtype: "uint8", gzip: true }));
    // Two are learned from; the next is seen meanwhile.
    const role = scans.filter((each) => each.role === "learn").length < 2 ? "learn" : "watch";
    return await change((before) => ({ ...before, scans: [...before.scans, { id, name, role, corrected: false }] }));
  } finally {
    opened.dispose();
  }
}

const imageOf = (id: string, channel: number): string => `images/${id}_${String(channel).padStart(4, "0")}.nii.gz`;

function channelOf(image: Volume, channel: number): Volume {
  const count = voxelCount(image.shape);
  return { ...image, channels: 1, data: image.data.slice(channel * count, (channel + 1) * count) };
}

/** Opens one of the scans, with its corrected labels or else what the model found. */
export async function open({ id }: { id: string }): Promise<OpenedScan> {
  const [folder, { model, scans }] = [await home(), await state()];
  const image = await imageIn(folder, id, model!.channels.length);
  const corrected = await folder.has(`labels/${id}.nii.gz`);
  const labels = await readVolume(`${folder.path}/${corrected ? "labels" : "found"}/${id}.nii.gz`);
  const { name } = scans.find((each) => each.id === id)!;
  return { scan: described({ ...image, name }), labels: toShown(labels) };
}

const imageIn = (folder: Folder, id: string, channels: number): Promise<Volume> =>
  loadImage(
    Array.from({ length: channels }, (_, c) => `${folder.path}/${imageOf(id, c)}`),
    new Array(channels).fill(""),
  );

/** Keeps what was painted. */
export async function keep(
  { id, scan, labels }: { id: string; scan: number; labels: Uint8Array<ArrayBuffer> },
): Promise<AdaptState> {
  const volume = toScan(scan, labels);
  await (await home()).write(`labels/${id}.nii.gz`, writeNifti(volume, { dtype: "uint8", gzip: true }));
  return changeScan(id, { corrected: true });
}

/** Says what a scan is there for. */
export async function setRole({ id, role }: { id: string; role: Role }): Promise<AdaptState> {
  return changeScan(id, { role });
}

const changeScan = (id: string, entries: Partial<AdaptScan>): Promise<AdaptState> =>
  change((before) => ({
    ...before,
    scans: before.scans.map((each) => (each.id === id ? { ...each, ...entries } : each)),
  }));

export async function remove({ id }: { id: string }): Promise<AdaptState> {
  const folder = await home();
  const names = (await folder.list("images")).filter((name) => name.startsWith(`${id}_`));
  for (
    const name of [
      ...names.map((each) => `images/${each}`),
      ...["labels", "found", "known"].map((each) => `${each}/${id}.nii.gz`),
    ]
  ) {
    await folder.remove(name);
  }
  return change((before) => ({ ...before, scans: before.scans.filter((each) => each.id !== id) }));
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
