/** Emits the kernel of an elementwise or movement value, with everything fused into it. */
import { call, type Expr, infix, select, u32, variable } from "../../core/expr.ts";
import { Index } from "../../core/index_map.ts";
import { size } from "../../core/shape.ts";
import { mapKernel } from "../../../shaders/map.wgsl.ts";
import { chunkElements, type Dispatch, type Kernel, type Slot, type Target } from "../../../shaders/types.ts";
import { coneOf, type Materialized } from "../graph/cone.ts";
import type { Value } from "../graph/lower.ts";
import { Body, type BodyOptions, type Span, stored } from "./body.ts";
import { chainName, type Emitted, slotsOf } from "./emitted.ts";
import { Lifted } from "./lift.ts";
import { ROWS_TOGETHER, type SharedRows, shareRows } from "./shared_rows.ts";
import { printStatements, type Statement, tidied, walkStatements } from "./statements.ts";

/** The kernel of an elementwise or movement root. With `alias` the result overwrites that value. */
export function emitMap(
  root: Value,
  materialized: Materialized,
  target: Target,
  alias: Value | null = null,
  isBounded = false,
): Emitted {
  const most = chunkElements(target);
  if (root.size > most) {
    // One kernel per chunk of the result.
    const reads: Value[] = [];
    const dispatches: Dispatch[] = [];
    for (let chunk = 0; chunk * most < root.size; chunk++) {
      const span = { chunk, from: chunk * most, to: Math.min(root.size, (chunk + 1) * most) };
      const map = mapBody(root, materialized, target, 1, { alias, span, isBounded });
      for (const v of map.body.reads) if (!reads.includes(v)) reads.push(v);
      const kernel = mapKernelOf(root, materialized, target, map, 1, span);
      dispatches.push({ kernel, reads: slotsOf(map.body, reads), writes: [{ output: 0, chunk }] });
    }
    return { temps: [], dispatches, reads };
  }
  const cone = coneOf(root, materialized);
  const isPlain = !isBounded && cone.reads.every((v) => v.size > 0 && v.size <= most);
  const reads = isPlain ? cone.reads.filter((v) => v !== alias) : null;
  const options = { alias, isBounded, ...(reads && { reads }) };
  if (reads) {
    const emit = (): Kernel => wholeKernel(root, materialized, target, options).kernel;
    const kernel = new LazyKernel(chainName(root, materialized), emit);
    const slots = reads.map((_, k): Slot => ({ input: k }));
    return { temps: [], dispatches: [{ kernel, reads: slots, writes: [{ output: 0 }] }], reads };
  }
  const { kernel, body } = wholeKernel(root, materialized, target, options);
  return {
    temps: [],
    dispatches: [{ kernel, reads: slotsOf(body, body.reads), writes: [{ output: 0 }] }],
    reads: body.reads,
  };
}

/** A kernel that is emitted on first access to anything but its name. */
class LazyKernel implements Kernel {
  readonly name: string;
  readonly #emit: () => Kernel;
  #emitted: Kernel | null = null;

  constructor(name: string, emit: () => Kernel) {
    this.name = name;
    this.#emit = emit;
  }

  get #kernel(): Kernel {
    return (this.#emitted ??= this.#emit());
  }

  readonly source = (): string => this.#kernel.source();

  get sizes(): Kernel["sizes"] {
    return this.#kernel.sizes;
  }

  get workgroups(): Kernel["workgroups"] {
    return this.#kernel.workgroups;
  }

  get flops(): number {
    return this.#kernel.flops ?? 0;
  }
}

/** The kernel of a result that fits in one binding. */
function wholeKernel(
  root: Value,
  materialized: Materialized,
  target: Target,
  options: { alias: Value | null; isBounded: boolean; reads?: readonly Value[] },
): { readonly kernel: Kernel; readonly body: Body } {
  const flat = mapBody(root, materialized, target, 1, options);
  const inner = rowLength(root, flat.body);
  const map = inner > 1 ? mapBody(root, materialized, target, inner, options) : flat;
  return { kernel: mapKernelOf(root, materialized, target, map, inner, null), body: map.body };
}

interface MapBody {
  readonly body: Body;
  /** The offset of the element being written. */
  readonly here: Expr;
  readonly result: Expr;
}

/** The statements of the loop; the last one stores the result. */
function storing(root: Value, { body, here, result }: MapBody, span: Span | null): Statement[] {
  const value = root.dtype === "bool"
    ? select(u32(0), u32(1), result)
    : root.dtype === "f16"
    ? call("f16", result)
    : result;
  const index = span ? infix(here, "-", u32(span.from)) : here;
  return [...body.statements, { kind: "store", buffer: "result", index, value }];
}

const sharedRowsOf = (root: Value, rows: MapBody, inner: number, target: Target): SharedRows | null =>
  shareRows(root.size / inner, inner, rows.body.before, storing(root, rows, null), target);

function mapKernelOf(
  root: Value,
  materialized: Materialized,
  target: Target,
  map: MapBody,
  inner: number,
  span: Span | null,
): Kernel {
  const { body } = map;
  if (root.dtype === "f16") body.half = true;
  const shared = inner > 1 ? sharedRowsOf(root, map, inner, target) : null;
  return mapKernel(
    {
      name: chainName(root, materialized),
      reads: body.types,
      result: stored(root.dtype),
      rows: inner > 1 ? root.size / inner : 1,
      rowsTogether: shared ? ROWS_TOGETHER : 1,
      length: span ? span.to : inner > 1 ? inner : root.size,
      ...(span ? { from: span.from } : {}),
      operations: body.operations,
      code: () => {
        const rows = root.size / inner;
        const lifted = new Lifted({ k: span ? span.to : inner > 1 ? inner : root.size, o: rows, ...eachRow(rows) });
        const { lists } = tidied([shared?.before ?? body.before, shared?.body ?? storing(root, map, span)], []);
        const before = lifted.statements(lists[0], true);
        const statements = lifted.statements(lists[1]);
        return {
          declarations: body.declarations([map.result]),
          before: body.unloaded([map.result]) + printStatements(before),
          body: printStatements(statements),
          numbers: lifted,
        };
      },
    },
    target,
  );
}

/** The bounds of the names of rows that are computed together. */
const eachRow = (rows: number): Record<string, number> =>
  Object.fromEntries(Array.from({ length: ROWS_TOGETHER }, (_, t) => [`o_${t}`, rows]));

/** The statements for element `k` of row `o`; `inner` 1 means a single row. */
function mapBody(
  root: Value,
  materialized: Materialized,
  target: Target,
  inner: number,
  options: BodyOptions,
): MapBody {
  const body = new Body(root, materialized, target, "k", options);
  let index = Index.linear(root.shape, variable("k"), body.bindIndex);
  if (options.span) index = index.bounded(options.span.from, options.span.to);
  if (inner > 1) {
    const axis = innerAxis(root, inner);
    index = Index.runs(
      root.shape,
      [
        { from: 0, to: axis - 1, expression: variable("o") },
        { from: axis, to: root.shape.length - 1, expression: variable("k") },
      ],
      body.bindIndex,
    );
  }
  const here = index.offset;
  return { body, here, result: body.value(root, index) };
}

/** The first of the trailing axes that together have `inner` elements; 0 if none do. */
function innerAxis(root: Value, inner: number): number {
  for (let axis = root.shape.length - 1; axis > 0; axis--) if (size(root.shape.slice(axis)) === inner) return axis;
  return 0;
}

/** Shorter rows leave lanes idle; more or longer rows exceed a grid dimension. */
const SHORTEST_ROW = 64;
const MOST_ROWS = 65535;
const LONGEST_ROW = 64 * 65535;

/**
 * Divisions cost more than the arithmetic of most chains. If indices are divided by the size of trailing axes, for
 * example for a per-channel value, those axes get their own grid dimension, which makes the division unnecessary.
 */
function rowLength(root: Value, body: Body): number {
  let best = 1;
  walkStatements(body.statements, (e) => {
    if (e.kind !== "infix" || e.operator !== "/" || e.left.kind !== "variable" || e.left.name !== "k") return;
    const n = e.right.kind === "literal" ? e.right.value : 0;
    const fits = n >= SHORTEST_ROW && n <= LONGEST_ROW && root.size / n <= MOST_ROWS && innerAxis(root, n) > 0;
    if (fits && (best === 1 || n < best)) best = n;
  });
  return best;
}
