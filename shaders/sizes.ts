/**
 * Numbers that a kernel reads from a uniform buffer instead of being printed for them, so that kernels of other sizes
 * share its pipeline: compiling one takes longer than thousands of runs of a small one.
 */
import type { Kernel, Numbers } from "./types.ts";

/** The numbers of one kernel, by the names that its WGSL gives them. */
export interface Sizes {
  /** The contents of the uniform buffer: `Kernel.sizes`. */
  readonly values: readonly number[];
  /** Declares the buffer, which is bound after all others. */
  readonly declaration: (binding: number) => string;
  /** Statements that name the numbers; they come first in `main`. */
  readonly lets: string;
  /** Statements that name the numbers of function k; they come first in it. */
  readonly letsOf: (k: number) => string;
}

/**
 * The numbers `unsigned`, as u32, `signed`, as i32, and `floats`, as f32, of `main`, and those of functions beside it,
 * which are asked for when a kernel is used.
 */
export function sizesOf(
  unsigned: Readonly<Record<string, number>>,
  signed: Readonly<Record<string, number>> = {},
  floats: Readonly<Record<string, number>> = {},
  functions: () => readonly Numbers[] = () => [],
): Sizes {
  const own: Entry[] = [...entriesOf(unsigned, ""), ...entriesOf(signed, "i32"), ...entriesOf(floats, "bitcast<f32>")];
  let all: readonly (readonly Entry[])[] | null = null;
  const lists = (): readonly (readonly Entry[])[] => (all ??= [
    own,
    ...functions().map((f) => [...entriesOf(f.unsigned, ""), ...entriesOf(f.floats, "bitcast<f32>")]),
  ]);
  return {
    get values() {
      return lists().flat().map(({ bits }) => bits);
    },
    declaration(binding) {
      const fours = Math.ceil(lists().flat().length / 4);
      return fours === 0 ? "" : `@group(0) @binding(${binding}) var<uniform> sizes: array<vec4u, ${fours}>;`;
    },
    // Main loads fours, since each load takes time to compile; a function uses few of its numbers.
    get lets() {
      const fours = Array.from({ length: Math.ceil(own.length / 4) }, (_, k) => `  let sizes${k} = sizes[${k}];`);
      return [...fours, ...named(own, (k) => `sizes${k >> 2}.${"xyzw"[k % 4]}`)].join("\n");
    },
    letsOf(k) {
      const start = lists().slice(0, k + 1).flat().length;
      return named(lists()[k + 1], (k) => `sizes[${(start + k) >> 2}].${"xyzw"[(start + k) % 4]}`).join("\n");
    },
  };
}

/** What statements name that have no numbers of their own. */
export const NO_NUMBERS: Numbers = { unsigned: {}, floats: {} };

/** A number: its bits, and the conversion from u32 that gives it. */
interface Entry {
  readonly name: string;
  readonly bits: number;
  readonly conversion: "" | "i32" | "bitcast<f32>";
}

const entriesOf = (list: Readonly<Record<string, number>>, conversion: Entry["conversion"]): Entry[] =>
  Object.entries(list).map(([name, n]) => ({
    name,
    bits: conversion === "bitcast<f32>" ? bitsOf(n) : n >>> 0,
    conversion,
  }));

const named = (list: readonly Entry[], at: (k: number) => string): string[] =>
  list.map(({ name, conversion }, k) => `  let ${name} = ${conversion ? `${conversion}(${at(k)})` : at(k)};`);

/** A kernel with sizes that are asked for when it is used. */
export const withSizes = (kernel: Omit<Kernel, "sizes">, sizes: Sizes): Kernel => ({
  ...kernel,
  get sizes() {
    return sizes.values;
  },
});

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
