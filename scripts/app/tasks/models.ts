/** Trained models: opened, and applied to scans. */
import { mountFiles, VoxgradError } from "../../../engine/mod.ts";
import { labelColor, type ModelSource } from "../../../engine/train/mod.ts";
import { openModel, type OpenModelOptions, type SegmentationModel } from "../../../models/mod.ts";
import type { Work } from "../protocol.ts";
import { scanOf, toScan, toShown } from "./kept.ts";

/** Where a model is: files (one, several that are averaged, or those of a folder), or an address. */
export type ModelPlace =
  | { readonly files: readonly File[]; readonly folder?: boolean }
  | { readonly url: string };

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
  const { name, source } = sourceOf(place);
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

function sourceOf(place: ModelPlace): { name: string; source: ModelSource | readonly ModelSource[] } {
  if ("url" in place) {
    const url = new URL(place.url);
    return { name: url.pathname.split("/").pop() || url.host, source: url };
  }
  const { files, folder = false } = place;
  if (folder) {
    const name = files[0].webkitRelativePath.split("/")[0] || "model";
    return { name, source: mountFiles(files, `model-${name}`) };
  }
  return { name: files.map((file) => file.name).join(", "), source: files.length === 1 ? files[0] : files };
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

/** A painted example, on the grid that the page shows. */
export interface Example {
  readonly scan: number;
  readonly labels: Uint8Array<ArrayBuffer>;
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
  const support = examples.map((example) => {
    const own = scanOf(example.scan);
    return { image: own, labels: toScan(own, example.labels) };
  });
  const found = await modelOf(model).segment(image, {
    signal,
    onProgress: tell,
    probabilities,
    ...(support.length > 0 && { support }),
  });
  return { labels: toShown(found.labels), seconds: (performance.now() - started) / 1000 };
}
