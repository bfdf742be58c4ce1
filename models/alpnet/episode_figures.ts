/** Pictures of what an encoder is trained on: superpixels of slices, and episodes as the encoder solves them. */
import { compile, random, slice, softmax, type Tensor } from "../../engine/mod.ts";
import { type CaseSource, makeVolume, scaling, type SuperpixelStore, type Volume } from "../../engine/imaging/mod.ts";
import { type RunFolder, type TileRow, tilesSvg, writeFigure } from "../../engine/train/mod.ts";
import * as alpnet from "./alpnet.ts";
import type { FewShotOptions } from "./alpnet.ts";
import { type EpisodeBatch, transformed, type TransformOptions } from "./episodes.ts";
import type { OneShotModel } from "./scans.ts";

/** Slices whose superpixels are shown, and episodes. */
const SLICES = 3;
const EPISODES = 3;
/** Colors that tell neighboring superpixels apart, mostly. */
const COLORS = 7;

/** A slice of the first channel as a volume. */
const volumeOf = (values: Float32Array<ArrayBuffer>, [h, w]: readonly number[], name: string): Volume =>
  makeVolume(values, { shape: [w, h, 1], affine: scaling([1, 1, 1]), name });

/** Rows of slices with their superpixels outlined, and filled. */
export async function superpixelRows(source: CaseSource, superpixels: SuperpixelStore): Promise<TileRow[]> {
  const rows: TileRow[] = [];
  for (const id of source.ids.slice(0, SLICES)) {
    const { image, shape: [D, h, w] } = await source.get(id);
    const z = Math.floor(D / 2);
    const numbers = superpixels.get(id).subarray(z * h * w, (z + 1) * h * w);
    const volume = volumeOf(image.slice(z * h * w, (z + 1) * h * w), [h, w], id);
    const classes = Array.from(
      { length: COLORS },
      (_, k) => Uint8Array.from(numbers, (number) => Number(number > 0 && number % COLORS === k)),
    );
    const count = new Set(numbers.filter((number) => number > 0)).size;
    rows.push({
      name: `${id}, slice ${z + 1} as it is prepared: ${count} superpixels`,
      image: volume,
      slice: 0,
      tiles: [{ values: volume.data }, { classes }],
      outlines: classes,
    });
  }
  return rows;
}

/** Figures of a training, for its report. */
export interface EpisodeFigureOptions extends TransformOptions {
  readonly run: RunFolder;
  readonly model: OneShotModel;
  /** As the training matches. */
  readonly fewShot: FewShotOptions;
  readonly seed: number;
  /** The k-th episode. */
  readonly draw: (k: number) => Promise<EpisodeBatch>;
  /** Absent of annotated classes. */
  readonly superpixels?: SuperpixelStore | undefined;
  /** How superpixels were made, in words. */
  readonly about: string;
  readonly source: CaseSource;
}

/**
 * Writes the figures of a training: slices with their superpixels, by which --threshold, --minSize and --sigma are
 * chosen, and episodes: the support, and the query with what the trained encoder finds.
 */
export async function episodeFigures(params: object, options: EpisodeFigureOptions): Promise<void> {
  const { run, model, fewShot, seed, draw, superpixels, about, source, transform, of } = options;
  if (superpixels) {
    await writeFigure(run, {
      name: "1_superpixels",
      title: "Superpixels",
      caption:
        `Classes of the episodes, in the middle slices of some cases; ${about}. Where none should be, a higher ` +
        "--threshold leaves them out; if they cut through what looks alike, --minSize or --sigma make them larger.",
      svg: tilesSvg(await superpixelRows(source, superpixels), { columns: ["slice", "superpixels"] }),
    });
  }
  const solve = compile((p: object, batch: EpisodeBatch, key: Tensor) => {
    const moved = transformed(key, batch, { transform, of });
    const features = model.apply(p, moved.image);
    const part = (x: Tensor, n: number): Tensor => slice(x, { start: [n], end: [n + 1] });
    const logits = alpnet.segment(part(features, 1), part(features, 0), part(moved.label, 0), { ...fewShot, ways: 1 });
    return { ...moved, found: slice(softmax(logits, { axis: 1 }), { start: [0, 1] }) };
  });
  const rows: TileRow[] = [];
  for (let k = 1; k <= EPISODES; k++) {
    const { image, label, found } = await solve(params, await draw(k), random.key(seed + k));
    const [, channels, h, w] = image.shape;
    const [pixels, classes] = [await image.data() as Float32Array<ArrayBuffer>, await label.data()];
    const likely = await found.data() as Float32Array<ArrayBuffer>;
    for (const [n, name] of ["support", "query"].entries()) {
      const at = n * channels * h * w;
      const own = volumeOf(pixels.slice(at, at + h * w), [h, w], name);
      rows.push({
        name: `episode ${k}, ${name}`,
        image: own,
        slice: 0,
        tiles: [{ values: own.data }, ...(n === 1 ? [{ values: likely, range: [0, 1], scale: "heat" } as const] : [])],
        outlines: [Uint8Array.from(classes.slice(n * h * w, (n + 1) * h * w))],
      });
    }
  }
  solve.dispose();
  await writeFigure(run, {
    name: "2_episodes",
    title: "Episodes",
    caption:
      "Of each episode the support and the query as they are transformed, with the class outlined, and what the " +
      "trained encoder finds in the query.",
    svg: tilesSvg(rows, { columns: ["slice and class", "probability"] }),
  });
}
