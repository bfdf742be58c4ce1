/**
 * The stable order of lines of keys: short lines by counting what comes before each key, others by a radix sort whose
 * passes count digits by chunks of a line.
 */
import { wgsl } from "wgsl-preprocessor/wgsl-preprocessor.js";
import { foldGrid } from "../grid.ts";
import { type Dispatch, type Lowered, type Slot, type Target, widestGroup } from "../types.ts";
import { step } from "./step.wgsl.ts";

export interface SortParams {
  readonly lines: number;
  readonly length: number;
  /** Low bits of the keys that differ. */
  readonly bits: number;
  /** WGSL of `key(bits: u32) -> u32`, the key of a value of the input. */
  readonly key: string;
  readonly from: Slot;
  readonly to: Slot;
  /** Used in kernels' names. */
  readonly name: string;
  /** Index of the first temporary; default: 0. */
  readonly firstTemp?: number;
}

/** Whether lines are sorted by counting, in one kernel that compares all pairs; on a CPU only if these are few. */
const isShort = ({ lines, length }: SortParams, target: Target): boolean =>
  length <= (target.software && lines * length * length > 2 ** 19 ? 16 : 64);

const DIGIT = 4;
const BUCKETS = 2 ** DIGIT;

/** Reads values [lines, length] of 32 bits; writes the positions within each line (u32) in the order of their keys. */
export function lowerSort(p: SortParams, target: Target): Lowered {
  const { lines, length, name } = p;
  if (!isShort(p, target)) return radix(p, target);
  const body = `let line = i / ${length}u;
  let place = i % ${length}u;
  let own = key(b0[i]);
  var before = 0u;
  for (var k = 0u; k < ${length}u; k++) {
    let other = key(b0[line * ${length}u + k]);
    before += select(0u, 1u, (other < own) | ((other == own) & (k < place)));
  }
  b1[line * ${length}u + before] = place;`;
  return {
    temps: [],
    dispatches: [step(`${name}.short`, lines * length, [p.from], [p.to], body, target, [], p.key)],
  };
}

function radix({ lines, length, bits, key, from, to, name, firstTemp = 0 }: SortParams, target: Target): Lowered {
  const passes = Math.max(1, Math.ceil(bits / DIGIT));
  // Longer chunks shorten the table of counts, which one workgroup sums for each line.
  const chunk = Math.max(target.software ? 256 : 64, Math.ceil(Math.sqrt(length) / 4));
  const chunks = Math.ceil(length / chunk);
  const count = lines * length;
  const temp = (k: number): Slot => ({ temp: firstTemp + k });
  const [table, offsets] = [temp(4), temp(5)];
  const side = (k: number): [Slot, Slot] => [temp(2 * (k % 2)), temp(2 * (k % 2) + 1)];
  const dispatches: Dispatch[] = [];
  const add = (task: string, items: number, reads: readonly Slot[], writes: readonly Slot[], body: string): void => {
    dispatches.push(step(`${name}.${task}`, items, reads, writes, body, target, [], task === "keys" ? key : ""));
  };
  add("keys", count, [from], side(0), `b1[i] = key(b0[i]);\n  b2[i] = i % ${length}u;`);
  const part = `let line = i / ${chunks}u;
  let part = i % ${chunks}u;
  let first = line * ${length}u + part * ${chunk}u;
  let end = min(first + ${chunk}u, (line + 1u) * ${length}u);`;
  const entry = `(line * ${BUCKETS}u + d) * ${chunks}u + part`;
  for (let pass = 0; pass < passes; pass++) {
    const [keys, order] = side(pass);
    const [nextKeys, nextOrder] = side(pass + 1);
    add(
      "count",
      lines * chunks,
      [keys],
      [table],
      `${part}
  var counts: array<u32, ${BUCKETS}>;
  for (var k = first; k < end; k++) { counts[b0[k] & ${BUCKETS - 1}u]++; }
  for (var d = 0u; d < ${BUCKETS}u; d++) { b1[${entry}] = counts[d]; }`,
    );
    if (BUCKETS * chunks <= (target.software ? 4096 : 256)) {
      add(
        "line",
        lines,
        [table],
        [offsets],
        `var total = i * ${length}u;
  for (var k = i * ${BUCKETS * chunks}u; k < (i + 1u) * ${BUCKETS * chunks}u; k++) {
    b1[k] = total;
    total += b0[k];
  }`,
      );
    } else dispatches.push(scan(`${name}.scan`, lines, BUCKETS * chunks, length, table, offsets, target));
    // Keys are rotated by a digit in every pass, so that all passes read the lowest digit and share their pipelines.
    add(
      "move",
      lines * chunks,
      [keys, order, offsets],
      [nextKeys, pass === passes - 1 ? to : nextOrder],
      `${part}
  var next: array<u32, ${BUCKETS}>;
  for (var d = 0u; d < ${BUCKETS}u; d++) { next[d] = b2[${entry}]; }
  for (var k = first; k < end; k++) {
    let key = b0[k];
    let at = next[key & ${BUCKETS - 1}u];
    next[key & ${BUCKETS - 1}u] = at + 1u;
    b3[at] = (key >> ${DIGIT}u) | (key << ${32 - DIGIT}u);
    b4[at] = b1[k];
  }`,
    );
  }
  const [bytes, entries] = [4 * count, 4 * lines * BUCKETS * chunks];
  return { temps: [bytes, bytes, bytes, bytes, entries, entries], dispatches };
}

/** Exclusive prefix sums of a table [lines, count], each line by a workgroup; line k starts at k * step. */
function scan(
  name: string,
  lines: number,
  count: number,
  step: number,
  from: Slot,
  to: Slot,
  target: Target,
): Dispatch {
  const lanes = Math.min(widestGroup(target), 2 ** Math.ceil(Math.log2(count)));
  const each = Math.ceil(count / lanes);
  const { workgroups, index } = foldGrid(lines, target);
  const source = (): string =>
    wgsl`
@group(0) @binding(0) var<storage, read> table: array<u32>;
@group(0) @binding(1) var<storage, read_write> offsets: array<u32>;
var<workgroup> sums: array<u32, ${lanes}>;

@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let line = ${index};
  if (line >= ${lines}u) {
    return;
  }
  let first = line * ${count}u + min(lane * ${each}u, ${count}u);
  let last = min(first + ${each}u, (line + 1u) * ${count}u);
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
  var total = line * ${step}u + sums[lane] - own;
  for (var k = first; k < last; k++) {
    offsets[k] = total;
    total += table[k];
  }
}
`;
  return { kernel: { name, source, workgroups }, reads: [from], writes: [to] };
}
