/** Trained models: opened, and applied to scans. */
import { reorient, type Volume, voxelCount } from "../../../engine/imaging/mod.ts";
import { mountFiles, VoxgradError } from "../../../engine/mod.ts";
import { labelColor, type ModelSource } from "../../../engine/train/mod.ts";
import { openModel, type OpenModelOptions, type SegmentationModel } from "../../../models/mod.ts";
import type { Work } from "../protocol.ts";
import { scanOf, toScan, toShown } from "./kept.ts";
import { type Folder, store } from "./store.ts";

/** Models that the browser keeps, by the folder of its storage: those that Adapt and Train made last. */
const KEPT = { adapt: "Adapted model", train: "Trained model" } as const;
export type KeptModel = keyof typeof KEPT;

/** Files with their paths (of one model, of several that are averaged, of a folder), or an address. */
export type FilePlace =
  | { readonly files: readonly { readonly file: File; readonly path: string }[] }
  | { readonly url: string };

/** Where a model is. */
export type ModelPlace = FilePlace | { readonly kept: KeptModel };

export interface LabelName {
  readonly value: number;
  readonly name: string;
  /** "#rrggbb". */
  readonly color: string;
}

/** A model as the page knows it. */
export interface ModelView {
  readonly id: number;
  readonly name: string;
  /** Without the background. */
  readonly labels: readonly LabelName[];
  readonly channels: readonly string[];
  /** Whether it finds what painted examples show. */
  readonly needsSupport: boolean;
  /** mm along z, y, x as the network sees it. */
  readonly spacing: readonly number[];
  readonly dataset: string;
}

const models = new Map<number, SegmentationModel>();
let numbers = 0;

export const named = (labels: readonly { name: string; value: number }[]): LabelName[] =>
  labels.filter(({ value }) => value > 0).map(({ name, value }) => ({ name, value, color: labelColor(value) }));

export async function open(
  { place, options = {} }: { place: ModelPlace; options?: OpenModelOptions },
): Promise<ModelView> {
  const { name, source } = "kept" in place
    ? { name: KEPT[place.kept], source: (await runOf(place.kept)).path }
    : sourceOf(place);
  const model = await openModel(source, options);
  models.set(++numbers, model);
  const { labels, channels, needsSupport, plan } = model;
  return {
    id: numbers,
    name,
    labels: named(labels),
    channels,
    needsSupport,
    spacing: plan.spacing,
    dataset: plan.dataset,
  };
}

const runOf = async (kept: KeptModel): Promise<Folder> => (await store()).within(`${kept}/run`);

/** Those that there are, of trainings that came to their end. */
export async function kept(): Promise<readonly { readonly kept: KeptModel; readonly name: string }[]> {
  const all = await Promise.all(
    (Object.entries(KEPT) as [KeptModel, string][]).map(async ([kept, name]) =>
      await (await runOf(kept)).has("report.html") ? [{ kept, name }] : []
    ),
  );
  return all.flat();
}

export function sourceOf(place: FilePlace): { name: string; source: ModelSource | readonly ModelSource[] } {
  if ("url" in place) {
    const url = new URL(place.url);
    return { name: url.pathname.split("/").pop() || url.host, source: url };
  }
  const { files } = place;
  const [{ file, path }] = files;
  if (files.length === 1 && !path.includes("/")) return { name: file.name, source: file };
  const graph = files.find((each) =>
    /\.(onnx|json)$/i.test(each.path) && !/(plans|dataset|config)\.json$/.test(each.path)
  );
  const folder = path.includes("/") ? path.split("/")[0] : "";
  const isGraph = graph !== undefined && !files.some((each) => /\.(safetensors|pth)$/.test(each.path));
  if (folder === "" && !isGraph) {
    return { name: files.map((each) => each.path).join(", "), source: files.map((each) => each.file) };
  }
  // Files that a folder or a graph names are found by their paths.
  const mounted = mountFiles(
    files.map((each) => ({
      name: each.file.name,
      webkitRelativePath: folder === "" ? "" : each.path,
      arrayBuffer: () => each.file.arrayBuffer(),
    })),
    `model ${folder || graph!.path}`,
  );
  if (!isGraph) return { name: folder, source: mounted };
  return {
    name: folder || graph.path,
    source: `${mounted}/${folder ? graph.path.slice(folder.length + 1) : graph.path}`,
  };
}

export async function close({ model }: { model: number }): Promise<void> {
  models.get(model)?.dispose();
  models.delete(model);
}

/** @throws VoxgradError if it was let go */
export function modelOf(id: number): SegmentationModel {
  const model = models.get(id);
  if (!model) throw new VoxgradError("the model is no longer open; open it again");
  return model;
}

export interface Found {
  /** On the grid that the page shows. */
  readonly labels: Uint8Array<ArrayBuffer>;
  /** A map for each label of the model, the background first, on that grid; if they were asked for. */
  readonly probabilities?: readonly Float32Array<ArrayBuffer>[];
  readonly seconds: number;
}

/** Each channel as the page shows it. */
function mapsOf(volume: Volume): Float32Array<ArrayBuffer>[] {
  const count = voxelCount(volume.shape);
  return Array.from({ length: volume.channels }, (_, k) => {
    const one = { ...volume, channels: 1, data: volume.data.subarray(k * count, (k + 1) * count) };
    return Float32Array.from(reorient(one, "RAS").data);
  });
}

/** A painted example, on the grid that the page shows. */
export interface Example {
  readonly scan: number;
  readonly labels: Uint8Array<ArrayBuffer>;
}

/** Memory in bytes that segmenting a scan takes in the page and on the GPU, where that can be told. */
export async function memory(
  { model, scan }: { model: number; scan: number },
): Promise<{ host: number; device: number } | undefined> {
  const told = await modelOf(model).memory?.(scanOf(scan));
  return told && { host: told.host, device: told.device };
}

export async function segment(
  { model, scan, probabilities = false, examples = [] }: {
    model: number;
    scan: number;
    probabilities?: boolean;
    examples?: readonly Example[];
  },
  { signal, tell }: Work,
): Promise<Found> {
  const started = performance.now();
  const image = scanOf(scan);
  const support = examples.map((example) => ({
    image: scanOf(example.scan),
    labels: toScan(example.scan, example.labels),
  }));
  const found = await modelOf(model).segment(image, {
    signal,
    onProgress: tell,
    probabilities,
    ...(support.length > 0 && { support }),
  });
  const seconds = (performance.now() - started) / 1000;
  return {
    labels: toShown(found.labels),
    seconds,
    ...(found.probabilities && { probabilities: mapsOf(found.probabilities) }),
  };
}
