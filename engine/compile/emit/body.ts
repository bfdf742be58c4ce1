/** The statements of one kernel: the values that it computes, their reads, and the bindings. */
import { type DType, isFloat } from "../../core/dtype.ts";
import { call, type Expr, fn, infix, isAtom, load, print, some, u32, variable, walk } from "../../core/expr.ts";
import type { Index } from "../../core/index_map.ts";
import type { Emit } from "../../core/op.ts";
import { chunkElements, type Declarations, type Target } from "../../../shaders/types.ts";
import { isView, type Value } from "../graph/lower.ts";
import type { Materialized } from "../graph/cone.ts";
import { offsetOf, sumOf } from "./affine.ts";
import { CHUNKS } from "./lift.ts";
import { functionsOf, type Statement, walkStatements } from "./statements.ts";

/** The type of an element in memory. */
export const stored = (dtype: DType): string => (dtype === "bool" ? "u32" : dtype);

/** Maximum number of values that a kernel computes, counting one per index at which a value is needed. */
export const MOST_COMPUTED = 1024;
/** Values needed at this many indices are materialized first. */
const MANY_PLACES = 8;

/** Thrown if a kernel would compute too much: `stored` should be materialized. */
export class TooLarge extends Error {
  readonly stored: Value;

  constructor(stored: Value) {
    super("the kernel would be too large");
    this.stored = stored;
  }
}

interface Scope {
  readonly statements: Statement[];
  /** Bound names of expressions, by type and printed form. */
  readonly names: Map<string, Expr>;
  /** Computed values, by value and index. */
  readonly values: Map<string, Expr>;
}

const newScope = (): Scope => ({ statements: [], names: new Map(), values: new Map() });

/** Binding of a value, or of a chunk of one that exceeds a binding. */
export interface Binding {
  readonly value: Value;
  readonly chunk: number | null;
}

/** The range of elements that a kernel writes, if not all. */
export interface Span {
  readonly chunk: number;
  readonly from: number;
  readonly to: number;
}

export interface BodyOptions {
  /** The value whose memory the result reuses. */
  readonly alias?: Value | null;
  readonly span?: Span | null;
  /** A value known at index `i`, and the variable that holds it. */
  readonly given?: { readonly value: Value; readonly name: string } | null;
  /** Name prefix of bindings; default: "b". */
  readonly prefix?: string;
  /** The reads in binding order; default: in order of first use. */
  readonly reads?: readonly Value[];
  /** Whether to throw TooLarge; default: false. */
  readonly isBounded?: boolean;
}

let built = 0;
/** Number of bodies built since the start. */
export const builtBodies = (): number => built;

/** Builds the body of one kernel. Loop-invariant statements are hoisted out of its loop. */
export class Body {
  readonly bindings: Binding[] = [];
  /** Statements before the loop. */
  readonly before: Statement[] = [];
  /** Arithmetic operators on floats per element. */
  operations = 0;
  /** Whether the kernel uses f16. */
  half = false;
  #scopes: Scope[];
  #fixed: Scope;
  #varying: Set<string>;
  readonly #definitions = new Map<string, Expr>();
  #count = 0;
  #materialized: Materialized;
  #root: Value;
  #alias: Value | null;
  #most: number;
  #span: Span | null;
  #given: BodyOptions["given"];
  #prefix: string;
  #loaders = new Map<string, string>();
  readonly #computed = new Map<Value, number>();
  readonly #isBounded: boolean;
  #total = 0;

  constructor(
    root: Value,
    materialized: Materialized,
    target: Target,
    varying: string,
    { alias = null, span = null, given = null, prefix = "b", reads = [], isBounded = false }: BodyOptions = {},
  ) {
    built++;
    for (const value of reads) this.bindings.push({ value, chunk: null });
    this.#isBounded = isBounded;
    this.#prefix = prefix;
    this.#most = chunkElements(target);
    this.#span = span;
    this.#given = given;
    this.#root = root;
    this.#materialized = materialized;
    this.#varying = new Set([varying]);
    this.#alias = alias;
    this.#fixed = { ...newScope(), statements: this.before };
    this.#scopes = [newScope()];
  }

  /** Statements of the loop. */
  get statements(): Statement[] {
    return this.#scopes[0].statements;
  }

  readonly bindIndex = (expression: Expr): Expr => this.bind(expression, "u32");

  bind(expression: Expr, type: string): Expr {
    // f16 is only a storage type: arithmetic is in f32, and each operator's result is rounded.
    if (type === "f16") return this.bind(fn("vg_half", expression), "f32");
    if (isAtom(expression)) return expression;
    const key = `${type} ${print(expression)}`;
    for (const scope of [this.#fixed, ...this.#scopes]) {
      const known = scope.names.get(key);
      if (known) return known;
    }
    const name = `v${this.#count++}`;
    const varies = this.#scopes.length > 1 ||
      some(expression, (e) => e.kind === "variable" && this.#varying.has(e.name));
    const scope = varies ? this.#scopes.at(-1)! : this.#fixed;
    if (varies) this.#varying.add(name);
    const result = variable(name);
    scope.names.set(key, result);
    scope.statements.push({ kind: "let", name, value: expression });
    if (type === "u32") this.#definitions.set(name, expression);
    return result;
  }

  select(condition: Expr, dtype: DType, then: () => Expr, otherwise: () => Expr): Expr {
    const type = dtype === "f16" ? "f32" : dtype;
    const name = `v${this.#count++}`;
    this.#varying.add(name);
    const outer = this.#scopes.at(-1)!;
    const block = (value: () => Expr) => {
      const scope = newScope();
      this.#scopes.push(scope);
      const result = value();
      this.#scopes.pop();
      return { statements: scope.statements, value: result };
    };
    outer.statements.push({ kind: "branch", name, type, condition, blocks: [block(then), block(otherwise)] });
    return variable(name);
  }

  /** The value of `v` at an index: read from memory, or computed here. */
  value(v: Value, index: Index): Expr {
    if (isView(v)) return this.value(v.inputs[0], index.reshape(v.inputs[0].shape));
    if (v === this.#given?.value) return variable(this.#given.name);
    if (v.leaf !== null || (v !== this.#root && this.#materialized.has(v))) return this.#load(v, index);
    const key = `${v.id} ${index.key}`;
    for (const scope of this.#scopes) {
      const known = scope.values.get(key);
      if (known) return known;
    }
    const lowering = v.op!.lowering;
    if (lowering.kind !== "map") throw new Error(`${v.op!.name} cannot be computed inside another kernel`);
    const emit: Emit<never> = {
      attrs: v.attrs,
      output: v,
      inputs: v.inputs,
      input: (k, at) => this.value(v.inputs[k], at),
      bind: (expression, type) => this.bind(expression, type),
      select: (condition, type, then, otherwise) => this.select(condition, type, then, otherwise),
    };
    if (lowering.cost > 0 && isFloat(v.dtype)) this.operations++;
    this.#computed.set(v, (this.#computed.get(v) ?? 0) + 1);
    if (++this.#total > MOST_COMPUTED && this.#isBounded) this.#refuse();
    const result = lowering.emit(emit, index);
    this.#scopes.at(-1)!.values.set(key, result);
    return result;
  }

  /** Throws for the value nearest to the root that is needed at many indices, or else the one needed at the most. */
  #refuse(): void {
    const inner = [...this.#computed].filter(([v]) => v !== this.#root);
    const often = inner.filter(([, places]) => places >= MANY_PLACES).map(([v]) => v);
    if (often.length > 0) throw new TooLarge(often.reduce((a, b) => (b.id > a.id ? b : a)));
    if (inner.length > 0) throw new TooLarge(inner.reduce((a, b) => (b[1] > a[1] ? b : a))[0]);
  }

  #load(v: Value, index: Index): Expr {
    const offset = index.isMoved ? this.#asSum(index.offset) : index.offset;
    const place = print(offset);
    const element = this.#element(v, offset, place, index.span);
    if (v.dtype === "f16") {
      this.half = true;
      return this.bind(call("f32", element), "f32");
    }
    return this.bind(v.dtype === "bool" ? infix(element, "!=", u32(0)) : element, v.dtype);
  }

  /** An offset as a sum, whose steps from slice to slice are one number; itself if it is none. */
  #asSum(offset: Expr): Expr {
    const isFixed = (e: Expr): boolean => !some(e, (x) => x.kind === "variable" && this.#varying.has(x.name));
    const sum = sumOf(offset, (name) => this.#definitions.get(name));
    const place = offsetOf(sum, isFixed, this.bindIndex);
    return place ? this.bindIndex(place) : offset;
  }

  #element(v: Value, offset: Expr, place: string, span: Index["span"]): Expr {
    // Also by 0, so that the first chunk shares a pipeline with the others.
    const shifted = (by: number): Expr => infix(offset, "-", u32(by));
    const from = this.#span?.from ?? 0;
    if (v === this.#alias) return load(this.#given ? "result0" : "result", this.#span ? shifted(from) : offset);
    if (v.size <= this.#most) return load(`${this.#prefix}${this.#binding(v, null)}`, offset);
    // The element being written is in the same chunk.
    if (this.#span && place === "k" && v.size === this.#root.size) {
      return load(`b${this.#binding(v, this.#span.chunk)}`, shifted(from));
    }
    // The chunks that may contain the element.
    const first = Math.floor((span?.from ?? 0) / this.#most);
    const end = Math.ceil((span?.to ?? v.size) / this.#most);
    if (end === first + 1) {
      return load(`b${this.#binding(v, first)}`, shifted(first * this.#most));
    }
    const key = `${v.id} ${first} ${end}`;
    const places = Array.from({ length: end - first }, (_, k) => this.#binding(v, first + k));
    let loader = this.#loaders.get(key);
    if (!loader) {
      loader = `${CHUNKS}${places[0]}_${places.length}`;
      this.#loaders.set(key, loader);
      const lines = places.map((place, k) => {
        const found = `return b${place}[i - start${k}];`;
        return k < places.length - 1 ? `  if (i < start${k + 1}) {\n    ${found}\n  }` : `  ${found}`;
      });
      const starts = places.map((_, k) => `, start${k}: u32`).join("");
      this.loaders.push(`fn ${loader}(i: u32${starts}) -> ${stored(v.dtype)} {\n${lines.join("\n")}\n}`);
    }
    return call(loader, offset, ...places.map((_, k) => u32((first + k) * this.#most)));
  }

  /** WGSL functions that load elements from chunks. */
  readonly loaders: string[] = [];

  #binding(value: Value, chunk: number | null): number {
    const known = this.bindings.findIndex((b) => b.value === value && b.chunk === chunk);
    return known >= 0 ? known : this.bindings.push({ value, chunk }) - 1;
  }

  /** Declarations required by the statements and their result values. */
  declarations(values: readonly Expr[]): Declarations {
    const functions = [...functionsOf([...this.before, ...this.statements], values)];
    return { functions, loaders: this.loaders, usesF16: this.half };
  }

  /**
   * Statements that use the bindings that nothing is loaded from. A pipeline's layout has the bindings that its shader
   * uses, and a value that the graph reads may turn out not to be needed, as that of an empty slice which is padded.
   */
  unloaded(values: readonly Expr[]): string {
    if (this.loaders.length > 0) return "";
    const loaded = new Set<string>();
    const visit = (e: Expr): void => void (e.kind === "load" && loaded.add(e.buffer));
    walkStatements([...this.before, ...this.statements], visit);
    values.forEach((value) => walk(value, visit));
    const names = this.bindings.map((_, k) => `${this.#prefix}${k}`).filter((name) => !loaded.has(name));
    return names.map((name) => `_ = arrayLength(&${name});\n`).join("");
  }

  /** Values read from memory. */
  get reads(): Value[] {
    return [...new Set(this.bindings.map((b) => b.value))];
  }

  /** Element types of the bindings. */
  get types(): string[] {
    return this.bindings.map((b) => stored(b.value.dtype));
  }
}
