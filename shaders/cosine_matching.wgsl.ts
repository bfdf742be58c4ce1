/**
 * Matches pixels against prototypes in one pass, as attention with an online softmax (Milakov and Gimelshein, "Online
 * normalizer calculation for softmax", 2018). Prototypes are processed in blocks whose products with a pixel stay in
 * registers; only the running maximum logit, sum and weighted sum are carried between blocks. Products are computed as
 * in `matmul.wgsl.ts`, and the norm of a pixel along with them.
 */
import { wgsl } from "wgsl-preprocessor/wgsl-preprocessor.js";
import { ceilDiv, each, foldGrid, pairs, pick, softwareShare } from "./grid.ts";
import { librarySource } from "./library.ts";
import { BLOCK, DEPTH, SIDE, STRIDE, tileLoad } from "./matmul.wgsl.ts";
import type { Kernel, Lowered, Target, Variant } from "./types.ts";
import { bucket, selectVariant } from "./variants.ts";

/**
 * query [groups * samples, channels, pixels], prototypes [groups, prototypes, channels] of unit norm times a
 * temperature, used [groups, prototypes]. The similarity of a pixel q and a prototype p is s = p . q / max(|q|,
 * sqrt(floor)); its logit is s if the prototype is used, otherwise NOTHING.
 */
export interface CosineMatchingParams {
  readonly groups: number;
  readonly samples: number;
  readonly channels: number;
  readonly pixels: number;
  readonly prototypes: number;
  /** Minimum squared norm of a pixel. */
  readonly floor: number;
}

/** The logit of unused prototypes: far below any other, but finite, because differences of infinities would be NaN. */
export const NOTHING = -1e30;
/** Below all logits. */
const LOWEST = "-3e38f";

const BINDINGS = (prototypes: string, query: string): string =>
  `${librarySource(["vg_exp", "vg_rsqrt"])}
@group(0) @binding(0) var<storage, read> b: array<${query}>;
@group(0) @binding(1) var<storage, read> a: array<${prototypes}>;
@group(0) @binding(2) var<storage, read> used: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;`;

/** Rows of the result. */
export const ROWS = 4;

const lowered = (p: CosineMatchingParams, kernel: Kernel): Lowered => ({
  temps: [],
  dispatches: [
    {
      kernel: { ...kernel, flops: 2 * p.groups * p.samples * p.prototypes * p.channels * p.pixels },
      reads: [{ input: 0 }, { input: 1 }, { input: 2 }],
      writes: [{ output: 0 }],
    },
  ],
});

/** 1 / max(|q|, sqrt(floor)); NaN is kept. */
const reciprocal = (square: string, floor: number): string =>
  `vg_rsqrt(select(${square}, ${floor}f, ${square} < ${floor}f))`;
const logit = (likeness: string, flag: string): string => `select(${NOTHING}f, ${likeness}, ${flag})`;

/** One invocation: all prototypes, `rows` at a time, for `columns` pixels that are a workgroup's width apart. */
interface Tile {
  readonly rows: number;
  readonly columns: number;
  readonly size: number;
  /** Lanes that share loaded prototypes by subgroup broadcast; 1 if every lane loads its own. */
  readonly share: number;
}

function tileOf(p: CosineMatchingParams, target: Target, share: number): Tile {
  // Blocks of equal size: 65 prototypes are 5 blocks of 13.
  const rows = ceilDiv(p.prototypes, ceilDiv(p.prototypes, share > 1 ? 16 : 4));
  if (!target.software) return { rows, columns: 1, size: 64, share };
  let size = 64;
  // Smaller workgroups, so that small maps still occupy all threads.
  while (size > 8 && p.groups * p.samples * ceilDiv(p.pixels, 4 * size) < 8) size /= 2;
  return { rows, columns: Math.min(4, ceilDiv(p.pixels, size)), size, share };
}

function lowerTile(p: CosineMatchingParams, target: Target, share: number): Lowered {
  const { groups, samples, channels, pixels, prototypes, floor } = p;
  const { rows, columns, size } = tileOf(p, target, share);
  const blocks = ceilDiv(pixels, columns * size);
  const count = groups * samples * blocks;
  const grid = foldGrid(count, target);
  const own = ceilDiv(rows, share);
  const shared = share > 1;
  const of = (name: string, i: number): string =>
    shared ? `subgroupBroadcast(${name}${Math.floor(i / share)}, ${i % share}u)` : `${name}${i}`;
  // Exponentials are unrolled over four rows; unrolling all would take long to compile.
  const quad = Math.min(4, rows);
  const quads = ceilDiv(rows, quad);
  const last = (q: number, u: number): number => Math.min(q * quad + u, rows - 1);
  const source = (): string =>
    wgsl`
#if ${shared}
enable subgroups;
#endif
${BINDINGS("f32", "f32")}

@compute @workgroup_size(${size})
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(local_invocation_index) local: u32${
      shared ? ", @builtin(subgroup_invocation_id) lane: u32" : ""
    }) {
  let block = ${grid.index};
  if (block >= ${count}u) {
    return;
  }
  let column = block % ${blocks}u * ${columns * size}u + local;
  let sample = block / ${blocks}u;
  let group = sample / ${samples}u * ${prototypes}u;
  let atB = sample * ${channels * pixels}u;
  // Rows and columns beyond the end repeat the last one and are ignored: every lane must reach the broadcasts.
${each(columns, (j) => `  let n${j} = min(column + ${j * size}u, ${pixels - 1}u);`)}
${
      each(
        columns,
        (j) => `  var top${j} = ${LOWEST};\n  var sum${j} = 0f;\n  var value${j} = 0f;\n  var square${j} = 0f;`,
      )
    }
  for (var first = 0u; first < ${prototypes}u; first += ${rows}u) {
${
      each(
        own,
        (
          v,
        ) =>
          `    let row${v} = group + min(first + ${shared ? `lane % ${share}u + ` : ""}${v * share}u, ${
            prototypes - 1
          }u);
    let use${v} = used[row${v}];
    let m${v} = row${v} * ${channels}u;`,
      )
    }
${each(rows, (i) => `    let flag${i} = ${of("use", i)} != 0u;`)}
${each(columns, (j) => `    square${j} = 0f;`)}
${pairs(rows, columns, (i, j) => `    var total${i}_${j} = 0f;`)}
    for (var start = 0u; start < ${channels}u; start += ${BLOCK}u) {
${each(columns, (j) => `      var t${j} = 0f;`)}
${pairs(rows, columns, (i, j) => `      var s${i}_${j} = 0f;`)}
      for (var k = start; k < min(start + ${BLOCK}u, ${channels}u); k++) {
${each(columns, (j) => `        let b${j} = b[atB + k * ${pixels}u + n${j}];`)}
${each(own, (v) => `        let own${v} = a[m${v} + k];`)}
${each(rows, (i) => `        let a${i} = ${of("own", i)};`)}
${each(columns, (j) => `        t${j} += b${j} * b${j};`)}
${pairs(rows, columns, (i, j) => `        s${i}_${j} += a${i} * b${j};`)}
      }
${each(columns, (j) => `      square${j} += t${j};`)}
${pairs(rows, columns, (i, j) => `      total${i}_${j} += s${i}_${j};`)}
    }
${each(columns, (j) => `    let scale${j} = ${reciprocal(`square${j}`, floor)};\n    var next${j} = top${j};`)}
${
      pairs(
        rows,
        columns,
        (i, j) => `    total${i}_${j} *= scale${j};
    let l${i}_${j} = ${logit(`total${i}_${j}`, `flag${i}`)};
    next${j} = select(next${j}, l${i}_${j}, l${i}_${j} > next${j});`,
      )
    }
${
      each(
        columns,
        (j) =>
          `    let fade${j} = vg_exp(top${j} - next${j});
    top${j} = next${j};
    var mass${j} = 0f;
    var part${j} = 0f;`,
      )
    }
    let rows = min(${rows}u, ${prototypes}u - first);
    for (var c = 0u; c < ${quads}u; c++) {
${
      each(
        quad,
        (u) => `      let inside${u} = c * ${quad}u + ${u}u < rows;
      let open${u} = ${pick(quads, (q) => `flag${last(q, u)}`)};`,
      )
    }
${
      pairs(
        quad,
        columns,
        (u, j) =>
          `      let v${u}_${j} = ${pick(quads, (q) => `total${last(q, u)}_${j}`)};
      let e${u}_${j} = select(0f, vg_exp(${logit(`v${u}_${j}`, `open${u}`)} - top${j}), inside${u});
      mass${j} += e${u}_${j};
      part${j} += e${u}_${j} * v${u}_${j};`,
      )
    }
    }
${
      each(
        columns,
        (j) => `    sum${j} = sum${j} * fade${j} + mass${j};\n    value${j} = value${j} * fade${j} + part${j};`,
      )
    }
  }
  let at = sample * ${ROWS * pixels}u;
${
      each(
        columns,
        (j) =>
          `  if (column + ${j * size}u < ${pixels}u) {
    y[at + n${j}] = value${j} / sum${j};
    y[at + n${j} + ${pixels}u] = top${j};
    y[at + n${j} + ${2 * pixels}u] = sum${j};
    y[at + n${j} + ${3 * pixels}u] = square${j};
  }`,
      )
    }
}
`;
  const name = `cosine_matching.tile${rows}x${columns}${shared ? `_share${share}` : ""}`;
  return lowered(p, { name, source, workgroups: grid.workgroups });
}

const tile: Variant<CosineMatchingParams> = {
  name: "tile",
  guard: () => true,
  lower: (p, target) => lowerTile(p, target, 1),
};

/** Lanes of a subgroup use the same prototypes: each loads a few and broadcasts them. */
const tileShared: Variant<CosineMatchingParams> = {
  name: "tile_shared",
  guard: (p, target) => p.prototypes >= (softwareShare(target) ?? Infinity),
  lower: (p, target) => lowerTile(p, target, softwareShare(target)!),
};

/** One workgroup of 16 x 16: 64 pixels and all prototypes, 64 at a time; an invocation computes 4 x 4. */
const workgroup: Variant<CosineMatchingParams> = {
  name: "workgroup",
  guard: (p, target) =>
    !target.software &&
    target.maxWorkgroupSize >= 256 &&
    target.maxWorkgroupStorage >= 4 * (2 * DEPTH * STRIDE + 16 * SIDE) &&
    p.prototypes >= 32 &&
    p.pixels >= 32,
  lower(p, target) {
    const { groups, samples, channels, pixels, prototypes, floor } = p;
    const blocks = ceilDiv(pixels, SIDE);
    const count = groups * samples * blocks;
    const grid = foldGrid(count, target);
    const a = tileLoad("a", true, prototypes, channels, "first", "atA");
    const b = tileLoad("b", false, pixels, channels, "column", "atB");
    // Finally the tiles hold the partial results of the 16 invocations that share a pixel.
    const source = (): string =>
      wgsl`${BINDINGS(a.type, b.type)}
var<workgroup> tileA: array<f32, ${DEPTH * STRIDE}>;
var<workgroup> tileB: array<f32, ${DEPTH * STRIDE}>;
var<workgroup> values: array<f32, ${16 * SIDE}>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(local_invocation_index) local: u32) {
  let block = ${grid.index};
  if (block >= ${count}u) {
    return;
  }
  let column = block % ${blocks}u * ${SIDE}u;
  let sample = block / ${blocks}u;
  let group = sample / ${samples}u * ${prototypes}u;
  let atA = group * ${channels}u;
  let atB = sample * ${channels * pixels}u;
  let m = local / 16u * 4u;
  let n = local % 16u * 4u;
${each(4, (j) => `  var top${j} = ${LOWEST};\n  var sum${j} = 0f;\n  var value${j} = 0f;\n  var square${j} = 0f;`)}
  for (var first = 0u; first < ${prototypes}u; first += ${SIDE}u) {
${
        each(
          4,
          (i) =>
            `    let inside${i} = first + m + ${i}u < ${prototypes}u;
    let flag${i} = used[group + min(first + m + ${i}u, ${prototypes - 1}u)] != 0u;`,
        )
      }
${each(4, (j) => `    square${j} = 0f;`)}
${pairs(4, 4, (i, j) => `    var total${i}_${j} = 0f;`)}
    for (var start = 0u; start < ${channels}u; start += ${BLOCK}u) {
${each(4, (j) => `      var t${j} = 0f;`)}
${pairs(4, 4, (i, j) => `      var s${i}_${j} = 0f;`)}
      for (var k = start; k < min(start + ${BLOCK}u, ${channels}u); k += ${DEPTH}u) {
        workgroupBarrier();
${a.text}
${b.text}
        workgroupBarrier();
        for (var t = 0u; t < ${DEPTH}u; t++) {
${
        each(
          4,
          (i) =>
            `          let a${i} = tileA[t * ${STRIDE}u + m + ${i}u];\n          let b${i} = tileB[t * ${STRIDE}u ` +
            `+ n + ${i}u];`,
        )
      }
${each(4, (j) => `          t${j} += b${j} * b${j};`)}
${pairs(4, 4, (i, j) => `          s${i}_${j} += a${i} * b${j};`)}
        }
      }
${each(4, (j) => `      square${j} += t${j};`)}
${pairs(4, 4, (i, j) => `      total${i}_${j} += s${i}_${j};`)}
    }
${each(4, (j) => `    let scale${j} = ${reciprocal(`square${j}`, floor)};\n    var next${j} = top${j};`)}
${
        pairs(
          4,
          4,
          (i, j) =>
            `    total${i}_${j} *= scale${j};
    let l${i}_${j} = ${logit(`total${i}_${j}`, `flag${i}`)};
    next${j} = select(next${j}, l${i}_${j}, inside${i} & (l${i}_${j} > next${j}));`,
        )
      }
${
        each(
          4,
          (j) =>
            `    let fade${j} = vg_exp(top${j} - next${j});\n    sum${j} *= fade${j};\n    value${j} *= ` +
            `fade${j};\n    top${j} = next${j};`,
        )
      }
${
        pairs(
          4,
          4,
          (i, j) =>
            `    let e${i}_${j} = select(0f, vg_exp(l${i}_${j} - next${j}), inside${i});
    sum${j} += e${i}_${j};
    value${j} += e${i}_${j} * total${i}_${j};`,
        )
      }
  }
  let at = sample * ${ROWS * pixels}u + column;
  workgroupBarrier();
${
        each(
          4,
          (j) =>
            `  tileA[local / 16u * ${SIDE}u + n + ${j}u] = top${j};
  tileB[local / 16u * ${SIDE}u + n + ${j}u] = sum${j};
  values[local / 16u * ${SIDE}u + n + ${j}u] = value${j};
  if ((local < 16u) & (column + n + ${j}u < ${pixels}u)) {
    y[at + n + ${j}u + ${3 * pixels}u] = square${j};
  }`,
        )
      }
  workgroupBarrier();
  if ((local < ${SIDE}u) & (column + local < ${pixels}u)) {
    var top = tileA[local];
    for (var k = 1u; k < 16u; k++) {
      let other = tileA[k * ${SIDE}u + local];
      top = select(top, other, other > top);
    }
    var sum = 0f;
    var value = 0f;
    for (var k = 0u; k < 16u; k++) {
      let fade = vg_exp(tileA[k * ${SIDE}u + local] - top);
      sum += fade * tileB[k * ${SIDE}u + local];
      value += fade * values[k * ${SIDE}u + local];
    }
    y[at + local] = value / sum;
    y[at + local + ${pixels}u] = top;
    y[at + local + ${2 * pixels}u] = sum;
  }
}
`;
    return lowered(p, { name: "cosine_matching.workgroup64x64", source, workgroups: grid.workgroups });
  },
};

export const cosineMatchingVariants: readonly Variant<CosineMatchingParams>[] = [workgroup, tileShared, tile];

/**
 * Reads query, prototypes and used, writes [groups * samples, 4, pixels]: the mean of the similarities weighted by the
 * softmax of their logits, the largest logit, the sum of exp(logit - largest), and the squared norm of the pixel.
 */
export function lowerCosineMatching(p: CosineMatchingParams, target: Target, variant?: string): Lowered {
  const { groups, samples, channels, pixels, prototypes } = p;
  const work = {
    family: "cosine matching",
    shape: () => [groups * samples, prototypes, channels, pixels].map(bucket).join(" "),
    dtype: "f32" as const,
    inputs: [groups * samples * channels * pixels, groups * prototypes * channels, groups * prototypes],
    output: groups * samples * ROWS * pixels,
  };
  return selectVariant(work, cosineMatchingVariants, p, target, { variant });
}
