/**
 * Tiled matrix product through workgroup memory, shared by the convolution kernels for GPUs. A workgroup computes
 * `rows` x `columns` sums; per step its invocations copy `depth` columns of A and rows of B to workgroup memory and
 * accumulate their product. The kernel defines how tiles are filled and where sums are stored.
 */
import { pick } from "../grid.ts";
import type { ConvParams } from "./common.wgsl.ts";
import type { SubgroupMatrix, Target } from "../types.ts";

export interface GemmTile {
  readonly rows: number;
  readonly columns: number;
  readonly depth: number;
}

/** WGSL of the parts of such a kernel, which defines `local` (and `subgroup`, if `builtins` contains it). */
export interface GemmCore {
  readonly enable: string;
  readonly builtins: string;
  readonly memory: string;
  /** Declares the sums and the invocation's position in the tile. */
  readonly before: string;
  /**
   * Stages a vec4f of line k of A: rows 4 q to 4 q + 3; or of B: columns q, q + columns / 4, ... With that order
   * neighboring invocations load and store neighboring columns, and still read four at once.
   */
  stage(of: "a" | "b", k: string, q: string, value: string): string;
  /** Adds the product of the staged tiles to the sums. */
  readonly multiply: string;
  /** Visits all sums: `atColumn` may use `column`, `atElement` also `row` and `value`; both within the tile. */
  finish(atColumn: string, atElement: string): string;
  /**
   * The same, where `atElement` assigns a number to `seen`; then visits the rows with `row`, and `mean` and `square`
   * (the sum of squared deviations) of `seen` over the first `count` columns.
   */
  finishWithMoments(atColumn: string, atElement: string, atRow: string): string;
}

/** How a tile is computed. */
export interface GemmMethod {
  /** Whether it can visit rows with their moments. */
  readonly hasMoments: boolean;
  /** Prints its WGSL. */
  readonly core: () => GemmCore;
}

/** Invocations per workgroup: each has 32 sums, as 4 rows and 8 columns. */
export const gemmSize = (tile: GemmTile): number => (tile.rows * tile.columns) / 32;

const times = (count: number, text: (k: number) => string): string =>
  Array.from({ length: count }, (_, k) => text(k)).join("\n");

/** Registers: an invocation multiplies 4 rows and 8 columns that it reads as vectors. */
function registerCore({ rows, columns, depth }: GemmTile): GemmCore {
  // Padded by one vector per line: staging one column of many lines would otherwise cause bank conflicts.
  const strideA = rows / 4 + 1,
    strideB = columns / 4 + 1;
  const across = columns / 8;
  const unroll = 4;
  const sum = (r: number, half: string): string => `sum${r}${half}`;
  // Column `across + c columns / 8` is component c / 2 of p if c is even, of q if it is odd.
  const finish = (atColumn: string, atElement: string, before = "", after = ""): string =>
    `for (var c = 0u; c < 8u; c++) {
  let column = across + c * ${across}u;
  let values = ${
      pick(8, (c) => `vec4f(${[0, 1, 2, 3].map((r) => `${sum(r, c % 2 ? "q" : "p")}[${c >> 1}]`).join(", ")})`)
    };
  ${atColumn}
  ${before}
  for (var r = 0u; r < 4u; r++) {
    let row = down * 4u + r;
    let value = values[r];
    ${atElement}
  }
  ${after}
}`;
  return {
    enable: "",
    builtins: "",
    memory: `var<workgroup> tileA: array<vec4f, ${depth * strideA}>;
var<workgroup> tileB: array<vec4f, ${depth * strideB}>;`,
    before: `let across = local % ${across}u;
  let down = local / ${across}u;
  ${times(4, (r) => `var ${sum(r, "p")} = vec4f();\n  var ${sum(r, "q")} = vec4f();`)}`,
    stage: (of, k, q, value) =>
      `tile${of.toUpperCase()}[(${k}) * ${of === "a" ? strideA : strideB}u + ${q}] = ${value};`,
    multiply: `for (var k = 0u; k < ${depth}u; k += ${unroll}u) {
${
      times(
        unroll,
        (u) =>
          `{
  let a = tileA[(k + ${u}u) * ${strideA}u + down];
  let p = tileB[(k + ${u}u) * ${strideB}u + across];
  let q = tileB[(k + ${u}u) * ${strideB}u + across + ${across}u];
  ${times(4, (r) => `${sum(r, "p")} += a[${r}] * p; ${sum(r, "q")} += a[${r}] * q;`)}
}`,
      )
    }
}`,
    finish: (atColumn, atElement) => finish(atColumn, atElement),
    // Sums differences from a value of the same row to avoid cancellation; first relative to a value of the
    // invocation, then to one of the row's first invocation, which makes all sums comparable. The tiles' memory is
    // free by then.
    finishWithMoments: (atColumn, atElement, atRow) =>
      `var pivots = vec4f();
var sums = vec4f();
var squares = vec4f();
var own = 0f;
${
        finish(
          atColumn,
          `var seen = 0f;
    ${atElement}
    seenRows[r] = seen;`,
          "var seenRows = vec4f();",
          `if (c == 0u) { pivots = seenRows; }
  let inside = column < count;
  let d = select(vec4f(), seenRows - pivots, inside);
  sums += d;
  squares += d * d;
  own += select(0f, 1f, inside);`,
        )
      }
if (across == 0u) { tileA[down] = pivots; }
workgroupBarrier();
let origin = tileA[down];
let shift = pivots - origin;
squares += shift * (2f * sums + own * shift);
sums += own * shift;
tileB[local] = sums;
workgroupBarrier();
if (across == 0u) {
  for (var k = 1u; k < ${across}u; k++) { sums += tileB[local + k]; }
}
workgroupBarrier();
tileB[local] = squares;
workgroupBarrier();
if (across == 0u) {
  for (var k = 1u; k < ${across}u; k++) { squares += tileB[local + k]; }
  let means = sums / f32(count);
  let rests = squares - sums * means;
  for (var r = 0u; r < 4u; r++) {
    let row = down * 4u + r;
    let mean = origin[r] + means[r];
    let square = select(rests[r], 0f, rests[r] < 0f);
    ${atRow}
  }
}`,
  };
}

/** The f16 subgroup matrix shape with f32 sums to use; null if the tile cannot be composed of one. */
function matrixShape({ rows, columns, depth }: GemmTile, p: ConvParams, target: Target): SubgroupMatrix | null {
  const { subgroupMinSize: lanes = 0, subgroupMaxSize, subgroupMatrices = [] } = target;
  const enabled = ["chromium-experimental-subgroup-matrix", "subgroups", "shader-f16"];
  if (p.storage !== "f16" || !enabled.every((name) => target.features.has(name))) return null;
  // A subgroup computes 32 rows and as many columns as it has lanes, so the number of lanes must be known.
  if (lanes !== subgroupMaxSize || lanes < 8 || columns % lanes !== 0 || rows % 32 !== 0) return null;
  const fits = (m: SubgroupMatrix): boolean =>
    m.componentType === "f16" &&
    m.resultComponentType === "f32" &&
    32 % m.M === 0 &&
    lanes % m.N === 0 &&
    depth % m.K === 0;
  // The largest first.
  return [...subgroupMatrices].filter(fits).sort((a, b) => b.M * b.N * b.K - a.M * a.N * a.K)[0] ?? null;
}

/** Subgroup matrices: f16 products with f32 sums. Sums are stored through workgroup memory, for bounds checks. */
function matrixCore({ rows, columns, depth }: GemmTile, { M, N, K }: SubgroupMatrix, lanes: number): GemmCore {
  // Line strides that avoid bank conflicts but stay aligned.
  const strideA = rows + 8,
    strideB = columns + 8;
  const across = columns / lanes;
  const down = 32 / M,
    beside = lanes / N;
  const width = across * N;
  const size = gemmSize({ rows, columns, depth });
  const readers = size / rows;
  const columnOf = (c: number): string => `(strip / ${N}u * ${lanes}u + ${c * N}u + strip % ${N}u)`;
  const finish = (atColumn: string, atElement: string, after: (c: number) => string = () => ""): string =>
    times(
      beside,
      (c) =>
        `${c > 0 ? "workgroupBarrier();" : ""}
${
          times(
            down,
            (r) =>
              `subgroupMatrixStore<row_major>(&leaving, (down * 32u + ${
                r * M
              }u) * ${width}u + across * ${N}u, sum${r}_${c}, ${width}u);`,
          )
        }
workgroupBarrier();
for (var strip = local % ${width}u; strip < ${width}u; strip += ${size}u) {
  let column = ${columnOf(c)};
  ${atColumn}
  for (var row = local / ${width}u; row < ${rows}u; row += ${Math.max(1, size / width)}u) {
    let value = leaving[row * ${width}u + strip];
    ${atElement}
  }
}
${after(c)}`,
    );
  const each = (text: (r: number, c: number) => string): string => times(down, (r) => times(beside, (c) => text(r, c)));
  const stage = (tile: string, at: string, step: number, value: string): string =>
    `{ let at = ${at}; let values = vec4h(${value});\n${
      times(4, (c) => `${tile}[at + ${c * step}u] = values[${c}];`)
    } }`;
  return {
    enable: "enable chromium_experimental_subgroup_matrix;\nenable subgroups;",
    builtins: ", @builtin(subgroup_id) subgroup: u32",
    memory: `var<workgroup> tileA: array<f16, ${depth * strideA}>;
var<workgroup> tileB: array<f16, ${depth * strideB}>;
var<workgroup> leaving: array<f32, ${rows * width}>;`,
    before: `let across = subgroup % ${across}u;
  let down = subgroup / ${across}u;
  ${each((r, c) => `var sum${r}_${c}: subgroup_matrix_result<f32, ${N}, ${M}>;`)}`,
    stage: (of, k, q, value) =>
      of === "a"
        ? stage("tileA", `(${k}) * ${strideA}u + ${q} * 4u`, 1, value)
        : stage("tileB", `(${k}) * ${strideB}u + ${q}`, columns / 4, value),
    multiply: times(
      depth / K,
      (s) =>
        `{
${
          times(
            down,
            (r) =>
              `let a${r} = subgroupMatrixLoad<subgroup_matrix_left<f16, ${K}, ${M}>, col_major>(
  &tileA, ${s * K * strideA + r * M}u + down * 32u, ${strideA}u);`,
          )
        }
${
          times(
            beside,
            (c) =>
              `let b${c} = subgroupMatrixLoad<subgroup_matrix_right<f16, ${N}, ${K}>, row_major>(
  &tileB, ${s * K * strideB + c * N}u + across * ${lanes}u, ${strideB}u);`,
          )
        }
${each((r, c) => `sum${r}_${c} = subgroupMatrixMultiplyAccumulate(a${r}, b${c}, sum${r}_${c});`)}
}`,
    ),
    finish: (atColumn, atElement) => finish(atColumn, atElement),
    // `seen` is written back to the staging memory of the sums, and neighboring invocations share a row: as above,
    // sums of differences first from a value of the invocation, then from one of the row.
    finishWithMoments: (atColumn, atElement, atRow) =>
      `let reader = local % ${readers}u;
let row = local / ${readers}u;
var pivot = 0f;
var total = 0f;
var squares = 0f;
var own = 0f;
${
        finish(
          atColumn,
          `var seen = 0f;
    ${atElement}
    leaving[row * ${width}u + strip] = seen;`,
          (c) =>
            `workgroupBarrier();
for (var k = reader; k < ${width}u; k += ${readers}u) {
  // Rows start in the same memory bank.
  let strip = (k + row) % ${width}u;
  if (${columnOf(c)} < count) {
    let seen = leaving[row * ${width}u + strip];
    if (own == 0f) { pivot = seen; }
    let d = seen - pivot;
    total += d;
    squares += d * d;
    own += 1f;
  }
}`,
        )
      }
workgroupBarrier();
leaving[local] = pivot;
leaving[local + ${size}u] = total;
leaving[local + ${2 * size}u] = squares;
leaving[local + ${3 * size}u] = own;
workgroupBarrier();
if (reader == 0u) {
  for (var at = local + 1u; at < local + ${readers}u; at++) {
    if (own == 0f) { pivot = leaving[at]; }
    let shift = leaving[at] - pivot;
    let sum = leaving[at + ${size}u];
    let others = leaving[at + ${3 * size}u];
    squares += leaving[at + ${2 * size}u] + shift * (2f * sum + others * shift);
    total += sum + others * shift;
    own += others;
  }
  let mean = pivot + total / own;
  let rest = squares - total * (total / own);
  let square = select(rest, 0f, rest < 0f);
  ${atRow}
}`,
  };
}

/** Bytes of workgroup memory; `shape` for subgroup matrices. */
function gemmBytes({ rows, columns, depth }: GemmTile, shape: SubgroupMatrix | null, lanes: number): number {
  if (!shape) return depth * (rows + columns + 8) * 4;
  return depth * (rows + columns + 16) * 2 + ((rows * columns) / lanes) * shape.N * 4;
}

/**
 * How to compute a tile on a GPU: with subgroup matrices or registers; null if it does not fit next to `bytes` of other
 * memory.
 */
export function gemmMethod(
  tile: GemmTile,
  matrices: boolean,
  p: ConvParams,
  target: Target,
  bytes = 0,
): GemmMethod | null {
  if (gemmSize(tile) > target.maxWorkgroupSize) return null;
  const lanes = target.subgroupMinSize ?? 0;
  const shape = matrices ? matrixShape(tile, p, target) : null;
  if (matrices && !shape) return null;
  if (gemmBytes(tile, shape, lanes) + bytes > target.maxWorkgroupStorage) return null;
  if (!shape) return { hasMoments: true, core: () => registerCore(tile) };
  // The moments need four numbers of each invocation in the memory of the sums.
  const hasMoments = ((tile.rows * tile.columns) / lanes) * shape.N >= 4 * gemmSize(tile);
  return { hasMoments, core: () => matrixCore(tile, shape, lanes) };
}
