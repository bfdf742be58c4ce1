/** Pictures of segmentations: gray slices with the prediction filled and the reference outlined, as one SVG. */
import { encode } from "fast-png";
import { axisCodes, voxelCount } from "../../imaging/mod.ts";
import type { ClassComparison, ComparedClass, Volume } from "../../imaging/mod.ts";
import { base64 } from "../run/base64.ts";
import { outline } from "./overlay_shapes.ts";
import { escapeXml, labelColor, openSvg, text } from "./plots.ts";
import { inLines, shortened, textWidth, wrapped } from "./svg_text.ts";

type Labels = ArrayLike<number>;

export interface OverlayCase {
  readonly name: string;
  /** The image, on the grid of both segmentations; its first channel is shown. */
  readonly image: Volume;
  /** Class of each voxel in the order of `image.data`. */
  readonly reference?: Labels;
  readonly prediction?: Labels;
  /** A third map, with values of `contexts` from 1 on: drawn filled, with the prediction as a dashed outline. */
  readonly context?: Labels;
  /** Slices that are always shown, in a frame with a word; counted from 0 towards the head (front, right). */
  readonly marked?: readonly { readonly slice: number; readonly note: string }[];
  /** Shown next to the name instead of the Dice of the whole case. */
  readonly caption?: string;
  /** Measures of the case by class, whose Dice are shown next to the name; default those of the two maps. */
  readonly measured?: readonly Pick<ClassComparison, "name" | "truePositive" | "dice">[];
}

export interface OverlayOptions {
  /** Class names by value, background first. */
  readonly labels: readonly string[];
  /** Regions to draw and measure instead of labels. If regions overlap, the last fills a voxel. */
  readonly regions?: readonly ComparedClass[];
  /** Names of the values of cases' `context` from 1 on; their colors follow those of the labels. */
  readonly contexts?: readonly string[];
  /** Slices per case; default 4. */
  readonly slices?: number;
  /** Which patient axis the slices are stacked along: S (axial, the default), A (coronal) or R (sagittal). */
  readonly along?: "S" | "A" | "R";
  readonly title?: string;
}

const TILE = 220;
const GAP = 8;
const LEFT = 24;
/** Height of a line of the legend or of a caption. */
const LINE = 16;

/**
 * Patient directions to the right and downwards on the screen, in radiological convention: the patient's right is on
 * the left.
 */
export const HANGING = { S: ["L", "P"], A: ["L", "I"], R: ["P", "I"] } as const;

/** The axis of the patient along which slices are stacked: S (axial), A (coronal), R (sagittal). */
export type PatientAxis = keyof typeof HANGING;
const OPPOSITE: Readonly<Record<string, string>> = { R: "L", L: "R", A: "P", P: "A", S: "I", I: "S" };

/** Maps slices of a volume to the screen. */
export interface View {
  /** Storage axis (0 x, 1 y, 2 z), size and direction of: columns, rows, slices. */
  readonly axes: readonly [number, number, number];
  readonly reversed: readonly [boolean, boolean, boolean];
  readonly sizes: readonly [number, number, number];
  /** Size of a pixel in mm, across and down. */
  readonly pixel: readonly [number, number];
}

export function viewOf(image: Volume, along: "S" | "A" | "R"): View {
  const codes = axisCodes(image.affine);
  const axisOf = (code: string) => [...codes].findIndex((c) => c === code || c === OPPOSITE[code]);
  const wanted = [...HANGING[along], along];
  const axes = wanted.map(axisOf) as unknown as [number, number, number];
  return {
    axes,
    reversed: axes.map((axis, i) => codes[axis] !== wanted[i]) as unknown as [boolean, boolean, boolean],
    sizes: axes.map((axis) => image.shape[axis]) as unknown as [number, number, number],
    pixel: [image.spacing[axes[0]], image.spacing[axes[1]]],
  };
}

/** One slice of a volume in screen order, row by row. */
export function cut(data: Labels, shape: readonly number[], view: View, slice: number): Float32Array {
  const strides = [1, shape[0], shape[0] * shape[1]];
  const [columns, rows] = view.sizes;
  const place = (i: 0 | 1 | 2, at: number) => strides[view.axes[i]] * (view.reversed[i] ? view.sizes[i] - 1 - at : at);
  const out = new Float32Array(columns * rows);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) out[r * columns + c] = data[place(2, slice) + place(1, r) + place(0, c)];
  }
  return out;
}

/**
 * Slices evenly spread over those that show a structure (with a context: of the reference), or over all if none does;
 * each marked slice replaces the nearest other one.
 */
function chooseSlices(item: OverlayCase, view: View, count: number): number[] {
  const { reference, prediction, context, image } = item;
  const structures = context && reference ? [reference] : [reference, prediction];
  const all = Array.from({ length: view.sizes[2] }, (_, slice) => slice);
  const showing = all.filter((slice) =>
    structures.some((l) => l && cut(l, image.shape, view, slice).some((v) => v > 0))
  );
  const from = showing.length > 0 ? showing : all;
  const chosen = new Set(
    Array.from({ length: count }, (_, i) => from[Math.round(((i + 0.5) / count) * (from.length - 1))]),
  );
  const marked = (item.marked ?? []).slice(0, count).map(({ slice }) => slice);
  for (const slice of marked.filter((each) => !chosen.has(each))) {
    const others = [...chosen].filter((each) => !marked.includes(each));
    if (chosen.size >= count) {
      chosen.delete(others.reduce((a, b) => (Math.abs(b - slice) < Math.abs(a - slice) ? b : a)));
    }
    chosen.add(slice);
  }
  return [...chosen].sort((a, b) => a - b);
}

/** Gray window from the 0.5th to the 99.5th percentile of the first channel. */
export const grayWindow = (image: Volume): [number, number] =>
  middleRange(image.data.subarray(0, voxelCount(image.shape)));

/** The 0.5th and 99.5th percentile of a sample of the values, robust against outliers; never equal. */
export function middleRange(values: Labels): [number, number] {
  const step = Math.max(1, Math.floor(values.length / 50_000));
  const sample = Float64Array.from({ length: Math.ceil(values.length / step) }, (_, i) => values[i * step]).filter(
    Number.isFinite,
  );
  sample.sort();
  const at = (p: number) => sample[Math.round(p * (sample.length - 1))] ?? 0;
  const [low, high] = [at(0.005), at(0.995)];
  return high > low ? [low, high] : [low - 1, low + 1];
}

function grayPng(slice: Float32Array, view: View, [low, high]: [number, number]): string {
  const data = Uint8Array.from(slice, (v) => Math.min(255, Math.max(0, Math.round(((v - low) / (high - low)) * 255))));
  const png = encode({ width: view.sizes[0], height: view.sizes[1], data, channels: 1, depth: 8 });
  return `data:image/png;base64,${base64(png)}`;
}

const STYLES = {
  fill: (color: string) => `fill="${color}" fill-opacity="0.45" fill-rule="evenodd"`,
  line: (color: string) => `fill="none" stroke="${color}" stroke-width="1.8" stroke-linejoin="round"`,
  dashes: (color: string) => `fill="none" stroke="${color}" stroke-width="1.4" stroke-dasharray="3 2"`,
};

interface Layer {
  readonly labels: Labels;
  readonly style: keyof typeof STYLES;
  /** Label values of each class. */
  readonly classes: readonly (readonly number[])[];
  /** Number of the first class's color. */
  readonly first: number;
}

/** The layers over a slice, from bottom to top. */
function layersOf(
  { reference, prediction, context }: OverlayCase,
  classes: readonly ComparedClass[],
  contexts: number,
): Layer[] {
  const own = { classes: classes.map(({ values }) => values), first: 1 };
  const last = own.classes.map((values, k) =>
    values.filter((value) => !own.classes.slice(k + 1).some((later) => later.includes(value)))
  );
  const layers: Layer[] = [];
  if (context) {
    const each = Array.from({ length: contexts }, (_, k) => [k + 1]);
    layers.push({ labels: context, style: "fill", classes: each, first: classes.length + 1 });
  } else if (prediction) layers.push({ labels: prediction, style: "fill", ...own, classes: last });
  if (reference) layers.push({ labels: reference, style: "line", ...own });
  if (context && prediction) layers.push({ labels: prediction, style: "dashes", ...own });
  return layers;
}

function drawTile(
  item: OverlayCase,
  view: View,
  slice: number,
  options: {
    x: number;
    y: number;
    scale: number;
    gray: [number, number];
    classes: readonly ComparedClass[];
    contexts: number;
  },
): string {
  const { x, y, scale, gray, classes, contexts } = options;
  const [columns, rows] = view.sizes;
  const [across, down] = [view.pixel[0] * scale, view.pixel[1] * scale];
  const href = grayPng(cut(item.image.data, item.image.shape, view, slice), view, gray);
  const parts = [
    `<g transform="translate(${x.toFixed(1)} ${y.toFixed(1)})">`,
    `<image width="${(columns * across).toFixed(2)}" height="${(rows * down).toFixed(2)}" preserveAspectRatio="none" ` +
    `href="${href}"/>`,
  ];
  for (const { labels, style, classes: sets, first } of layersOf(item, classes, contexts)) {
    const plane = cut(labels, item.image.shape, view, slice);
    sets.forEach((values, k) => {
      const [shown, value] = values.length === 1
        ? [plane, values[0]]
        : [plane.map((v) => Number(values.includes(v))), 1];
      const path = outline(shown, columns, rows, value, [across, down]);
      if (path !== "") parts.push(`<path d="${path}" ${STYLES[style](labelColor(first + k))}/>`);
    });
  }
  parts.push("</g>");
  const mark = item.marked?.find((each) => each.slice === slice);
  const note = `slice ${slice + 1} of ${view.sizes[2]}${mark ? `, ${mark.note}` : ""}`;
  if (mark) {
    const place = `x="${(x + 1).toFixed(1)}" y="${(y + 1).toFixed(1)}"`;
    const size = `width="${(columns * across - 2).toFixed(2)}" height="${(rows * down - 2).toFixed(2)}"`;
    parts.push(`<rect ${place} ${size} fill="none" stroke="#fff" stroke-width="2" stroke-dasharray="6 4"/>`);
  }
  parts.push(
    `<text x="${(x + 5).toFixed(1)}" y="${(y + rows * down - 6).toFixed(1)}" fill="#fff" fill-opacity="0.85" ` +
      `font-size="10">${escapeXml(note)}</text>`,
  );
  return parts.join("\n");
}

/** Dice of the voxels that have one of some values; NaN where none has. */
function diceOf(prediction: Labels, reference: Labels, values: readonly number[]): number {
  let [both, either] = [0, 0];
  for (let i = 0; i < reference.length; i++) {
    const [a, b] = [values.includes(prediction[i]), values.includes(reference[i])];
    both += Number(a && b);
    either += Number(a) + Number(b);
  }
  return (2 * both) / either;
}

/** Lines above a case: its name and scores. */
function caption(item: OverlayCase, classes: readonly ComparedClass[], room: number): string[] {
  const { name, reference, prediction, measured } = item;
  if (item.caption !== undefined) return wrapped(`${name}: ${item.caption}`.split(", "), room);
  if (!measured && !(reference && prediction)) return [shortened(name, room)];
  const scores = (measured ??
    classes.map((each) => ({ name: each.name, dice: diceOf(prediction!, reference!, each.values), truePositive: 0 })))
    .map((each) => {
      const value = Number.isNaN(each.truePositive)
        ? "not annotated"
        : Number.isNaN(each.dice)
        ? "in neither"
        : each.dice.toFixed(2);
      return `${shortened(each.name, room / 2)} ${value}`;
    });
  return wrapped([`${shortened(name, room / 2)}: Dice ${scores[0] ?? ""}`, ...scores.slice(1)], room);
}

/**
 * A picture of cases, one per row, each in a few slices spread over its structures: predictions filled, references
 * outlined, one color per class or region, Dice of the whole case in the caption. With contexts these are filled, and
 * predictions have dashed outlines. Slices follow radiological convention: the patient's right on the left, front or
 * head on top.
 *
 * @returns an SVG document with the gray slices embedded
 * @throws RangeError if a segmentation has another number of voxels than its image
 * @example
 * ```ts
 * import { phantomCase } from "voxgrad/imaging";
 * import { overlaySvg } from "voxgrad/train";
 *
 * const { image, label } = phantomCase({ seed: 1 });
 * const reference = label.data as Uint8Array;
 * const svg = overlaySvg([{ name: "patient", image, reference }], { labels: ["background", "organ", "tumor"] });
 * ```
 */
export function overlaySvg(cases: readonly OverlayCase[], options: OverlayOptions): string {
  const { labels, contexts = [], slices = 4, along = "S", title } = options;
  const classes = options.regions ?? labels.slice(1).map((name, k) => ({ name, values: [k + 1] }));
  const body: string[] = [];
  const width = LEFT * 2 + slices * TILE + (slices - 1) * GAP;
  const room = width - 2 * LEFT;
  let y = title ? 46 : 22;
  if (title) body.push(text(LEFT, 30, shortened(title, room, 18), 'font-size="17" font-weight="600" fill="#1a1a1a"'));
  const key = legend(classes, contexts, y, room);
  body.push(key.svg);
  y = key.bottom;
  for (const item of cases) {
    const count = voxelCount(item.image.shape);
    for (const segmentation of [item.reference, item.prediction, item.context]) {
      if (!segmentation || segmentation.length === count) continue;
      throw new RangeError(
        `overlaySvg: ${item.name}: got ${segmentation.length} labels, wanted ${count} as the image has`,
      );
    }
    const view = viewOf(item.image, along);
    const [mmAcross, mmDown] = [view.sizes[0] * view.pixel[0], view.sizes[1] * view.pixel[1]];
    const scale = TILE / Math.max(mmAcross, mmDown);
    const gray = grayWindow(item.image);
    for (const line of caption(item, classes, room)) {
      body.push(text(LEFT, y + 14, line, 'fill="#333"'));
      y += LINE;
    }
    y += 6;
    chooseSlices(item, view, slices).forEach((slice, index) => {
      const x = LEFT + index * (TILE + GAP) + (TILE - mmAcross * scale) / 2;
      body.push(drawTile(item, view, slice, { x, y, scale, gray, classes, contexts: contexts.length }));
    });
    y += Math.ceil(mmDown * scale) + 14;
  }
  return [
    openSvg(width, y + 6),
    ...body,
    "</svg>",
    "",
  ].join("\n");
}

function legend(
  classes: readonly ComparedClass[],
  contexts: readonly string[],
  top: number,
  room: number,
): { svg: string; bottom: number } {
  const kinds = contexts.length > 0
    ? "outlined: reference, dashed: prediction, filled: context"
    : "filled: prediction, outlined: reference";
  const names = [...classes.map(({ name }) => name), ...contexts].map((name) => shortened(name, room - 46));
  const places = inLines([...names.map((name) => 46 + Math.ceil(textWidth(name))), textWidth(kinds)], room)
    .map(({ x, line }) => ({ x: LEFT + x, y: top + LINE * line }));
  const parts = names.flatMap((name, index) => {
    const { x, y } = places[index];
    const [color, isContext] = [labelColor(index + 1), index >= classes.length];
    const fill = isContext || contexts.length === 0 ? `fill="${color}" fill-opacity="0.45"` : 'fill="none"';
    const stroke = isContext ? "" : ` stroke="${color}" stroke-width="1.8"`;
    return [
      `<rect x="${x}" y="${y - 2}" width="18" height="11" ${fill}${stroke}/>`,
      text(x + 24, y + 8, name, 'fill="#333"'),
    ];
  });
  const { x, y } = places.at(-1)!;
  parts.push(text(x, y + 8, kinds, 'fill="#666"'));
  return { svg: parts.join("\n"), bottom: y + 22 };
}
