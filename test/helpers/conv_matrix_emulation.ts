/**
 * Emulates kernels with subgroup matrices on adapters without them and f16: rewrites the WGSL to plain loops over f32,
 * with each lane of a subgroup computing its share of the sums. It checks that tiles are filled, multiplied and stored
 * correctly, but not the builtins of a GPU.
 */
import type { Lowered, SubgroupMatrix } from "../../shaders/types.ts";

/** The same dispatches without subgroup matrices and f16. Throws for source of an unknown form. */
export function emulateMatrices(lowered: Lowered, { M, N, K }: SubgroupMatrix, lanes: number): Lowered {
  const each = (M * N) / lanes;
  // A factor is its offset in the tile and the stride of its lines; an accumulator matrix is a number.
  const loops = `
var<private> lane: u32;
var<private> sums: array<f32, 32>;

fn multiply(a: vec2u, b: vec2u, sum: u32) {
  for (var e = 0u; e < ${each}u; e++) {
    let row = (e * ${lanes}u + lane) / ${N}u;
    let column = (e * ${lanes}u + lane) % ${N}u;
    for (var k = 0u; k < ${K}u; k++) {
      sums[sum * ${each}u + e] += tileA[a.x + k * a.y + row] * tileB[b.x + k * b.y + column];
    }
  }
}

fn leave(at: u32, sum: u32, stride: u32) {
  for (var e = 0u; e < ${each}u; e++) {
    let element = e * ${lanes}u + lane;
    leaving[at + element / ${N}u * stride + element % ${N}u] = sums[sum * ${each}u + e];
  }
}
`;
  const rewrite = (source: string): string => {
    const plain = source
      .replace(/^enable .*;$/gm, "")
      .replace(/\bf16\b/g, "f32")
      .replace(/\bvec4h\b/g, "vec4f");
    if (!source.includes("subgroup_matrix")) return plain;
    const factor = (kind: string, order: string, tile: string): RegExp =>
      new RegExp(`subgroupMatrixLoad<subgroup_matrix_${kind}, ${order}>\\(\\s*&${tile}, `, "g");
    let count = 0;
    const text = plain
      .replaceAll(
        new RegExp(`var (\\w+): subgroup_matrix_result<f32, ${N}, ${M}>`, "g"),
        (_, name: string) => `const ${name} = ${count++}u`,
      )
      .replaceAll(factor(`left<f32, ${K}, ${M}>`, "col_major", "tileA"), "vec2u(")
      .replaceAll(factor(`right<f32, ${N}, ${K}>`, "row_major", "tileB"), "vec2u(")
      .replaceAll(/(\w+) = subgroupMatrixMultiplyAccumulate\((\w+), (\w+), \1\)/g, "multiply($2, $3, $1)")
      .replaceAll("subgroupMatrixStore<row_major>(&leaving, ", "leave(")
      .replace(
        ", @builtin(subgroup_id) subgroup: u32) {",
        `) {\n  let subgroup = local / ${lanes}u;\n  lane = local % ${lanes}u;`,
      )
      .replace("@compute", `${loops}\n@compute`);
    const left = text.match(/.*subgroup(Matrix|_).*/);
    if (left) throw new Error(`not rewritten: ${left[0]}`);
    return text;
  };
  return {
    temps: lowered.temps.map((bytes) => 2 * bytes),
    dispatches: lowered.dispatches.map((d) => ({
      ...d,
      kernel: { ...d.kernel, source: () => rewrite(d.kernel.source()) },
    })),
  };
}
