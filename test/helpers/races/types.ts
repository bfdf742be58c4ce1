/** Types of WGSL, and expressions that were translated to JavaScript. */

/** `int` and `float` are the types of literals without a suffix. */
export type Scalar = "f32" | "f16" | "i32" | "u32" | "bool" | "int" | "float";

export type Type =
  | { readonly kind: "scalar"; readonly of: Scalar }
  | { readonly kind: "vector"; readonly of: Scalar; readonly size: number }
  /** Without a size: to the end of the buffer. */
  | { readonly kind: "array"; readonly of: Type; readonly size: number | null }
  | { readonly kind: "struct"; readonly name: string; readonly members: ReadonlyMap<string, Type> }
  | { readonly kind: "atomic"; readonly of: Scalar }
  /** A subgroup matrix. */
  | { readonly kind: "matrix"; readonly columns: number; readonly rows: number }
  | { readonly kind: "void" };

/** An element of shared memory: JavaScript of the memory and of the index. */
export interface Element {
  readonly memory: string;
  readonly index: string;
}

/** Something that can be assigned to. */
export type Place =
  | { readonly kind: "variable"; readonly code: string }
  /** An element or component of a local value. */
  | { readonly kind: "part"; readonly base: string; readonly index: string }
  | { readonly kind: "element"; readonly element: Element }
  /** All of an array in shared memory, which is only passed by pointer. */
  | { readonly kind: "memory"; readonly memory: string };

export interface Value {
  /** JavaScript: a number, a boolean, or an array of components, elements or members. */
  readonly code: string;
  readonly type: Type;
  /** Of literals without a suffix, and what is computed from them. */
  readonly constant?: number;
  readonly place?: Place;
}

export const scalar = (of: Scalar): Type => ({ kind: "scalar", of });
export const vector = (of: Scalar, size: number): Type => ({ kind: "vector", of, size });
export const VOID: Type = { kind: "void" };

export const isAbstract = (of: Scalar): boolean => of === "int" || of === "float";

/** The scalar that a type consists of. */
export function scalarOf(type: Type): Scalar {
  if (type.kind === "scalar" || type.kind === "vector" || type.kind === "atomic") return type.of;
  throw new Error(`WGSL: ${show(type)} has no components`);
}

/** A type of the same form, of another scalar. */
export const formed = (type: Type, of: Scalar): Type => type.kind === "vector" ? vector(of, type.size) : scalar(of);

export function show(type: Type): string {
  switch (type.kind) {
    case "scalar":
      return type.of;
    case "vector":
      return `vec${type.size}<${type.of}>`;
    case "array":
      return `array<${show(type.of)}${type.size === null ? "" : `, ${type.size}`}>`;
    case "struct":
      return type.name;
    case "atomic":
      return `atomic<${type.of}>`;
    case "matrix":
      return `matrix ${type.rows}x${type.columns}`;
    case "void":
      return "nothing";
  }
}

export const same = (a: Type, b: Type): boolean => show(a) === show(b);

/** JavaScript of a literal. */
export function literal(value: number, of: Scalar): string {
  const held = of === "f32" ? Math.fround(value) : of === "u32" ? value >>> 0 : of === "i32" ? value | 0 : value;
  return held < 0 || Object.is(held, -0) ? `(${Object.is(held, -0) ? "-0" : held})` : `${held}`;
}

export const constant = (value: number, of: "int" | "float"): Value => ({
  code: literal(value, of),
  type: scalar(of),
  constant: value,
});

/** JavaScript of the zero value of a type. */
export function zero(type: Type): string {
  switch (type.kind) {
    case "scalar":
      return type.of === "bool" ? "false" : "0";
    case "vector":
      return `[${new Array<string>(type.size).fill(zero(scalar(type.of))).join(", ")}]`;
    case "array":
      if (type.size === null) throw new Error("WGSL: an array without a size has no zero value");
      return `Array.from({ length: ${type.size} }, () => ${zero(type.of)})`;
    case "struct":
      return `[${[...type.members.values()].map(zero).join(", ")}]`;
    case "matrix":
      return `R.zeroMatrix(${type.rows * type.columns})`;
    default:
      throw new Error(`WGSL: ${show(type)} has no zero value`);
  }
}

/** Converts a value to a scalar type, or a vector of it, as WGSL does by itself: literals alone. */
export function converted(value: Value, of: Scalar): Value {
  const from = scalarOf(value.type);
  if (from === of) return value;
  const fits = value.constant !== undefined &&
    (from === "int" ? of !== "bool" : of === "f32" || of === "f16" || of === "float");
  if (!fits) throw new Error(`WGSL: ${show(value.type)} where ${of} is wanted: ${value.code}`);
  return {
    code: literal(value.constant!, of),
    type: scalar(of),
    ...(isAbstract(of) ? { constant: value.constant! } : {}),
  };
}

/** The value as a variable holds it: literals get a type. */
export const materialized = (value: Value): Value =>
  value.constant === undefined ? value : converted(value, scalarOf(value.type) === "int" ? "i32" : "f32");

/** Checks that a value has a type, which literals take on. */
export function as(value: Value, type: Type): Value {
  const own = value.constant !== undefined && type.kind === "scalar" ? converted(value, type.of) : value;
  if (!same(own.type, type)) throw new Error(`WGSL: ${show(own.type)} where ${show(type)} is wanted: ${own.code}`);
  return own;
}

/** The values with the scalar type that they have in common. */
export function unified(values: readonly Value[]): Value[] {
  const all = values.map((v) => scalarOf(v.type));
  const of = all.find((s) => !isAbstract(s)) ?? (all.includes("float") ? "float" : "int");
  return values.map((v) => converted(v, of));
}
