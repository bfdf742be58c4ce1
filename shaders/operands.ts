/**
 * Inputs and outputs of a kernel template: bindings, and elementwise functions that are fused into loads and stores.
 */
import { librarySource } from "./library.ts";
import { type Sizes, sizesOf } from "./sizes.ts";
import type { Fused, FusedCode, Fusion, Slot } from "./types.ts";

/**
 * Bindings of the function that replaces input k are named `in{k}_0`, `in{k}_1`, ..., those of the result `out_0`, ...
 */
export const OPERAND = "in";
export const RESULT = "out";

/** A buffer of a kernel. */
export interface Operand {
  readonly name: string;
  /** Storage type of its elements: f32, f16, vec4<f32>, ... */
  readonly type: string;
  readonly slot: Slot;
}

export interface Operands {
  /** Enable directives; must come first. */
  readonly enable: string;
  /** Bindings, with that of the sizes after `outputs` (default: 1) if there are any, and functions. */
  readonly declarations: (outputs?: number) => string;
  /** The numbers that the template reads, as for `sizesOf`; fused functions then read theirs too. */
  sizes(
    unsigned: Readonly<Record<string, number>>,
    signed?: Readonly<Record<string, number>>,
    floats?: Readonly<Record<string, number>>,
  ): Sizes;
  /** Added before and after the kernel's name. */
  readonly prefix: string;
  readonly suffix: string;
  readonly reads: readonly Slot[];
  /** The element of an operand at an index, in f32. */
  load(name: string, index: string): string;
  /**
   * Statements that store an f32 value, rounded to the nearest f16 with ties to even if the result is f16. The
   * variable `seen` receives the value whose moments the fusion computes.
   */
  store(index: string, value: string, seen?: string): string;
  /** The four elements of an operand of vectors, in f32. */
  loadFour(name: string, index: string): string;
}

const isHalf = (type: string): boolean => type === "f16" || type === "vec4<f16>";

/** The operands of a template. `fusion` applies to inputs and to output 0, wherever the template accesses them. */
export function operands(inputs: readonly Operand[], result: Operand, fusion: Fusion | null = null): Operands {
  const bound: { readonly name: string; readonly type: string }[] = [];
  const reads: Slot[] = [];
  const bind = (name: string, type: string, slot: Slot): void => {
    bound.push({ name, type });
    reads.push(slot);
  };
  const functions: { readonly header: string; readonly fused: Fused }[] = [];
  let next = fusion?.first ?? 0;
  const define = (prefix: string, fused: Fused, header: string): void => {
    fused.reads.forEach((type, k) => bind(`${prefix}_${k}`, type, { input: next + k }));
    next += fused.reads.length;
    functions.push({ header, fused });
  };
  const computed = new Set<string>();
  // In the order in which the engine numbers their bindings.
  (fusion?.loads ?? []).forEach((fused, k) => {
    const operand = inputs.find(({ slot }) => "input" in slot && slot.input === k);
    if (!fused || !operand) return void (next += fused?.reads.length ?? 0);
    computed.add(operand.name);
    define(`${OPERAND}${k}`, fused, `load_${operand.name}(i: u32) -> f32`);
  });
  const store = "output" in result.slot ? (fusion?.store ?? null) : null;
  if (store) define(RESULT, store, `finish(i: u32, given: f32) -> ${store.type}`);
  if (fusion?.moments) functions.push({ header: "observe(i: u32, given: f32) -> f32", fused: fusion.moments });
  for (const { name, type, slot } of inputs) if (!computed.has(name)) bind(name, type, slot);
  const type = store?.type ?? result.type;
  const half = [...bound, { type }].some(({ type }) => isHalf(type));
  const rounded = result.type === "f16";
  let sizes: Sizes | null = null;
  let coded: readonly FusedCode[] | null = null;
  const codes = (): readonly FusedCode[] => (coded ??= functions.map(({ fused }) => fused.code(sizes !== null)));
  const declarations = (outputs = 1): string => {
    const names = new Set([...codes().flatMap((code) => code.functions), ...(rounded ? ["vg_half"] : [])]);
    return [
      ...bound.map(({ name, type }, k) => `@group(0) @binding(${k}) var<storage, read> ${name}: array<${type}>;`),
      `@group(0) @binding(${reads.length}) var<storage, read_write> ${result.name}: array<${type}>;`,
      sizes?.declaration(reads.length + outputs) ?? "",
      librarySource(names),
      ...codes().map(({ body, value }, k) =>
        [`fn ${functions[k].header} {`, sizes?.letsOf(k), body, `return ${value};`, "}"].filter(Boolean).join("\n")
      ),
    ].join("\n");
  };
  const typeOf = (name: string): string => inputs.find((operand) => operand.name === name)!.type;
  return {
    enable: half ? "enable f16;" : "",
    declarations,
    sizes(unsigned, signed, floats) {
      sizes = sizesOf(unsigned, signed, floats, () => codes().map(({ numbers }) => numbers));
      return sizes;
    },
    prefix: store ? `${store.name}(` : "",
    suffix: [...(fusion?.loads ?? []).flatMap((f) => (f ? [` of ${f.name}`] : [])), store ? ")" : ""].join(""),
    reads,
    load: (name, index) =>
      computed.has(name)
        ? `load_${name}(u32(${index}))`
        : typeOf(name) === "f16"
        ? `f32(${name}[${index}])`
        : `${name}[${index}]`,
    loadFour: (name, index) => isHalf(typeOf(name)) ? `vec4f(${name}[${index}])` : `${name}[${index}]`,
    store(index, value, seen) {
      const own = rounded ? `vg_half(${value})` : value;
      const kept = store ? `finish(${index}, ${own})` : rounded ? `f16(${own})` : own;
      if (!seen) return `${result.name}[${index}] = ${kept};`;
      return `let kept = ${kept};\n${result.name}[${index}] = kept;\n${seen} = observe(${index}, f32(kept));`;
    },
  };
}
