/** Segmentation by painted examples. */
import { type PreparedCase, reorient, type Volume, voxelCount } from "../../../engine/imaging/mod.ts";
import { VoxgradError } from "../../../engine/mod.ts";
import { type LoadedModel, loadModel, resident } from "../../../engine/train/mod.ts";
import { planOfScan } from "../../../models/alpnet/evaluate/within.ts";
import { oneShotSegmenter } from "../../../models/alpnet/scans.ts";
import { fewShotOptions, settingsWith } from "../../../models/alpnet/settings.ts";
import { encoderOf, prepareSupport, sliceAxis } from "../../../models/alpnet/support.ts";
import type { Work } from "../protocol.ts";
import type { Axis } from "../slices.ts";
import { gridOf, scanOf, toScan } from "./kept.ts";
import { keepSlices, labelsFrom, type LikelyClass, withPlace } from "./likely.ts";
import { type FilePlace, sourceOf } from "./models.ts";

/** An encoder as the page knows it. */
export interface EncoderView {
  readonly id: number;
  readonly name: string;
  readonly channels: readonly string[];
  readonly dataset: string;
}

/** A scan with what was painted on it, on the grid that the page shows. */
export interface Example {
  readonly scan: number;
  readonly labels: Uint8Array<ArrayBuffer>;
}

type Plan = Awaited<ReturnType<typeof encoderOf>>["plan"];
type Encoder = Awaited<ReturnType<typeof encoderOf>> & { readonly loaded: LoadedModel };

const encoders = new Map<number, Encoder>();
let numbers = 0;

export async function open({ place }: { place: FilePlace }): Promise<EncoderView> {
  const { name, source } = sourceOf(place);
  if (Array.isArray(source)) throw new VoxgradError(`${name}: an encoder is one file, model.safetensors`);
  const loaded = await loadModel(source as Parameters<typeof loadModel>[0]);
  const encoder = await encoderOf(loaded);
  encoders.set(++numbers, { ...encoder, loaded });
  return {
    id: numbers,
    name,
    channels: encoder.plan.channels.map((channel) => channel.name),
    dataset: encoder.plan.dataset,
  };
}

export async function close({ encoder }: { encoder: number }): Promise<void> {
  encoders.delete(encoder);
}

function encoderFor(id: number): Encoder {
  const found = encoders.get(id);
  if (!found) throw new VoxgradError("the encoder is no longer open; open it again");
  return found;
}

/** How a scan is prepared for an encoder: like its own training, or by the scan's own pixels and intensities. */
const planFor = (image: Volume, plan: Plan): Plan => {
  const [, h, w] = plan.fingerprint.medianPreparedShape;
  const longest = Math.max(...image.shape);
  return planOfScan(image, plan, { preparation: "own", side: Math.min(MOST, Math.max(h, w, longest)) });
};
/** Pixels of a slice's longer edge at most. */
const MOST = 192;

/** What was found last, of which labels are made again without a GPU. */
let last: {
  readonly scan: number;
  readonly axis: Axis;
  readonly similar: readonly LikelyClass[];
  readonly placed: readonly LikelyClass[];
  readonly painted: Uint8Array;
} | undefined;

/** The segmenter of an encoder for slices of one kind, kept for the next call. */
let kept: { readonly key: string; readonly segmenter: ReturnType<typeof segmenterOf> } | undefined;

function segmenterOf({ model, params, settings }: Encoder, plan: Plan) {
  // Whatever slices are painted are all used, each for the slices around it.
  const options = fewShotOptions(settingsWith(settings, { slices: "nearest", nearest: 1 }));
  return resident("encoder", params, (own: object) => oneShotSegmenter(model, own, { plan, ...options }));
}

/**
 * Looks for what examples show. `labels` then gives labels at any threshold.
 *
 * @throws VoxgradError if nothing is painted, or too little of a class
 */
export async function find(
  { encoder, scan, examples }: { encoder: number; scan: number; examples: readonly Example[] },
  { signal, tell }: Work,
): Promise<{ values: number[]; seconds: number }> {
  const started = performance.now();
  const image = scanOf(scan);
  const own = encoderFor(encoder);
  const plan = planFor(image, own.plan);
  const supports: PreparedCase[] = [];
  for (const example of examples) {
    const theirs = scanOf(example.scan);
    // Pixels as large as the scan's, intensities of their own.
    const theirPlan = { ...plan, channels: planFor(theirs, own.plan).channels };
    const label = { ...toScan(example.scan, example.labels), name: "what is painted" };
    const { support, lost } = await prepareSupport({ id: theirs.name, image: theirs, label }, theirPlan);
    if (lost !== undefined) throw new VoxgradError(lost);
    supports.push(support);
  }
  const key = JSON.stringify([encoder, plan]);
  if (kept?.key !== key) {
    kept?.segmenter.dispose();
    kept = { key, segmenter: segmenterOf(own, plan) };
  }
  const similar: LikelyClass[] = [];
  await kept.segmenter.use((segment) =>
    segment(image, supports, {
      signal,
      onProgress: (done, total) => tell({ done, total }),
      onLikely: (likely, values) => {
        const count = voxelCount(likely.shape);
        similar.length = 0;
        for (const [k, value] of values.entries()) {
          const one: Volume = { ...likely, channels: 1, data: likely.data.subarray(k * count, (k + 1) * count) };
          similar.push({ value, likely: Float32Array.from(reorient(one, "RAS").data) });
        }
      },
    })
  );
  const { shape, spacing, affine } = gridOf(scan);
  const axis = sliceAxis({ affine }, plan).storage;
  const painted = examples.find((example) => example.scan === scan)?.labels ?? new Uint8Array(voxelCount(shape));
  const placed = similar.map((each) => withPlace(each, { labels: painted, shape, spacing, axis }));
  last = { scan, axis, similar, placed, painted };
  return { values: similar.map(({ value }) => value), seconds: (performance.now() - started) / 1000 };
}

/** How what was found becomes labels. */
export interface LabelOptions {
  readonly scan: number;
  readonly threshold: number;
  /** First and last slice, from 0. */
  readonly range: readonly [number, number];
  /** Whether classes lie between and near the painted slices. */
  readonly near: boolean;
  /** Slices that were corrected, and stay as they are. */
  readonly corrected: readonly number[];
}

function lastOf(scan: number) {
  if (last?.scan !== scan) throw new VoxgradError("nothing was looked for in this scan yet; press Find");
  return last;
}

/** Labels of what was found last. */
export async function labels(
  { scan, threshold, range, near, corrected }: LabelOptions,
): Promise<{ labels: Uint8Array<ArrayBuffer> }> {
  const { axis, similar, placed, painted } = lastOf(scan);
  const { shape } = gridOf(scan);
  const found = labelsFrom(near ? placed : similar, { shape, axis, threshold, range });
  keepSlices(found, { labels: painted, shape, axis }, corrected);
  return { labels: found };
}

/** How likely a class is, on the grid that the page shows. */
export async function likely(
  { scan, value, near }: { scan: number; value: number; near: boolean },
): Promise<Float32Array<ArrayBuffer> | undefined> {
  const { similar, placed } = lastOf(scan);
  return (near ? placed : similar).find((each) => each.value === value)?.likely.slice();
}
