/**
 * Trees of connected voxels by union-find (Playne and Hawick, "A new algorithm for parallel connected-component
 * labeling on GPUs", 2018; path splitting after Tarjan and van Leeuwen, 1984): voxels point to earlier voxels of their
 * component, and atomic minima merge the trees, in two passes. The root of a finished tree is the first voxel of its
 * component, independent of execution order.
 *
 * Nodes are voxels numbered from 1 over the whole batch; 0 is background, or the outside when filling holes.
 */
import { wgsl } from "wgsl-preprocessor/wgsl-preprocessor.js";
import { fold } from "../map.wgsl.ts";
import { insideFunction } from "./mask.wgsl.ts";
import type { Dispatch, Kernel, Target } from "../types.ts";

export interface Grid {
  readonly batch: number;
  readonly size: readonly [number, number, number];
  /** Neighbors of a voxel; in a volume of depth 1, 6 means 4 and the others 8. */
  readonly connectivity: 6 | 18 | 26;
  /** Whether the mask is f32. */
  readonly float: boolean;
  /** 0: members are the nonzero voxels. Otherwise the zeros, and the ends of that many last axes touch the outside. */
  readonly outside: 0 | 2 | 3;
}

const WORKGROUP = 64;

/** Mask (input 0) to the parent of each voxel (temporary 0). */
export const forest = (grid: Grid, target: Target): Dispatch[] => [
  { kernel: runsKernel(grid, target), reads: [{ input: 0 }], writes: [{ temp: 0 }] },
  { kernel: joinKernel(grid, target), reads: [{ input: 0 }], writes: [{ temp: 0 }] },
];

/** `root(node)`, with path splitting, and `unite(a, b)`, on atomic `parents`. */
export const unionFind = wgsl`
fn root(node: u32) -> u32 {
  if (node == 0u) { return 0u; }
  var child = node;
  var parent = atomicLoad(&parents[child - 1u]);
  while (parent != child) {
    if (parent == 0u) { return 0u; }
    let above = atomicLoad(&parents[parent - 1u]);
    if (above != parent) { atomicMin(&parents[child - 1u], above); }
    child = parent;
    parent = above;
  }
  return child;
}

// The later root is pointed to the earlier one. If it got another parent meanwhile, that one is united as well.
fn unite(a: u32, b: u32) {
  var x = root(a);
  var y = root(b);
  while (x != y) {
    let later = max(x, y);
    y = min(x, y);
    let before = atomicMin(&parents[later - 1u], y);
    if (before == later) { return; }
    x = root(before);
    y = root(y);
  }
}`;

/** A kernel whose invocations run `body` for the voxels [begin, end) of a line along the last axis. */
function segmentKernel(
  name: string,
  grid: Grid,
  parents: string,
  functions: string,
  body: string,
  target: Target,
): Kernel {
  const [depth, height, width] = grid.size;
  // On a CPU an invocation costs more than a voxel.
  const length = Math.min(width, target.software ? 64 : 8);
  const segments = Math.ceil(width / length);
  const count = grid.batch * depth * height * segments;
  const { workgroups, row } = fold(count, WORKGROUP, target);
  const faces = [
    `(y == 0u) | (y == ${height - 1}u)`,
    ...(grid.outside === 3 ? [`(z == 0u) | (z == ${depth - 1}u)`] : []),
  ];
  return {
    name,
    workgroups,
    source: () =>
      wgsl`
@group(0) @binding(0) var<storage, read> mask: array<u32>;
@group(0) @binding(1) var<storage, read_write> parents: array<${parents}>;

${insideFunction(grid.float)}

fn member(i: u32) -> bool { return ${grid.outside ? "!" : ""}inside(mask[i]); }

${functions}

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let segment = id.x + id.y * ${row}u;
  if (segment >= ${count}u) { return; }
  let line = segment / ${segments}u;
  let y = line % ${height}u;
  let z = (line / ${height}u) % ${depth}u;
  let begin = (segment % ${segments}u) * ${length}u;
  let end = min(begin + ${length}u, ${width}u);
  let start = line * ${width}u;
#if ${grid.outside !== 0}
  let face = ${faces.join(" | ")};
#endif
${body}
}`,
  };
}

/**
 * Voxels point to the first voxel of their run within the segment, or to 0 if they are at the end of an axis that
 * touches the outside.
 */
function runsKernel(grid: Grid, target: Target): Kernel {
  const body = wgsl`
  var run = 0u;
  var left = false;
  for (var x = begin; x < end; x++) {
    let i = start + x;
    let here = member(i);
#if ${grid.outside === 0}
    run = select(0u, select(i + 1u, run, left), here);
    parents[i] = run;
#else
    let outside = face | (x == 0u) | (x == ${grid.size[2] - 1}u);
    run = select(select(i + 1u, run, left), 0u, outside);
    // Voxels of the mask are their own roots: not outside.
    parents[i] = select(i + 1u, run, here);
#endif
    left = here;
  }`;
  return segmentKernel("components.runs", grid, "u32", "", body, target);
}

/** An adjacent earlier line, and whether its diagonal voxels are neighbors. */
interface Beside {
  readonly dz: number;
  readonly dy: number;
  readonly wide: boolean;
}

function linesBeside({ size: [depth, height], connectivity }: Grid): Beside[] {
  const lines = [
    { dz: 0, dy: -1, wide: connectivity > 6 },
    { dz: -1, dy: 0, wide: connectivity > 6 },
    { dz: -1, dy: -1, wide: connectivity > 18 },
    { dz: -1, dy: 1, wide: connectivity > 18 },
  ];
  return lines.filter(
    ({ dz, dy }) => (dz === 0 || depth > 1) && (dy === 0 || height > 1) && (dz === 0 || dy === 0 || connectivity > 6),
  );
}

/**
 * Merges runs. Neighbors in an adjacent line that the voxel on the left also has are skipped, since it is already
 * merged with them; of neighbors that form a run, one is enough.
 */
function joinKernel(grid: Grid, target: Target): Kernel {
  const [, height, width] = grid.size;
  const lines = linesBeside(grid);
  /** Offsets of the neighbors that may have to be merged, by bit of `todo`. */
  const back = [1];
  const before: string[] = [];
  const shift: string[] = [];
  const choose: string[] = [];
  lines.forEach(({ dz, dy, wide }, k) => {
    const distance = -(dz * height + dy) * width;
    const exists = [
      ...(dz < 0 ? ["(z > 0u)"] : []),
      ...(dy < 0 ? ["(y > 0u)"] : dy > 0 ? [`(y < ${height - 1}u)`] : []),
    ].join(" & ");
    const bit = (dx: number): string => `${1 << (back.push(distance - dx) - 1)}u`;
    const read = (x: string): string => `member(start + ${x} - ${distance}u)`;
    // Members at x - 1, x and x + 1 of line k.
    before.push(`let e${k} = ${exists};`, `var a${k} = false;`, `var b${k} = false;`);
    before.push(`if (e${k} & (begin > 0u)) { b${k} = ${read("begin - 1u")}; }`);
    if (wide) {
      before.push(`var c${k} = false;`, `if (e${k}) { c${k} = ${read("begin")}; }`);
      shift.push(`a${k} = b${k}; b${k} = c${k}; c${k} = false;`);
      shift.push(`if (e${k} & (x < ${width - 1}u)) { c${k} = ${read("x + 1u")}; }`);
      const [alone, corner, next] = [bit(0), bit(-1), bit(1)];
      choose.push(
        `todo |= select(0u, ${alone}, b${k} & !left) | select(0u, ${corner}, a${k} & !b${k} & !left) | select(0u, ` +
          `${next}, c${k} & !b${k});`,
      );
    } else {
      shift.push(`a${k} = b${k}; b${k} = false;`, `if (e${k}) { b${k} = ${read("x")}; }`);
      choose.push(`todo |= select(0u, ${bit(0)}, b${k} & !(left & a${k}));`);
    }
  });
  const functions = wgsl`${unionFind}
const back = array<u32, ${back.length}>(${back.map((n) => `${n}u`).join(", ")});`;
  const body = wgsl`
  var left = false;
  if (begin > 0u) { left = member(start + begin - 1u); }
  ${before.join("\n  ")}
  for (var x = begin; x < end; x++) {
    let i = start + x;
    let here = member(i);
    ${shift.join("\n    ")}
    if (here) {
      // The run of the previous segment continues, and the last voxel of a line may have been set to 0.
      var todo = select(0u, 1u, left & ((x == begin)${grid.outside ? ` | (x == ${width - 1}u)` : ""}));
      ${choose.join("\n      ")}
      for (; todo != 0u; todo &= todo - 1u) {
        unite(i + 1u, i + 1u - back[countTrailingZeros(todo)]);
      }
    }
    left = here;
  }`;
  return segmentKernel("components.join", grid, "atomic<u32>", functions, body, target);
}
