/**
 * Matrix product. On a CPU adapter a load costs one scalar load and one bounds check per lane, about twenty times a
 * multiply-add. There all lanes of a subgroup compute the same rows, so each lane loads one of A's values and
 * subgroupBroadcast shares it. A GPU keeps tiles of both factors in workgroup memory.
 */
import { wgsl } from "wgsl-preprocessor/wgsl-preprocessor.js";
import { ceilDiv, each, foldGrid, pairs, pick, softwareShare } from "./grid.ts";
import { type Sizes, sizesOf } from "./sizes.ts";
import { fold } from "./map.wgsl.ts";
import type { Kernel, Lowered, Target, Variant } from "./types.ts";
import { bucket, selectVariant } from "./variants.ts";

/** y [batch, rows, columns] = A [batch, rows, inner] B [batch, inner, columns]; factors may be stored transposed. */
export interface MatmulParams {
  readonly batch: number;
  readonly rows: number;
  readonly inner: number;
  readonly columns: number;
  readonly transposeA: boolean;
  readonly transposeB: boolean;
}

/** Terms per register before it is added to the total, so that long sums stay accurate. */
export const BLOCK = 64;

const bindings = (a: string, b: string, sizes: Sizes): string =>
  `@group(0) @binding(0) var<storage, read> a: array<${a}>;
@group(0) @binding(1) var<storage, read> b: array<${b}>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
${sizes.declaration(3)}`;

/** Offsets of element (row, k) of A and element (k, column) of B in their matrices. */
const offsetA = (p: MatmulParams, row: string, k: string): string =>
  p.transposeA ? `${k} * rows + ${row}` : `${row} * inner + ${k}`;
const offsetB = (p: MatmulParams, k: string, column: string): string =>
  p.transposeB ? `${column} * inner + ${k}` : `${k} * columns + ${column}`;

const lowered = (p: MatmulParams, sizes: Sizes, kernel: Kernel): Lowered => ({
  temps: [],
  dispatches: [
    {
      kernel: { ...kernel, sizes: sizes.values, flops: 2 * p.batch * p.rows * p.inner * p.columns },
      reads: [{ input: 0 }, { input: 1 }],
      writes: [{ output: 0 }],
    },
  ],
});

/** One invocation computes a tile of the result in registers. */
const tiled = (
  name: string,
  tm: number,
  tn: number,
  guard: Variant<MatmulParams>["guard"],
): Variant<MatmulParams> => ({
  name,
  guard,
  lower(p, target) {
    const { batch, rows, inner, columns } = p;
    const size = 64;
    const [tilesM, tilesN] = [ceilDiv(rows, tm), ceilDiv(columns, tn)];
    const count = batch * tilesM * tilesN;
    const sizes = sizesOf({ count, tilesM, tilesN, rows, inner, columns });
    const { workgroups, row } = fold(count, size, target);
    // Rows and columns beyond the end repeat the last one and are not stored.
    const source = (): string =>
      wgsl`${bindings("f32", "f32", sizes)}

@compute @workgroup_size(${size})
fn main(@builtin(global_invocation_id) id: vec3u) {
${sizes.lets}
  let i = id.x + id.y * ${row}u;
  if (i >= count) {
    return;
  }
  let column = i % tilesN * ${tn}u;
  let first = i / tilesN % tilesM * ${tm}u;
  let sample = i / tilesN / tilesM;
  let atA = sample * rows * inner;
  let atB = sample * inner * columns;
${each(tm, (r) => `  let m${r} = min(first + ${r}u, rows - 1u);`)}
${each(tn, (c) => `  let n${c} = min(column + ${c}u, columns - 1u);`)}
${pairs(tm, tn, (r, c) => `  var total${r}_${c} = 0f;`)}
  for (var start = 0u; start < inner; start += ${BLOCK}u) {
${pairs(tm, tn, (r, c) => `    var s${r}_${c} = 0f;`)}
    for (var k = start; k < min(start + ${BLOCK}u, inner); k++) {
${each(tm, (r) => `      let a${r} = a[atA + ${offsetA(p, `m${r}`, "k")}];`)}
${each(tn, (c) => `      let b${c} = b[atB + ${offsetB(p, "k", `n${c}`)}];`)}
${pairs(tm, tn, (r, c) => `      s${r}_${c} += a${r} * b${c};`)}
    }
${pairs(tm, tn, (r, c) => `    total${r}_${c} += s${r}_${c};`)}
  }
  let at = sample * rows * columns;
${
        pairs(
          tm,
          tn,
          (r, c) =>
            `  if ((first + ${r}u < rows) & (column + ${c}u < columns)) {
    y[at + m${r} * columns + n${c}] = total${r}_${c};
  }`,
        )
      }
}
`;
    return lowered(p, sizes, { name: `matmul.tile${tm}x${tn}`, source, workgroups });
  },
});
const tile = tiled("tile", 4, 4, () => true);

/** Up to this many multiply-adds a CPU adapter computes faster than it compiles anything but the simplest kernel. */
const LITTLE = 2 ** 19;
const plain = tiled(
  "plain",
  1,
  1,
  (p, target) => target.software && p.batch * p.rows * p.inner * p.columns <= LITTLE,
);

/**
 * One workgroup computes 16 rows and up to four times its width of columns; one invocation, all rows of up to 4
 * columns. Per term, 6 loads serve 64 multiply-adds.
 */
const tileShared: Variant<MatmulParams> = {
  name: "tile_shared",
  guard: (p, target) => {
    const share = softwareShare(target);
    return share !== undefined && p.rows >= share && p.columns >= share;
  },
  lower(p, target) {
    const { batch, rows, inner, columns } = p;
    const share = softwareShare(target)!;
    const tm = 16;
    const tn = Math.min(4, ceilDiv(columns, share));
    const size = Math.min(64, share * ceilDiv(columns, share * tn));
    const [blocksM, blocksN] = [ceilDiv(rows, tm), ceilDiv(columns, tn * size)];
    const count = batch * blocksM * blocksN;
    const sizes = sizesOf({ count, blocksM, blocksN, rows, inner, columns });
    const grid = foldGrid(count, target);
    // Columns of an invocation are a workgroup's width apart, so that neighboring lanes access adjacent elements.
    const source = (): string =>
      wgsl`enable subgroups;
${bindings("f32", "f32", sizes)}

@compute @workgroup_size(${size})
fn main(
  @builtin(workgroup_id) wid: vec3u,
  @builtin(local_invocation_index) local: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
${sizes.lets}
  let block = ${grid.index};
  if (block >= count) {
    return;
  }
  let column = block % blocksN * ${tn * size}u + local;
  let first = block / blocksN % blocksM * ${tm}u;
  let sample = block / blocksN / blocksM;
  let atA = sample * rows * inner;
  let atB = sample * inner * columns;
  // Rows and columns beyond the end repeat the last one and are not stored: every lane must reach the broadcasts.
${each(tm / share, (v) => `  let m${v} = min(first + lane % ${share}u + ${v * share}u, rows - 1u);`)}
${each(tn, (j) => `  let n${j} = min(column + ${j * size}u, columns - 1u);`)}
${pairs(tm, tn, (i, j) => `  var total${i}_${j} = 0f;`)}
  for (var start = 0u; start < inner; start += ${BLOCK}u) {
${pairs(tm, tn, (i, j) => `    var s${i}_${j} = 0f;`)}
    for (var k = start; k < min(start + ${BLOCK}u, inner); k++) {
${each(tn, (j) => `      let b${j} = b[atB + ${offsetB(p, "k", `n${j}`)}];`)}
${each(tm / share, (v) => `      let own${v} = a[atA + ${offsetA(p, `m${v}`, "k")}];`)}
${each(tm, (i) => `      let a${i} = subgroupBroadcast(own${Math.floor(i / share)}, ${i % share}u);`)}
${pairs(tm, tn, (i, j) => `      s${i}_${j} += a${i} * b${j};`)}
    }
${pairs(tm, tn, (i, j) => `    total${i}_${j} += s${i}_${j};`)}
  }
  for (var k = 0u; k < ${tn}u * min(${tm}u, rows - first); k++) {
    let own = column + k % ${tn}u * ${size}u;
    if (own < columns) {
      y[(sample * rows + first + k / ${tn}u) * columns + own] =
        ${pick(tm * tn, (k) => `total${Math.floor(k / tn)}_${k % tn}`, "k")};
    }
  }
}
`;
    return lowered(p, sizes, { name: `matmul.tile${tm}x${tn}_share${share}`, source, workgroups: grid.workgroups });
  },
};

/**
 * One workgroup of 16 x 16 computes 64 x 64 results, 4 x 4 per invocation; 16 terms of both factors are staged in
 * workgroup memory.
 */
const workgroup: Variant<MatmulParams> = {
  name: "workgroup",
  guard: (p, target) =>
    !target.software &&
    target.maxWorkgroupSize >= 256 &&
    target.maxWorkgroupStorage >= 8 * DEPTH * STRIDE &&
    p.rows >= 32 &&
    p.columns >= 32,
  lower(p, target) {
    const { batch, rows, inner, columns } = p;
    const [blocksM, blocksN] = [ceilDiv(rows, SIDE), ceilDiv(columns, SIDE)];
    const count = batch * blocksM * blocksN;
    const grid = foldGrid(count, target);
    const sizes = sizesOf({ count, blocksM, blocksN, rows, inner, columns });
    const a = tileLoad("a", !p.transposeA, rows, inner, "first", "atA", ["rows", "inner"]);
    const b = tileLoad("b", p.transposeB, columns, inner, "column", "atB", ["columns", "inner"]);
    const source = (): string =>
      wgsl`${bindings(a.type, b.type, sizes)}
var<workgroup> tileA: array<f32, ${DEPTH * STRIDE}>;
var<workgroup> tileB: array<f32, ${DEPTH * STRIDE}>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(local_invocation_index) local: u32) {
${sizes.lets}
  let block = ${grid.index};
  if (block >= count) {
    return;
  }
  let column = block % blocksN * ${SIDE}u;
  let first = block / blocksN % blocksM * ${SIDE}u;
  let sample = block / blocksN / blocksM;
  let atA = sample * rows * inner;
  let atB = sample * inner * columns;
  let m = local / 16u * 4u;
  let n = local % 16u * 4u;
${pairs(4, 4, (r, c) => `  var total${r}_${c} = 0f;`)}
  for (var start = 0u; start < inner; start += ${BLOCK}u) {
${pairs(4, 4, (r, c) => `    var s${r}_${c} = 0f;`)}
    for (var k = start; k < min(start + ${BLOCK}u, inner); k += ${DEPTH}u) {
      workgroupBarrier();
${a.text}
${b.text}
      workgroupBarrier();
      for (var t = 0u; t < ${DEPTH}u; t++) {
${
        each(
          4,
          (r) =>
            `        let a${r} = tileA[t * ${STRIDE}u + m + ${r}u];\n        let b${r} = tileB[t * ${STRIDE}u + n ` +
            `+ ${r}u];`,
        )
      }
${pairs(4, 4, (r, c) => `        s${r}_${c} += a${r} * b${c};`)}
      }
    }
${pairs(4, 4, (r, c) => `    total${r}_${c} += s${r}_${c};`)}
  }
  let at = (sample * rows + first + m) * columns + column + n;
${
        pairs(
          4,
          4,
          (r, c) =>
            `  if ((first + m + ${r}u < rows) & (column + n + ${c}u < columns)) {
    y[at + ${r}u * columns + ${c}u] = total${r}_${c};
  }`,
        )
      }
}
`;
    return lowered(p, sizes, { name: "matmul.workgroup64x64", source, workgroups: grid.workgroups });
  },
};

export const SIDE = 64;
export const DEPTH = 16;
/** Stride of a term in workgroup memory; slightly more than the tile's side, to avoid bank conflicts. */
export const STRIDE = 68;

/**
 * Every invocation copies 4 adjacent values of a factor to workgroup memory, with one load if rows are a multiple of
 * four. `along`: whether adjacent values are terms, else rows or columns `line`, of which there are `extent`. The last
 * parameter has the names of `extent` and `inner` in WGSL.
 */
export function tileLoad(
  name: "a" | "b",
  along: boolean,
  extent: number,
  inner: number,
  origin: string,
  base: string,
  [lines, terms]: readonly [string, string] = [`${extent}u`, `${inner}u`],
): { type: string; text: string } {
  const whole = (along ? inner : extent) % 4 === 0;
  const at = (line: string, term: string): string =>
    along ? `${base} + ${line} * ${terms} + ${term}` : `${base} + ${term} * ${lines} + ${line}`;
  const tile = `tile${name.toUpperCase()}`;
  const [line, term] = along ? ["local / 4u", "local % 4u * 4u"] : ["local % 16u * 4u", "local / 16u"];
  const step = (c: number): [string, string] => (along ? ["", ` + ${c}u`] : [` + ${c}u`, ""]);
  const value = (c: number): string => {
    if (whole) return `select(0f, four[${c}], inside)`;
    const [l, t] = step(c);
    const inside = `(${origin} + line${l} < ${lines}) & (k + term${t} < ${terms})`;
    const place = at(`min(${origin} + line${l}, ${lines} - 1u)`, `min(k + term${t}, ${terms} - 1u)`);
    return `select(0f, ${name}[${place}], ${inside})`;
  };
  // Loads outside the matrix are clamped to its end and replaced by zero.
  const four = `let inside = (${origin} + line < ${lines}) & (k + term < ${terms});
        let four = ${name}[(${
    at(`min(${origin} + line, ${lines} - ${along ? 1 : 4}u)`, `min(k + term, ${terms} - ${along ? 4 : 1}u)`)
  }) / 4u];`;
  const text = `      {
        let line = ${line};
        let term = ${term};
        ${whole ? four : ""}
${each(4, (c) => `        ${tile}[(term${step(c)[1]}) * ${STRIDE}u + line${step(c)[0]}] = ${value(c)};`)}
      }`;
  return { type: whole ? "vec4f" : "f32", text };
}

export const matmulVariants: readonly Variant<MatmulParams>[] = [plain, workgroup, tileShared, tile];

/** Reads A and B, writes y. Default variant: the tuned one or the first whose guard holds. */
export function lowerMatmul(p: MatmulParams, target: Target, variant?: string): Lowered {
  const { batch, rows, inner, columns, transposeA, transposeB } = p;
  const layout = transposeA ? " A transposed" : transposeB ? " B transposed" : "";
  const work = {
    family: "matmul",
    shape: () => `${[batch, rows, inner, columns].map(bucket).join(" ")}${layout}`,
    dtype: "f32" as const,
    inputs: [batch * rows * inner, batch * inner * columns],
    output: batch * rows * columns,
  };
  return selectVariant(work, matmulVariants, p, target, { variant });
}
