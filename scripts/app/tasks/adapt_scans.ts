/** The scans of adapting: taken in with what the model finds, corrected, said what they are there for. */
import {
  loadImage,
  phantomCase,
  readVolume,
  type Volume,
  voxelCount,
  writeNifti,
} from "../../../engine/imaging/mod.ts";
import { VoxgradError } from "../../../engine/mod.ts";
import { openModel } from "../../../models/mod.ts";
import type { Work } from "../protocol.ts";
import { type AdaptScan, type AdaptState, change, home, type Role, state } from "./adapt_state.ts";
import { scanOf, toScan, toShown } from "./kept.ts";
import { described, type ScanView } from "./scans.ts";
import type { Folder } from "./store.ts";

/** A scan with its labels by now, on the grid that the page shows. */
export interface OpenedScan {
  readonly scan: ScanView;
  readonly labels: Uint8Array<ArrayBuffer>;
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

/** The file of a channel. */
export const imageOf = (id: string, channel: number): string =>
  `images/${id}_${String(channel).padStart(4, "0")}.nii.gz`;

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
