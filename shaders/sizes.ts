/**
 * Numbers that a kernel reads from a uniform buffer instead of being printed for them, so that kernels of other sizes
 * share its pipeline: compiling one takes longer than thousands of runs of a small one.
 */
import type { Kernel } from "./types.ts";

/** The numbers of one kernel, by the names that its WGSL gives them. */
export interface Sizes {
  /** The contents of the uniform buffer: `Kernel.sizes`. */
  readonly values: readonly number[];
  /** Declares the buffer, which is bound after all others. */
  readonly declaration: (binding: number) => string;
  /** Statements that name the numbers; they come first in `main`. */
  readonly lets: string;
}

/** The numbers `unsigned`, as u32, `signed`, as i32, and `floats`, as f32. */
export function sizesOf(
  unsigned: Readonly<Record<string, number>>,
  signed: Readonly<Record<string, number>> = {},
  floats: Readonly<Record<string, number>> = {},
): Sizes {
  const names = [unsigned, signed, floats].map(Object.keys);
  const values = [
    ...Object.values(unsigned),
    ...Object.values(signed).map((n) => n >>> 0),
    ...Object.values(floats).map(bitsOf),
  ];
  const fours = Math.ceil(values.length / 4);
  return {
    values,
    declaration: (binding) =>
      values.length === 0 ? "" : `@group(0) @binding(${binding}) var<uniform> sizes: array<vec4u, ${fours}>;`,
    get lets() {
      let k = 0;
      const next = (): string => `sizes${k >> 2}.${"xyzw"[k++ % 4]}`;
      return [
        ...Array.from({ length: fours }, (_, k) => `  let sizes${k} = sizes[${k}];`),
        ...names[0].map((name) => `  let ${name} = ${next()};`),
        ...names[1].map((name) => `  let ${name} = i32(${next()});`),
        ...names[2].map((name) => `  let ${name} = bitcast<f32>(${next()});`),
      ].join("\n");
    },
  };
}

const bitsOf = (value: number): number => new Uint32Array(Float32Array.of(value).buffer)[0];

/**
 * A kernel whose source and sizes come from one computation, which runs when it is compiled: once, unless its sizes are
 * asked for first.
 */
export function sizedKernel(
  rest: Omit<Kernel, "source" | "sizes">,
  make: () => { readonly source: string; readonly sizes: readonly number[] },
): Kernel {
  let sizes: readonly number[] | undefined;
  return {
    ...rest,
    source() {
      const made = make();
      sizes = made.sizes;
      return made.source;
    },
    get sizes() {
      return (sizes ??= make().sizes);
    },
  };
}
