/** Sorts points by cell with a stable radix sort, so that points of one cell stay in index order. */
import { wgsl } from "wgsl-preprocessor/wgsl-preprocessor.js";
import { fold } from "../map.wgsl.ts";
import { type Dispatch, type Lowered, type Slot, type Target, widestGroup } from "../types.ts";

const WORKGROUP = 64;
const DIGIT = 4;
const BUCKETS = 2 ** DIGIT;

/**
 * Reads the cells [samples, points] i32 of an image of `voxels`. Writes i32: the points sorted by cell, then for every
 * voxel of every sample the start of its points, then the end.
 */
export function lowerSortCells(samples: number, points: number, voxels: number, target: Target): Lowered {
  const count = samples * points;
  const passes = Math.max(1, Math.ceil(Math.log2(Math.max(2, samples * voxels)) / DIGIT));
  const chunk = Math.max(target.software ? 256 : 64, Math.ceil(count / 65536));
  const chunks = Math.ceil(count / chunk);
  const [table, offsets] = [{ temp: 4 }, { temp: 5 }];
  const side = (k: number): [Slot, Slot] => [{ temp: 2 * (k % 2) }, { temp: 2 * (k % 2) + 1 }];
  const dispatches: Dispatch[] = [];
  const add = (name: string, items: number, reads: readonly Slot[], writes: readonly Slot[], body: string): void => {
    dispatches.push(step(`grid_sample.${name}`, items, reads, writes, body, target));
  };
  add(
    "keys",
    count,
    [{ input: 0 }],
    side(0),
    `b1[i] = i / ${points}u * ${voxels}u + u32(clamp(bitcast<i32>(b0[i]), 0, ${voxels - 1}));
  b2[i] = i;`,
  );
  const each = `for (var k = i * ${chunk}u; k < min(i * ${chunk}u + ${chunk}u, ${count}u); k++)`;
  for (let pass = 0; pass < passes; pass++) {
    const [from, to] = [side(pass), side(pass + 1)];
    add(
      "count",
      chunks,
      [from[0]],
      [table],
      `var counts: array<u32, ${BUCKETS}>;
  ${each} { counts[b0[k] & ${BUCKETS - 1}u]++; }
  for (var d = 0u; d < ${BUCKETS}u; d++) { b1[d * ${chunks}u + i] = counts[d]; }`,
    );
    dispatches.push(scan(BUCKETS * chunks, table, offsets, widestGroup(target)));
    // Keys are rotated by a digit in every pass, so that all passes read the lowest digit and share their pipelines.
    add(
      "move",
      chunks,
      [...from, offsets],
      to,
      `var next: array<u32, ${BUCKETS}>;
  for (var d = 0u; d < ${BUCKETS}u; d++) { next[d] = b2[d * ${chunks}u + i]; }
  ${each} {
    let key = b0[k];
    let at = next[key & ${BUCKETS - 1}u];
    next[key & ${BUCKETS - 1}u] = at + 1u;
    b3[at] = (key >> ${DIGIT}u) | (key << ${32 - DIGIT}u);
    b4[at] = b1[k];
  }`,
    );
  }
  const [keys, order] = side(passes);
  const turned = (passes * DIGIT) % 32;
  const cell = (k: string): string =>
    turned === 0 ? `b0[${k}]` : `((b0[${k}] << ${turned}u) | (b0[${k}] >> ${32 - turned}u))`;
  const bins = samples * voxels;
  // select() would read out of bounds.
  add(
    "order",
    count + 2 * bins,
    [order],
    [{ output: 0 }],
    `if (i < ${count}u) { b1[i] = b0[i]; } else { b1[i] = 0u; }`,
  );
  add(
    "bounds",
    count,
    [keys],
    [{ output: 0 }],
    `let cell = ${cell("i")};
  if ((i == 0u) || (${cell("max(i, 1u) - 1u")} != cell)) { b1[${count}u + cell] = i; }
  if ((i == ${count - 1}u) || (${cell(`min(i + 1u, ${count - 1}u)`)} != cell)) { b1[${
      count + bins
    }u + cell] = i + 1u; }`,
  );
  const bytes = 4 * count;
  return { temps: [bytes, bytes, bytes, bytes, 4 * BUCKETS * chunks, 4 * BUCKETS * chunks], dispatches };
}

/** A kernel with one invocation per item `i`, buffers b0, b1, ... of u32, or of `types`. */
export function step(
  name: string,
  items: number,
  reads: readonly Slot[],
  writes: readonly Slot[],
  body: string,
  target: Target,
  types: readonly string[] = [],
  library = "",
): Dispatch {
  const { workgroups, row } = fold(items, WORKGROUP, target);
  const buffers = [...reads, ...writes].map(
    (_, k) =>
      `@group(0) @binding(${k}) var<storage, ${k < reads.length ? "read" : "read_write"}> b${k}: array<${
        types[k] ?? "u32"
      }>;`,
  );
  const source = (): string =>
    wgsl`
${buffers.join("\n")}
${library}
@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x + id.y * ${row}u;
  if (i >= ${items}u) {
    return;
  }
  ${body}
}
`;
  return { kernel: { name, source, workgroups }, reads, writes };
}

/** Exclusive prefix sums by one workgroup: a table is far shorter than its input. */
function scan(count: number, from: Slot, to: Slot, lanes: number): Dispatch {
  const each = Math.ceil(count / lanes);
  const source = (): string =>
    wgsl`
@group(0) @binding(0) var<storage, read> table: array<u32>;
@group(0) @binding(1) var<storage, read_write> offsets: array<u32>;
var<workgroup> sums: array<u32, ${lanes}>;

@compute @workgroup_size(${lanes})
fn main(@builtin(local_invocation_index) lane: u32) {
  let first = lane * ${each}u;
  let last = min(first + ${each}u, ${count}u);
  var own = 0u;
  for (var k = first; k < last; k++) { own += table[k]; }
  sums[lane] = own;
  for (var reach = 1u; reach < ${lanes}u; reach *= 2u) {
    workgroupBarrier();
    var before = 0u;
    if (lane >= reach) { before = sums[lane - reach]; }
    workgroupBarrier();
    sums[lane] += before;
  }
  var total = sums[lane] - own;
  for (var k = first; k < last; k++) {
    offsets[k] = total;
    total += table[k];
  }
}
`;
  return { kernel: { name: "grid_sample.scan", source, workgroups: [1, 1, 1] }, reads: [from], writes: [to] };
}
