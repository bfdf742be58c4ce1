/** Matrix product: one invocation, a tile of `TILE` x `TILE` of the result, in registers. */
import { wgsl } from "wgsl-preprocessor/wgsl-preprocessor.js";
import { fold } from "./map.wgsl.ts";
import type { Lowered, Target } from "./types.ts";

/** y [batch, rows, columns] = A [batch, rows, inner] B [batch, inner, columns]; a transposed factor is stored so. */
export interface MatmulParams {
  readonly batch: number;
  readonly rows: number;
  readonly inner: number;
  readonly columns: number;
  readonly transposeA: boolean;
  readonly transposeB: boolean;
}

const TILE = 4;
const WORKGROUP = 64;
/** Terms that a register takes before it is added to the total, so that long sums stay accurate. */
const BLOCK = 64;

const each = (count: number, text: (k: number) => string): string =>
  Array.from({ length: count }, (_, k) => text(k)).join("\n");

/** Reads A and B, writes y. */
export function lowerMatmul(p: MatmulParams, target: Target): Lowered {
  const { batch, rows, inner, columns } = p;
  const [tilesM, tilesN] = [Math.ceil(rows / TILE), Math.ceil(columns / TILE)];
  const count = batch * tilesM * tilesN;
  const { workgroups, row } = fold(count, WORKGROUP, target);
  // Rows and columns beyond the end repeat the last one and are not stored.
  const a = (i: number): string => (p.transposeA ? `k * ${rows}u + m${i}` : `m${i} * ${inner}u + k`);
  const b = (j: number): string => (p.transposeB ? `n${j} * ${inner}u + k` : `k * ${columns}u + n${j}`);
  const pairs = (text: (i: number, j: number) => string): string => each(TILE, (i) => each(TILE, (j) => text(i, j)));
  const source = wgsl`
@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x + id.y * ${row}u;
  if (i >= ${count}u) {
    return;
  }
  let column = i % ${tilesN}u * ${TILE}u;
  let first = i / ${tilesN}u % ${tilesM}u * ${TILE}u;
  let sample = i / ${tilesN * tilesM}u;
  let atA = sample * ${rows * inner}u;
  let atB = sample * ${inner * columns}u;
${each(TILE, (t) => `  let m${t} = min(first + ${t}u, ${rows - 1}u);\n  let n${t} = min(column + ${t}u, ${columns - 1}u);`)}
${pairs((r, c) => `  var total${r}_${c} = 0f;`)}
  for (var start = 0u; start < ${inner}u; start += ${BLOCK}u) {
${pairs((r, c) => `    var s${r}_${c} = 0f;`)}
    for (var k = start; k < min(start + ${BLOCK}u, ${inner}u); k++) {
${each(TILE, (t) => `      let a${t} = a[atA + ${a(t)}];\n      let b${t} = b[atB + ${b(t)}];`)}
${pairs((r, c) => `      s${r}_${c} += a${r} * b${c};`)}
    }
${pairs((r, c) => `    total${r}_${c} += s${r}_${c};`)}
  }
  let at = sample * ${rows * columns}u;
${pairs(
  (r, c) => `  if ((first + ${r}u < ${rows}u) & (column + ${c}u < ${columns}u)) {
    y[at + m${r} * ${columns}u + n${c}] = total${r}_${c};
  }`,
)}
}
`;
  const flops = 2 * batch * rows * inner * columns;
  return {
    temps: [],
    dispatches: [
      {
        kernel: { name: "matmul.tile4x4", source, workgroups, flops },
        reads: [{ input: 0 }, { input: 1 }],
        writes: [{ output: 0 }],
      },
    ],
  };
}
