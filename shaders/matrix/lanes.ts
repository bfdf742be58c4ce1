/** How invocations share small matrices. */
import { fold } from "../map.wgsl.ts";
import type { Dispatch, Slot, Target } from "../types.ts";

const WORKGROUP = 64;
/** Matrices up to this size have an invocation of their own. */
const SMALL = 4;

export interface MatrixKernel {
  readonly name: string;
  readonly batch: number;
  /** Rows of a matrix. */
  readonly size: number;
  /** Columns or rows that can be worked on at once. */
  readonly width: number;
  /** Buffers of f32, by name. */
  readonly reads: Readonly<Record<string, Slot>>;
  /** All can be read too. */
  readonly writes: Readonly<Record<string, Slot>>;
  readonly flops: number;
  readonly library?: string;
  /**
   * Statements for the matrix of index `matrix`, on lane `lane` of `lanes`: with `variables` known to all, `before`,
   * then `turn` for each `i` from 0 to size, then `after`. Between them lanes see what others wrote.
   */
  readonly body: (lanes: number) => {
    readonly variables: string;
    readonly before: string;
    readonly turn: string;
    readonly after: string;
  };
}

/**
 * A kernel for a batch of matrices. On a CPU, and for tiny matrices, each has one invocation. Otherwise several share
 * one, and barriers order what they do.
 */
export function matrixKernel(p: MatrixKernel, target: Target): Dispatch {
  const most = target.software || p.size <= SMALL ? 1 : Math.min(WORKGROUP, p.width);
  let lanes = 1;
  while (lanes < most) lanes *= 2;
  const { workgroups } = fold(p.batch * lanes, WORKGROUP, target);
  const names = Object.keys({ ...p.reads, ...p.writes });
  const buffers = names.map((name, k) =>
    `@group(0) @binding(${k}) var<storage, ${name in p.reads ? "read" : "read_write"}> ${name}: array<f32>;`
  );
  const barrier = lanes > 1 ? "storageBarrier();" : "";
  // All invocations reach the barriers, whether they have a matrix or not.
  const mine = (statements: string): string => `if (exists) { ${statements} }`;
  const source = (): string => {
    const { variables, before, turn, after } = p.body(lanes);
    return `${buffers.join("\n")}
${p.library ?? ""}
@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) index: u32) {
  let lane = index % ${lanes}u;
  let matrix = (group.x + group.y * ${workgroups[0]}u) * ${WORKGROUP / lanes}u + index / ${lanes}u;
  let exists = matrix < ${p.batch}u;
  ${variables}
  ${before && `${mine(before)} ${barrier}`}
  for (var i = 0u; i < ${p.size}u; i++) {
    ${mine(turn)}
    ${barrier}
  }
  ${after && mine(after)}
}
`;
  };
  const kernel = { name: p.name, source, workgroups, flops: p.flops };
  return { kernel, reads: Object.values(p.reads), writes: Object.values(p.writes) };
}
