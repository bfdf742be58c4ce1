/**
 * Numbers that a kernel reads from a uniform buffer instead of being printed for them, so that kernels of other sizes
 * share its pipeline: compiling one takes longer than thousands of runs of a small one.
 */

/** The numbers of one kernel, by the names that its WGSL gives them. */
export interface Sizes {
  /** The contents of the uniform buffer: `Kernel.sizes`. */
  readonly values: readonly number[];
  /** Declares the buffer, which is bound after all others. */
  readonly declaration: (binding: number) => string;
  /** Statements that name the numbers; they come first in `main`. */
  readonly lets: string;
}

/** The numbers `unsigned`, as u32, and `signed`, as i32. */
export function sizesOf(
  unsigned: Readonly<Record<string, number>>,
  signed: Readonly<Record<string, number>> = {},
): Sizes {
  const element = (k: number): string => `sizes${k >> 2}.${"xyzw"[k % 4]}`;
  const first = Object.keys(unsigned).length;
  const values = [...Object.values(unsigned), ...Object.values(signed).map((n) => n >>> 0)];
  const fours = Array.from({ length: Math.ceil(values.length / 4) }, (_, k) => `  let sizes${k} = sizes[${k}];`);
  return {
    values,
    declaration: (binding) => `@group(0) @binding(${binding}) var<uniform> sizes: array<vec4u, ${fours.length}>;`,
    lets: [
      ...fours,
      ...Object.keys(unsigned).map((name, k) => `  let ${name} = ${element(k)};`),
      ...Object.keys(signed).map((name, k) => `  let ${name} = i32(${element(first + k)});`),
    ].join("\n"),
  };
}

/** The bits of a number as f32: `bitcast<f32>(size)` gives it back. */
export const bitsOf = (value: number): number => new Uint32Array(Float32Array.of(value).buffer)[0];
