/** Maps of slices side by side, one row per position: intensities in gray, numbers on a color scale, classes. */
import { encode } from "fast-png";
import { axisCodes, voxelCount } from "../../imaging/mod.ts";
import type { Volume } from "../../imaging/mod.ts";
import { cut, middleRange, type View, viewOf } from "./overlay.ts";
import { base64 } from "../run/base64.ts";
import { outline } from "./overlay_shapes.ts";
import { labelColor, openSvg, text } from "./plots.ts";
import { inLines, shortened, textWidth } from "./svg_text.ts";

type Values = ArrayLike<number>;

/** Numbers, one per voxel in the order of the row's image. */
export interface MapTile {
  readonly values: Values;
  /** Values at the ends of the scale; default the 0.5th and 99.5th percentile. */
  readonly range?: readonly [low: number, high: number];
  /** Default "gray"; "heat": from black through red to pale yellow. */
  readonly scale?: "gray" | "heat";
  /** The slice to show instead of the row's. */
  readonly slice?: number;
}

/** Classes in their colors over black, each with an opacity from 0 to 1 per voxel; later classes are drawn on top. */
export interface ClassTile {
  readonly classes: readonly Values[];
}

export interface TileRow {
  readonly name: string;
  /** The grid of all maps, with its affine. */
  readonly image: Volume;
  /** Index of the slice along the options' axis of the image. */
  readonly slice: number;
  readonly tiles: readonly (MapTile | ClassTile)[];
  /** Masks by class, outlined in the colors of classes over gray, in white over heat. */
  readonly outlines?: readonly Values[];
}

export interface TileOptions {
  /** Column headings. */
  readonly columns: readonly string[];
  /** Axis of the images (0 x, 1 y, 2 z) along which slices are stacked; default 2. */
  readonly axis?: 0 | 1 | 2;
  /** Names of the classes, for the legend. */
  readonly classes?: readonly string[];
}

const WIDTH = 900;
const MARGIN = 24;
const GAP = 6;
const MOST = 210;
const PATIENT = { L: "R", R: "R", P: "A", A: "A", I: "S", S: "S" } as const;

type Rgb = readonly [number, number, number];
/** Evenly spaced, increasingly light. */
const HEAT: readonly Rgb[] = [[0, 0, 4], [81, 18, 124], [183, 55, 121], [252, 137, 97], [252, 253, 191]];

function heat(share: number): Rgb {
  const place = share * (HEAT.length - 1);
  const k = Math.min(HEAT.length - 2, Math.floor(place));
  const [from, to] = [HEAT[k], HEAT[k + 1]];
  return [0, 1, 2].map((c) => from[c] + (place - k) * (to[c] - from[c])) as unknown as Rgb;
}

const rgbOf = (color: string): Rgb => [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16)) as unknown as Rgb;

/** The color of each pixel of a slice. */
function pixelsOf(tile: MapTile | ClassTile, plane: (values: Values) => Float32Array): Rgb[] {
  if ("classes" in tile) {
    const planes = tile.classes.map(plane);
    return Array.from({ length: planes[0]?.length ?? 0 }, (_, i) =>
      planes.reduce<Rgb>((below, own, k) => {
        const color = rgbOf(labelColor(k + 1));
        return below.map((v, c) => v + own[i] * (color[c] - v)) as unknown as Rgb;
      }, [0, 0, 0]));
  }
  const [low, high] = tile.range ?? middleRange(tile.values);
  return Array.from(plane(tile.values), (v) => {
    const share = Math.min(1, Math.max(0, (v - low) / (high - low)));
    return tile.scale === "heat" ? heat(share) : [255 * share, 255 * share, 255 * share];
  });
}

function drawTile(
  row: TileRow,
  tile: MapTile | ClassTile,
  view: View,
  place: { x: number; y: number; scale: number },
): string {
  const { x, y, scale } = place;
  const [columns, rows, slices] = view.sizes;
  const [across, down] = [view.pixel[0] * scale, view.pixel[1] * scale];
  const at = ("slice" in tile ? tile.slice : undefined) ?? row.slice;
  const plane = (values: Values): Float32Array =>
    cut(values, row.image.shape, view, view.reversed[2] ? slices - 1 - at : at);
  const data = Uint8Array.from(pixelsOf(tile, plane).flat(), (v) => Math.round(v));
  const png = base64(encode({ width: columns, height: rows, data, channels: 3, depth: 8 }));
  const isMap = "values" in tile;
  const edges = (isMap ? (row.outlines ?? []) : []).map((mask, k) => {
    const path = outline(plane(mask).map((v) => Number(v > 0)), columns, rows, 1, [across, down]);
    const stroke = (tile as MapTile).scale === "heat"
      ? 'stroke="#fff" stroke-opacity="0.7"'
      : `stroke="${labelColor(k + 1)}"`;
    return path === "" ? "" : `<path d="${path}" fill="none" ${stroke} stroke-width="1.3" stroke-linejoin="round"/>`;
  });
  return [
    `<g transform="translate(${x.toFixed(1)} ${y.toFixed(1)})">`,
    `<image width="${(columns * across).toFixed(2)}" height="${(rows * down).toFixed(2)}" preserveAspectRatio="none" ` +
    `href="data:image/png;base64,${png}"/>`,
    ...edges,
    "</g>",
  ].filter((part) => part !== "").join("\n");
}

/** Legend: class names with their colors, and the color scale; `bottom` is where it ends. */
function legend(
  classes: readonly string[],
  hasHeat: boolean,
  top: number,
  width: number,
): { svg: string; bottom: number } {
  const room = width - 2 * MARGIN;
  const names = classes.map((name) => shortened(name, room - 42));
  const places = inLines([...names.map((name) => 42 + textWidth(name)), ...(hasHeat ? [180] : [])], room)
    .map(({ x, line }) => ({ x: MARGIN + Math.round(x), y: top + 18 * line }));
  const parts = names.flatMap((name, k) => {
    const { x, y } = places[k];
    return [
      `<rect x="${x}" y="${y}" width="14" height="11" rx="2" fill="${labelColor(k + 1)}"/>`,
      text(x + 20, y + 10, name, 'fill="#333"'),
    ];
  });
  const { x, y } = places.at(-1)!;
  if (hasHeat) {
    parts.push(text(x, y + 10, "least", 'fill="#333"'));
    for (let k = 0; k < 20; k++) {
      const color = heat(k / 19).map((v) => Math.round(v)).join(",");
      parts.push(`<rect x="${x + 34 + 5 * k}" y="${y}" width="5.5" height="11" fill="rgb(${color})"/>`);
    }
    parts.push(text(x + 140, y + 10, "most", 'fill="#333"'));
  }
  return { svg: parts.join("\n"), bottom: y + 24 };
}

/**
 * Slices of maps side by side, in radiological convention: the patient's right on the left, front or head on top.
 *
 * @returns an SVG document
 * @throws RangeError if a map has another number of voxels than its row's image, or a slice is out of range
 * @example
 * ```ts
 * import { phantomCase } from "voxgrad/imaging";
 * import { tilesSvg } from "voxgrad/train";
 *
 * const { image } = phantomCase({ seed: 1 });
 * const attention = Float32Array.from(image.data, (value) => Number(value > 500));
 * const tiles = [{ values: image.data }, { values: attention, range: [0, 1], scale: "heat" }] as const;
 * const svg = tilesSvg([{ name: "case 1", image, slice: 20, tiles }], { columns: ["scan", "attention"] });
 * ```
 */
export function tilesSvg(rows: readonly TileRow[], options: TileOptions): string {
  const { columns, axis = 2, classes = [] } = options;
  const room = Math.min(MOST, (WIDTH - 2 * MARGIN - (columns.length - 1) * GAP) / columns.length);
  const width = Math.max(2 * MARGIN + columns.length * (room + GAP) - GAP, 420);
  const hasHeat = rows.some(({ tiles }) => tiles.some((tile) => "values" in tile && tile.scale === "heat"));
  const body: string[] = [];
  let y = 12;
  if (classes.length > 0 || hasHeat) {
    const key = legend(classes, hasHeat, y, width);
    body.push(key.svg);
    y = key.bottom;
  }
  columns.forEach((name, k) =>
    body.push(text(MARGIN + k * (room + GAP), y + 10, shortened(name, room, 11), 'fill="#333" font-size="11"'))
  );
  y += 18;
  for (const row of rows) {
    const { image, name, slice, tiles, outlines = [] } = row;
    const count = voxelCount(image.shape);
    const lengths = [...tiles.flatMap((tile) => ("classes" in tile ? tile.classes : [tile.values])), ...outlines];
    for (const { length } of lengths) {
      if (length !== count) {
        throw new RangeError(`tilesSvg: ${name}: a map has ${length} voxels, wanted ${count} as the image has`);
      }
    }
    for (
      const at of [slice, ...tiles.flatMap((tile) => ("slice" in tile && tile.slice !== undefined ? [tile.slice] : []))]
    ) {
      if (Number.isInteger(at) && at >= 0 && at < image.shape[axis]) continue;
      throw new RangeError(`tilesSvg: ${name}: there is no slice ${at} of ${image.shape[axis]}`);
    }
    const code = axisCodes(image.affine)[axis] as keyof typeof PATIENT;
    const view = viewOf(image, PATIENT[code]);
    const [across, down] = [view.sizes[0] * view.pixel[0], view.sizes[1] * view.pixel[1]];
    const scale = room / Math.max(across, down);
    body.push(text(MARGIN, y + 14, shortened(name, width - 2 * MARGIN, 13), 'fill="#1a1a1a" font-weight="600"'));
    y += 20;
    tiles.forEach((tile, k) =>
      body.push(drawTile(row, tile, view, { x: MARGIN + k * (room + GAP) + (room - across * scale) / 2, y, scale }))
    );
    y += Math.ceil(down * scale) + 10;
  }
  return [openSvg(Math.ceil(width), y + 4), ...body, "</svg>", ""].join("\n");
}
