/** Training episodes of ALPNet: a slice and one of its superpixels, or slices of two patients with one class. */
import { concat, random, slice, Tensor, tensor, VoxgradError } from "../../engine/mod.ts";
import {
  augment,
  type CaseSource,
  extractBox,
  patchStart,
  type Prng,
  type SampleCase,
  type SuperpixelStore,
} from "../../engine/imaging/mod.ts";

/** Two slices, the support first: image f32 [2, C, h, w] and label i32 [2, h, w], 1 in the class, else 0. */
export interface EpisodeBatch {
  readonly image: Tensor;
  readonly label: Tensor;
}

/** Draws an episode; deterministic by the generator. */
export type DrawEpisode = (prng: Prng) => Promise<EpisodeBatch>;

export interface EpisodeOptions {
  /** Size of the slices, [h, w]; larger ones are cropped around the class, smaller ones padded with 0. */
  readonly size: readonly [number, number];
  /** Values of unseen classes: slices that show one are excluded (setting 2 of the paper). */
  readonly exclude?: readonly number[];
}

type Sliced = { readonly item: SampleCase; readonly z: number; readonly pixels: Uint32Array };

/** A slice and the class's mask, cropped to contain a random pixel of the class. */
function cut(prng: Prng, { item, z, pixels }: Sliced, size: readonly [number, number]) {
  const { image, shape, channels } = item;
  const [, H, W] = shape;
  const patch = [1, ...size];
  const [, y, x] = patchStart(prng, { shape: [1, H, W], foreground: [{ value: 1, voxels: pixels }] }, {
    patch,
    foreground: true,
  });
  const mask = new Int32Array(H * W);
  for (const pixel of pixels) mask[pixel] = 1;
  return {
    image: extractBox(image, shape, new Float32Array(channels * size[0] * size[1]), {
      channels,
      start: [z, y, x],
      size: patch,
    }),
    label: extractBox(mask, [1, H, W], new Int32Array(size[0] * size[1]), {
      channels: 1,
      start: [0, y, x],
      size: patch,
    }),
  };
}

function batchOf(prng: Prng, support: Sliced, query: Sliced, size: readonly [number, number]): EpisodeBatch {
  // A slice that is both support and query is cropped once.
  const first = cut(prng, support, size);
  const second = query === support ? first : cut(prng, query, size);
  const join = <T extends Float32Array | Int32Array>(a: T, b: T, out: T): T => (out.set(a), out.set(b, a.length), out);
  const { channels } = support.item;
  return {
    image: tensor(join(first.image, second.image, new Float32Array(2 * first.image.length)), {
      shape: [2, channels, ...size],
    }),
    label: tensor(join(first.label, second.label, new Int32Array(2 * first.label.length)), { shape: [2, ...size] }),
  };
}

/** Slices of a case that show none of the given values. */
function allowedSlices({ label, shape }: SampleCase, exclude: readonly number[]): number[] {
  const size = shape[1] * shape[2];
  return Array.from({ length: shape[0] }, (_, z) => z).filter(
    (z) => exclude.length === 0 || !label.subarray(z * size, (z + 1) * size).some((value) => exclude.includes(value)),
  );
}

const pixelsOf = (labels: Uint8Array | Uint16Array, value: number): Uint32Array =>
  Uint32Array.from(labels.keys()).filter((k) => labels[k] === value);

/**
 * Self-supervised episodes (section 3.3): a random slice with superpixels, with a random superpixel as the class. The
 * slice is both support and query; `transformed` makes them differ.
 *
 * @param superpixels of the source's cases
 * @throws VoxgradError if no slice is left
 * @example
 * ```ts
 * import { openCaseStore, openDataset, openSuperpixels, readPlan } from "voxgrad/imaging";
 * import { superpixelEpisodes } from "voxgrad/models";
 *
 * const dataset = await openDataset("data/CHAOS");
 * const store = await openCaseStore(dataset, await readPlan("plan.json"), { folder: "runs/prepared" });
 * const superpixels = await openSuperpixels(store, { folder: "runs/prepared/superpixels", threshold: 50 });
 * const draw = await superpixelEpisodes(store, superpixels, { size: [256, 256] });
 * ```
 */
export async function superpixelEpisodes(
  source: CaseSource,
  superpixels: SuperpixelStore,
  { size, exclude = [] }: EpisodeOptions,
): Promise<DrawEpisode> {
  const slices: { id: string; z: number; numbers: readonly number[] }[] = [];
  for (const id of source.ids) {
    const item = await source.get(id);
    const labels = superpixels.get(id);
    const area = item.shape[1] * item.shape[2];
    for (const z of allowedSlices(item, exclude)) {
      const numbers = [...new Set(labels.subarray(z * area, (z + 1) * area))].filter((number) => number > 0);
      if (numbers.length > 0) slices.push({ id, z, numbers });
    }
  }
  if (slices.length === 0) {
    throw new VoxgradError(
      "superpixelEpisodes: no slice has a superpixel; lower --threshold or --minSize, or exclude fewer classes",
    );
  }
  return async (prng) => {
    const { id, z, numbers } = slices[prng.integer(slices.length)];
    const item = await source.get(id);
    const area = item.shape[1] * item.shape[2];
    const pixels = pixelsOf(
      superpixels.get(id).subarray(z * area, (z + 1) * area),
      numbers[prng.integer(numbers.length)],
    );
    const both = { item, z, pixels };
    return batchOf(prng, both, both, size);
  };
}

/**
 * Episodes of annotated classes: a class at random, a slice of a patient that shows it as support, and one of another
 * patient as query (the same patient if there is only one).
 *
 * @param classes values that may be drawn
 * @throws VoxgradError if none of the classes occurs in any slice
 * @example
 * ```ts
 * import { openCaseStore, openDataset, readPlan } from "voxgrad/imaging";
 * import { annotatedEpisodes } from "voxgrad/models";
 *
 * const dataset = await openDataset("data/CHAOS");
 * const store = await openCaseStore(dataset, await readPlan("plan.json"), { folder: "runs/prepared" });
 * const draw = await annotatedEpisodes(store, [1, 2], { size: [256, 256], exclude: [3, 4] });
 * ```
 */
export async function annotatedEpisodes(
  source: CaseSource,
  classes: readonly number[],
  { size, exclude = [] }: EpisodeOptions,
): Promise<DrawEpisode> {
  const byClass = new Map<number, Map<string, number[]>>();
  for (const id of source.ids) {
    const item = await source.get(id);
    const area = item.shape[1] * item.shape[2];
    const allowed = allowedSlices(item, exclude);
    for (const value of classes) {
      const slices = allowed.filter((z) => item.label.subarray(z * area, (z + 1) * area).includes(value));
      if (slices.length === 0) continue;
      if (!byClass.has(value)) byClass.set(value, new Map());
      byClass.get(value)!.set(id, slices);
    }
  }
  const known = [...byClass.keys()];
  if (known.length === 0) {
    throw new VoxgradError(
      `annotatedEpisodes: no slice shows one of the classes ${classes.join(", ")}; exclude fewer classes`,
    );
  }
  const pick = <T>(prng: Prng, list: readonly T[]): T => list[prng.integer(list.length)]!;
  return async (prng) => {
    const value = pick(prng, known);
    const cases = byClass.get(value)!;
    const ids = [...cases.keys()];
    const first = pick(prng, ids);
    const others = ids.filter((id) => id !== first);
    const sliced = async (id: string): Promise<Sliced> => {
      const item = await source.get(id);
      const z = pick(prng, cases.get(id)!);
      const area = item.shape[1] * item.shape[2];
      return { item, z, pixels: pixelsOf(item.label.subarray(z * area, (z + 1) * area), value) };
    };
    const support = await sliced(first);
    return batchOf(prng, support, await sliced(others.length > 0 ? pick(prng, others) : first), size);
  };
}

export interface TransformOptions {
  /** Geometry moves pixels, intensity changes their values. */
  readonly transform: "both" | "geometry" | "intensity" | "none";
  /** Whether only the query is transformed (paper) or each slice separately (official code). */
  readonly of: "query" | "both";
}

/**
 * The transforms of section 3.3, as in the official code: rotation and shear by up to 5 degrees, translation by up to 5
 * pixels of 256, sizes of 0.9 to 1.2, a smooth displacement of about a pixel of 256, then gamma from 0.5 to 1.5 that
 * keeps the slice's range.
 *
 * @returns a batch of the same shapes
 * @example
 * ```ts
 * import { random, zeros } from "voxgrad";
 * import { transformed } from "voxgrad/models";
 *
 * const batch = { image: zeros([2, 1, 64, 64]), label: zeros([2, 64, 64], { dtype: "i32" }) };
 * const moved = transformed(random.key(1), batch, { transform: "both", of: "both" });
 * ```
 */
export function transformed(key: Tensor, batch: EpisodeBatch, { transform, of }: TransformOptions): EpisodeBatch {
  if (transform === "none") return batch;
  const patch = batch.label.shape.slice(1);
  const side = Math.max(...patch);
  const [geometry, intensity] = random.split(key) as [Tensor, Tensor];
  const change = (given: EpisodeBatch): EpisodeBatch => {
    let made = given;
    if (transform !== "intensity") {
      const shift = (5 * side) / 256;
      made = augment.spatial(geometry, { ...made }, {
        patch,
        rotation: { p: 1, degrees: [-5, 5] },
        shear: { p: 1, degrees: [-5, 5] },
        // Factors multiply coordinates, so sizes are divided by them.
        scaling: { p: 1, factor: [1 / 1.2, 1 / 0.9] },
        translation: { p: 1, voxels: [-shift, shift] },
        elastic: { p: 1, magnitude: [0, 0.01], points: 12 },
      });
    }
    if (transform !== "geometry") {
      made = augment.gamma(intensity, { ...made }, { p: 1, gamma: [0.5, 1.5], keep: "range" });
    }
    return made;
  };
  if (of === "both") return change(batch);
  const part = (x: Tensor, n: number): Tensor => slice(x, { start: [n], end: [n + 1] });
  const query = change({ image: part(batch.image, 1), label: part(batch.label, 1) });
  return {
    image: concat([part(batch.image, 0), query.image], { axis: 0 }),
    label: concat([part(batch.label, 0), query.label], { axis: 0 }),
  };
}
