/**
 * What the kernels of attention share. Every invocation owns a few vectors, which stay in registers, and walks over the
 * rows of other tensors, which all lanes need at once: lanes of a subgroup load adjacent elements of such rows and
 * broadcast them, because a load costs about twenty multiply-adds on a CPU adapter.
 */
import { wgsl } from "wgsl-preprocessor/wgsl-preprocessor.js";
import { ceilDiv, each, foldGrid } from "../grid.ts";
import { librarySource } from "../library.ts";
import type { Slot, Target } from "../types.ts";

/** A tensor that is added to the logits, or, as a mask, says which of them count. */
export interface Term {
  /** Of rank batch.length + 2: each axis has the size of the logits or 1. */
  readonly shape: readonly number[];
  readonly mask: boolean;
}

/** query [...batch, queries, features], key [...batch, keys, features], value [...batch, keys, values]. */
export interface AttentionParams {
  readonly batch: readonly number[];
  readonly queries: number;
  readonly keys: number;
  readonly features: number;
  readonly values: number;
  readonly terms: readonly Term[];
  readonly scale: number;
  /** A query attends to keys up to its own place + offset; null: to all. */
  readonly causal: number | null;
}

/** For the gradient by a term. */
export interface TermGradientParams extends AttentionParams {
  readonly term: number;
}

/** The logit of keys that do not count: far below any other, but finite, since differences of infinities are NaN. */
export const NOTHING = "-1e30f";

/** Most elements of a vector that stay in registers; longer ones are read again in pieces of PIECE. */
const MOST = 64;
const PIECE = 16;

export const samples = (p: AttentionParams): number => p.batch.reduce((a, b) => a * b, 1);

/** The offset of a sample in a term, in WGSL. */
function offset(p: AttentionParams, { shape }: Term): string {
  let [below, stride] = [1, shape.at(-1)! * shape.at(-2)!];
  const parts: string[] = [];
  for (let axis = p.batch.length - 1; axis >= 0; axis--) {
    if (shape[axis] > 1) parts.push(`sample / ${below}u % ${p.batch[axis]}u * ${stride}u`);
    below *= p.batch[axis];
    stride *= shape[axis];
  }
  return parts.join(" + ") || "0u";
}

/** Bindings of the terms from number `first` on, and a function that makes a logit of a product. */
export function logits(p: AttentionParams, first: number): string {
  const { terms, causal, scale } = p;
  const at = ({ shape }: Term): string =>
    `${shape.at(-2)! > 1 ? `row * ${shape.at(-1)}u` : "0u"} + ${shape.at(-1)! > 1 ? "column" : "0u"}`;
  const own = terms.map((_, k) => `, base${k}: u32`).join("");
  return wgsl`${librarySource(["vg_exp", "vg_log"])}
${
    each(terms.length, (k) =>
      `@group(0) @binding(${first + k}) var<storage, read> term${k}: array<${terms[k].mask ? "u32" : "f32"}>;`)
  }

fn logit(product: f32, row: u32, column: u32, inside: bool${own}) -> f32 {
  var s = product * ${number(scale)};
${
    each(terms.length, (k) =>
      terms[k].mask
        ? `  s = select(${NOTHING}, s, term${k}[base${k} + ${at(terms[k])}] != 0u);`
        : `  s += term${k}[base${k} + ${at(terms[k])}];`)
  }
#if ${causal !== null}
  s = select(s, ${NOTHING}, i32(column) > i32(row) + ${causal ?? 0}i);
#endif
  return select(${NOTHING}, select(s, ${NOTHING}, s < ${NOTHING}), inside);
}
`;
}

/** A number in WGSL. */
export const number = (x: number): string => `${Number.isInteger(x) ? x.toFixed(1) : x}f`;

/** The statement that finds a sample's place in the terms, and the arguments for logit(). */
export const bases = (p: AttentionParams): string =>
  each(p.terms.length, (k) => `  let base${k} = ${offset(p, p.terms[k])};`);
export const baseNames = (p: AttentionParams): string => p.terms.map((_, k) => `, base${k}`).join("");

/** Places of workgroups: sample, chunk of the result's columns, and first of the own vectors. */
export interface Layout {
  readonly tile: Tile;
  /** Columns of the result that an invocation computes, and the number of such chunks. */
  readonly columns: number;
  readonly chunks: number;
  readonly workgroups: readonly [number, number, number];
  /** WGSL up to the numbers of the own vectors, `place{r}`, which repeat the last one beyond the end. */
  readonly opening: string;
  readonly enable: string;
}

/** Columns of a result in registers. */
const COLUMNS = 64;

/**
 * The layout for `length` own vectors of a sample and a result of `width` columns. An invocation owns two of up to
 * `twice` elements, which halves loads and broadcasts, or four on SwiftShader, which shares loads among fewer lanes.
 */
export function layout(
  p: AttentionParams,
  length: number,
  width: number,
  { share, rows, twice }: { share: number; rows: number; twice: number },
  target: Target,
): Layout {
  const chunks = ceilDiv(width, COLUMNS);
  const columns = ceilDiv(width, chunks);
  const total = samples(p) * chunks;
  const wide = Math.max(p.features, p.values) > twice;
  let size = 64;
  // Smaller workgroups, so that few vectors still occupy all threads.
  while (target.software && size > 8 && total * ceilDiv(length, size) < 8) size /= 2;
  const most = share === 4 && length >= 4 * size ? 4 : 2;
  const own = target.software && !wide && length > size ? most : 1;
  const tile: Tile = { own, rows, size, share };
  const blocks = ceilDiv(length, own * size);
  const grid = foldGrid(total * blocks, target);
  const opening = `@compute @workgroup_size(${size})
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(local_invocation_index) local: u32${
    share > 1 ? ", @builtin(subgroup_invocation_id) lane: u32" : ""
  }) {
  let block = ${grid.index};
  if (block >= ${total * blocks}u) {
    return;
  }
  let begin = block % ${blocks}u * ${own * size}u;
  let chunk = block / ${blocks}u % ${chunks}u * ${columns}u;
  let sample = block / ${blocks * chunks}u;
  // Vectors beyond the end repeat the last one and are not stored: every lane must reach the broadcasts.
${each(own, (r) => `  let place${r} = min(begin + local + ${r * size}u, ${length - 1}u);`)}
${bases(p)}`;
  return { tile, columns, chunks, workgroups: grid.workgroups, opening, enable: share > 1 ? "enable subgroups;" : "" };
}

/** How many vectors an invocation owns, and how many rows it takes at once. */
export interface Tile {
  readonly own: number;
  readonly rows: number;
  readonly size: number;
  /** Lanes that share loads; 1: each loads for itself. */
  readonly share: number;
}

/** Rows of a buffer that all lanes read, `stride` apart (default: their width), from `{name}_base` on. */
export class Rows {
  readonly #name: string;
  readonly #width: number;
  readonly #length: number;
  readonly #tile: Tile;
  readonly #buffer: string;
  readonly #stride: number;

  constructor(
    name: string,
    width: number,
    length: number,
    tile: Tile,
    { buffer = name, stride = width }: { buffer?: string; stride?: number } = {},
  ) {
    this.#name = name;
    this.#width = width;
    this.#length = length;
    this.#tile = tile;
    this.#buffer = buffer;
    this.#stride = stride;
  }

  /** Statements that load `count` columns from `from` on of the rows after `first`; they stay within the row. */
  load(from: string, count: number, indent: string): string {
    const { rows, share } = this.#tile;
    const name = this.#name;
    const loads = share > 1 ? ceilDiv(count, share) : count;
    const column = (v: number): string =>
      `min(${from} + ${share > 1 ? `${v * share}u + lane % ${share}u` : `${v}u`}, ${this.#width - 1}u)`;
    return each(
      rows,
      (j) =>
        `${indent}let ${name}_at${j} = ${name}_base + min(first + ${j}u, ${this.#length - 1}u) * ${this.#stride}u;
${each(loads, (v) => `${indent}let ${name}${j}_${v} = ${this.#buffer}[${name}_at${j} + ${column(v)}];`)}`,
    );
  }

  /** Column c, counted from the first that was loaded, of row j. */
  value(j: number, c: number): string {
    const { share } = this.#tile;
    return share > 1
      ? `subgroupBroadcast(${this.#name}${j}_${Math.floor(c / share)}, ${c % share}u)`
      : `${this.#name}${j}_${c}`;
  }
}

/** A weight, computed again from a logit and the logarithm of the sum. */
export const weight = (l: string, log: string): string => `select(vg_exp(${l} - ${log}), 0f, ${l} == ${NOTHING})`;

/** Inputs of the gradients: cotangent [..., queries, values + 1], [..., queries, 2] of log sums and d; then terms. */
const GIVEN = ["query", "key", "value", "slope", "known"];

/** Bindings of a gradient without those it does not read, which a layout must not have, and their inputs. */
export function gradientBindings(p: AttentionParams, unread?: string): { text: () => string; reads: Slot[] } {
  const names = GIVEN.filter((name) => name !== unread);
  const { length } = names;
  return {
    text: () =>
      `${each(length, (k) => `@group(0) @binding(${k}) var<storage, read> ${names[k]}: array<f32>;`)}
@group(0) @binding(${length + p.terms.length}) var<storage, read_write> y: array<f32>;
${logits(p, length)}`,
    reads: [...names.map((name) => GIVEN.indexOf(name)), ...p.terms.map((_, k) => GIVEN.length + k)].map((input) => ({
      input,
    })),
  };
}

/** Whether vectors of this width stay in registers. */
export const stays = (width: number): boolean => width <= MOST;

/** Loads an invocation's own vectors into registers `name{r}_{c}`, if they fit. */
export function ownVectors(name: string, width: number, tile: Tile): string {
  if (!stays(width)) return "";
  return each(tile.own, (r) => each(width, (c) => `  let ${name}${r}_${c} = ${name}[${name}_own${r} + ${c}u];`));
}

/**
 * Statements that add the inner products of own vectors with rows to variables `sum{j}_{r}`. Vectors in registers meet
 * rows that are loaded already; others are read in pieces.
 */
export function products(sum: string, own: string, rows: Rows, width: number, tile: Tile, indent: string): string {
  const { own: count, rows: length } = tile;
  const both = (text: (j: number, r: number) => string): string => each(length, (j) => each(count, (r) => text(j, r)));
  const start = both((j, r) => `${indent}var ${sum}${j}_${r} = 0f;`);
  if (stays(width)) {
    const terms = each(width, (c) =>
      each(length, (j) =>
        [
          `${indent}let ${sum}_v${j}_${c} = ${rows.value(j, c)};`,
          ...Array.from(
            { length: count },
            (_, r) => `${indent}${sum}${j}_${r} += ${own}${r}_${c} * ${sum}_v${j}_${c};`,
          ),
        ].join("\n")));
    return `${start}\n${rows.load("0u", width, indent)}\n${terms}`;
  }
  return `${start}
${indent}for (var piece = 0u; piece < ${width}u; piece += ${PIECE}u) {
${rows.load("piece", PIECE, `${indent}  `)}
${
    each(PIECE, (c) => {
      const mine = each(count, (r) =>
        `${indent}  let own${r}_${c} = select(0f, ${own}[${own}_own${r} + min(piece + ${c}u, ${width - 1}u)], ` +
        `piece + ${c}u < ${width}u);`);
      const sums = each(length, (j) =>
        [
          `${indent}  let v${j}_${c} = ${rows.value(j, c)};`,
          ...Array.from({ length: count }, (_, r) =>
            `${indent}  ${sum}${j}_${r} += own${r}_${c} * v${j}_${c};`),
        ].join("\n"));
      return `${mine}\n${sums}`;
    })
  }
${indent}}`;
}

/** Elements of what a gradient reads: query, key, value, the cotangents, two numbers of each query, the terms. */
export function gradientInputs(p: AttentionParams): number[] {
  const { queries, keys, features, values, terms } = p;
  const n = samples(p);
  return [
    n * queries * features,
    n * keys * features,
    n * keys * values,
    n * queries * (values + 1),
    n * queries * 2,
    ...terms.map(({ shape }) => shape.reduce((a, b) => a * b, 1)),
  ];
}
