/** WGSL of fused kernels: a root value and everything that is computed along with it. */
import type { DType } from "../core/dtype.ts";
import { Index } from "../core/index_map.ts";
import type { Emit, ReduceAttrs } from "../core/op.ts";
import { size } from "../core/shape.ts";
import { librarySource } from "../../shaders/library.ts";
import { mapKernel } from "../../shaders/map.wgsl.ts";
import { reduceKernels } from "../../shaders/reduce.wgsl.ts";
import type { Dispatch, Kernel, Slot, Target } from "../../shaders/types.ts";
import { isView, type Value } from "./lower.ts";
import type { Roots } from "./fuse.ts";

const stored = (dtype: DType): string => (dtype === "bool" ? "u32" : dtype);

interface Scope {
  readonly lines: string[];
  readonly names: Map<string, string>;
  readonly values: Map<string, string>;
}

/** Writes the body of one kernel. Statements that do not vary in its loop are moved before the loop. */
class Body {
  readonly reads: Value[] = [];
  readonly places = new Map<Value, Set<string>>();
  readonly functions = new Set<string>();
  readonly before: string[] = [];
  #scopes: Scope[];
  #fixed: Scope;
  #varying: Set<string>;
  #count = 0;
  #roots: Roots;
  #root: Value;
  #alias: Value | null;

  constructor(root: Value, roots: Roots, varying: readonly string[], alias: Value | null) {
    this.#root = root;
    this.#roots = roots;
    this.#varying = new Set(varying);
    this.#alias = alias;
    this.#fixed = { lines: this.before, names: new Map(), values: new Map() };
    this.#scopes = [{ lines: [], names: new Map(), values: new Map() }];
  }

  get lines(): string[] {
    return this.#scopes[0]!.lines;
  }

  readonly bindIndex = (expression: string): string => this.bind(expression, "u32");

  bind(expression: string, type: string): string {
    if (/^\w+$/.test(expression)) return expression;
    const key = `${type} ${expression}`;
    for (const scope of [this.#fixed, ...this.#scopes]) {
      const name = scope.names.get(key);
      if (name) return name;
    }
    const name = `v${this.#count++}`;
    const varies =
      this.#scopes.length > 1 || (expression.match(/\b[A-Za-z_]\w*/g) ?? []).some((word) => this.#varying.has(word));
    const scope = varies ? this.#scopes.at(-1)! : this.#fixed;
    if (varies) this.#varying.add(name);
    scope.names.set(key, name);
    scope.lines.push(`let ${name} = ${expression};`);
    return name;
  }

  select(condition: string, type: DType, then: () => string, otherwise: () => string): string {
    const name = `v${this.#count++}`;
    this.#varying.add(name);
    const outer = this.#scopes.at(-1)!;
    const branch = (value: () => string): string => {
      const scope: Scope = { lines: [], names: new Map(), values: new Map() };
      this.#scopes.push(scope);
      const result = value();
      this.#scopes.pop();
      return [...scope.lines, `${name} = ${result};`].map((line) => `  ${line}`).join("\n");
    };
    const [yes, no] = [branch(then), branch(otherwise)];
    outer.lines.push(`var ${name}: ${type};`, `if (${condition}) {\n${yes}\n} else {\n${no}\n}`);
    return name;
  }

  /** The value of `v` at a place: read from memory, or computed here. */
  value(v: Value, index: Index): string {
    if (isView(v)) return this.value(v.inputs[0]!, index.reshape(v.inputs[0]!.shape));
    if (v.leaf !== null || (v !== this.#root && this.#roots.has(v))) return this.#load(v, index);
    const key = `${v.id} ${index.key}`;
    for (const scope of this.#scopes) {
      const known = scope.values.get(key);
      if (known) return known;
    }
    const lowering = v.op!.lowering;
    if (lowering.kind !== "map") throw new Error(`${v.op!.name} cannot be computed inside another kernel`);
    const emit: Emit<any> = {
      attrs: v.attrs,
      output: v,
      inputs: v.inputs,
      input: (k, at) => this.value(v.inputs[k]!, at),
      bind: (expression, type) => this.bind(expression, type),
      select: (condition, type, then, otherwise) => this.select(condition, type, then, otherwise),
      fn: (name) => {
        this.functions.add(name);
        return name;
      },
    };
    const result = lowering.emit(emit, index);
    this.#scopes.at(-1)!.values.set(key, result);
    return result;
  }

  #load(v: Value, index: Index): string {
    const offset = index.offset;
    let places = this.places.get(v);
    if (!places) this.places.set(v, (places = new Set()));
    places.add(offset);
    let name = "result";
    if (v !== this.#alias) {
      if (!this.reads.includes(v)) this.reads.push(v);
      name = `b${this.reads.indexOf(v)}`;
    }
    return this.bind(v.dtype === "bool" ? `${name}[${offset}] != 0u` : `${name}[${offset}]`, v.dtype);
  }
}

export interface Emitted {
  readonly temps: readonly number[];
  readonly dispatches: readonly Dispatch[];
  /** What Slot input k means. */
  readonly reads: readonly Value[];
  /** Values read only at the very element that is written: memory that the result may overwrite. */
  readonly aligned: readonly Value[];
}

/** The kernel of an elementwise or movement root. With `alias` the result overwrites that value. */
export function emitMap(root: Value, roots: Roots, target: Target, alias: Value | null = null): Emitted {
  let { body, here, result } = mapBody(root, roots, alias, 1);
  const inner = rowLength(root, body);
  if (inner > 1) ({ body, here, result } = mapBody(root, roots, alias, inner));
  const kernel = mapKernel(
    {
      name: chainName(root, roots),
      library: librarySource(body.functions),
      reads: body.reads.map((v) => stored(v.dtype)),
      result: stored(root.dtype),
      rows: inner > 1 ? root.size / inner : 1,
      length: inner > 1 ? inner : root.size,
      before: body.before,
      body: [...body.lines, `result[${here}] = ${root.dtype === "bool" ? `select(0u, 1u, ${result})` : result};`],
    },
    target,
  );
  const alike = (v: Value): boolean => v.size === root.size && v.dtype === root.dtype;
  const aligned = body.reads.filter((v) => alike(v) && [...body.places.get(v)!].every((place) => place === here));
  return { temps: [], dispatches: [dispatch(kernel, body.reads)], reads: body.reads, aligned };
}

/** The statements for element `k` of row `o`; a single row where `inner` is 1. */
function mapBody(
  root: Value,
  roots: Roots,
  alias: Value | null,
  inner: number,
): { body: Body; here: string; result: string } {
  const body = new Body(root, roots, ["k"], alias);
  let index = Index.linear(root.shape, "k", body.bindIndex);
  if (inner > 1) {
    const axis = innerAxis(root, inner);
    index = Index.runs(
      root.shape,
      [
        { from: 0, to: axis - 1, expression: "o" },
        { from: axis, to: root.shape.length - 1, expression: "k" },
      ],
      body.bindIndex,
    );
  }
  const here = index.offset;
  return { body, here, result: body.value(root, index) };
}

/** The first axis of the trailing ones that hold `inner` elements; 0 where none do. */
function innerAxis(root: Value, inner: number): number {
  for (let axis = root.shape.length - 1; axis > 0; axis--) if (size(root.shape.slice(axis)) === inner) return axis;
  return 0;
}

/** Shorter rows leave lanes idle; more or longer ones are beyond what a dimension of the grid holds. */
const SHORTEST_ROW = 512;
const MOST_ROWS = 65535;
const LONGEST_ROW = 64 * 65535;

/**
 * Divisions cost more than the arithmetic of most chains. Where elements are divided by the size of trailing axes, as for
 * a value per channel, the kernel gets a dimension for those axes, and the quotient is known without division.
 */
function rowLength(root: Value, body: Body): number {
  const divisors = body.lines.flatMap((line) => [...line.matchAll(/= k \/ (\d+)u;/g)].map((match) => Number(match[1])));
  const fitting = divisors.filter(
    (n) => n >= SHORTEST_ROW && n <= LONGEST_ROW && root.size / n <= MOST_ROWS && innerAxis(root, n) > 0,
  );
  return fitting.length > 0 ? Math.min(...fitting) : 1;
}

/** The kernels of a reduction, with whatever computes its input fused into the first. */
export function emitReduce(root: Value, roots: Roots, target: Target): Emitted {
  const { axes, by } = root.attrs as ReduceAttrs;
  const input = root.inputs[0]!;
  const kept = input.shape.map((_, k) => k).filter((k) => !axes.includes(k));
  const body = new Body(root, roots, ["r"], null);
  const outer = Index.linear(
    kept.map((k) => input.shape[k]!),
    "o",
    body.bindIndex,
  );
  const inner = Index.linear(
    axes.map((k) => input.shape[k]!),
    "r",
    body.bindIndex,
  );
  const runs: { from: number; to: number; expression: string }[] = [];
  for (let from = 0; from < input.shape.length;) {
    const falls = axes.includes(from);
    let to = from;
    while (to + 1 < input.shape.length && axes.includes(to + 1) === falls) to++;
    const list = falls ? axes : kept;
    runs.push({ from, to, expression: (falls ? inner : outer).part(list.indexOf(from), list.indexOf(to)) });
    from = to + 1;
  }
  const value = body.value(input, Index.runs(input.shape, runs, body.bindIndex));
  const reads = body.reads;
  const { kernels, temps } = reduceKernels(
    {
      name: chainName(root, roots),
      library: librarySource(body.functions),
      reads: reads.map((v) => stored(v.dtype)),
      by,
      type: input.dtype as "f32" | "i32" | "u32",
      outputs: root.size,
      length: size(axes.map((k) => input.shape[k]!)),
      contiguous: axes.includes(input.shape.length - 1),
      before: body.before,
      body: body.lines,
      value,
    },
    target,
  );
  const all = reads.map((_, k): Slot => ({ input: k }));
  return {
    temps,
    dispatches: kernels.map(({ kernel, from, to }) => ({ kernel, reads: from === "inputs" ? all : from, writes: to })),
    reads,
    aligned: [],
  };
}

const dispatch = (kernel: Kernel, reads: readonly Value[]): Dispatch => ({
  kernel,
  reads: reads.map((_, k) => ({ input: k })),
  writes: [{ output: 0 }],
});

/** For profiles: the operators that a kernel computes, root first. */
function chainName(root: Value, roots: Roots): string {
  const names = [root.op!.name];
  const visit = (v: Value): void => {
    for (const x of v.inputs) {
      if (names.length >= 4) return;
      if (x.leaf !== null || roots.has(x)) continue;
      if (!isView(x) && x.op!.lowering.kind === "map" && x.op!.lowering.cost > 0) names.push(x.op!.name);
      visit(x);
    }
  };
  visit(root);
  return names.join("+");
}
