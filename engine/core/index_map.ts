/**
 * Index expressions: where in a tensor a fused kernel reads, with one expression per run of axes. Movement operators
 * map an output index to an input index; runs that stay together cost one division, not one per axis.
 */
import { type Expr, infix, isAtom, isZero, print, u32 } from "./expr.ts";
import { sameShape, type Shape, size } from "./shape.ts";

/** Axes from..to (inclusive), flattened row-major, are at `expression` (u32). */
interface Segment {
  readonly from: number;
  readonly to: number;
  readonly expression: Expr;
}

/** Binds an expression to a name once, so that equal expressions share it. */
export type BindIndex = (expression: Expr) => Expr;

const ZERO = u32(0);
const times = (a: Expr, n: number): Expr => (n === 1 ? a : isZero(a) ? ZERO : infix(a, "*", u32(n)));
const plus = (a: Expr, b: Expr): Expr => (isZero(a) ? b : isZero(b) ? a : infix(a, "+", b));

export class Index {
  readonly shape: Shape;
  /** Known bounds on the offsets, if tighter than the whole tensor. */
  readonly span: { readonly from: number; readonly to: number } | null;
  /** Whether coordinates were rewritten, as those of a slice. */
  readonly isMoved: boolean;
  readonly #segments: readonly Segment[];
  readonly #bind: BindIndex;

  private constructor(
    shape: Shape,
    segments: readonly Segment[],
    bind: BindIndex,
    { span = null, isMoved = false }: { span?: Index["span"]; isMoved?: boolean } = {},
  ) {
    this.shape = shape;
    this.span = span;
    this.isMoved = isMoved;
    this.#segments = segments.map((s) => ({
      ...s,
      expression: isAtom(s.expression) ? s.expression : bind(s.expression),
    }));
    this.#bind = bind;
  }

  /** The index at a row-major offset. */
  static linear(shape: Shape, offset: Expr, bind: BindIndex): Index {
    const empty = shape.length === 0;
    return new Index(shape, empty ? [] : [{ from: 0, to: shape.length - 1, expression: offset }], bind);
  }

  /** The index with the given runs of axes, which must cover all axes in order. */
  static runs(shape: Shape, runs: readonly { from: number; to: number; expression: Expr }[], bind: BindIndex): Index {
    return new Index(shape, runs, bind);
  }

  /** The same index with known bounds on its offset. */
  bounded(from: number, to: number): Index {
    return new Index(this.shape, this.#segments, this.#bind, { span: { from, to }, isMoved: this.isMoved });
  }

  /** Equal keys mean equal indices. */
  get key(): string {
    return this.#segments.map((s) => `${s.from}:${s.to}=${print(s.expression)}`).join(",");
  }

  /** The flattened index within axes a..b. */
  part(a: number, b: number): Expr {
    let value = ZERO;
    for (const segment of this.#segments) {
      const from = Math.max(a, segment.from);
      const to = Math.min(b, segment.to);
      const count = from <= to ? size(this.shape.slice(from, to + 1)) : 1;
      if (count === 1) continue;
      const after = size(this.shape.slice(to + 1, segment.to + 1));
      const before = size(this.shape.slice(segment.from, from));
      let piece = segment.expression;
      if (!isZero(piece)) {
        if (after > 1) piece = this.#bind(infix(piece, "/", u32(after)));
        if (before > 1) piece = this.#bind(infix(piece, "%", u32(count)));
      }
      value = plus(times(value, count), piece);
      if (!isAtom(value)) value = this.#bind(value);
    }
    return value;
  }

  /** The row-major offset. */
  get offset(): Expr {
    return this.part(0, this.shape.length - 1);
  }

  /** The same offset in another shape with the same number of elements. */
  reshape(shape: Shape): Index {
    if (sameShape(shape, this.shape)) return this;
    // Segments survive if their boundaries are also boundaries of the new shape.
    const runs: Segment[] = [];
    let axis = 0;
    for (const segment of this.#segments) {
      const count = size(this.shape.slice(segment.from, segment.to + 1));
      const from = axis;
      let product = 1;
      while (axis < shape.length && (product < count || shape[axis] === 1)) product *= shape[axis++];
      if (product !== count) {
        return new Index(shape, [{ from: 0, to: shape.length - 1, expression: this.offset }], this.#bind, this);
      }
      if (axis > from) runs.push({ from, to: axis - 1, expression: count === 1 ? ZERO : segment.expression });
    }
    if (axis < shape.length) runs.push({ from: axis, to: shape.length - 1, expression: ZERO });
    return new Index(shape, runs, this.#bind, this);
  }

  /** Maps an index into a broadcast result to the tensor that was broadcast. */
  unbroadcast(shape: Shape): Index {
    if (sameShape(shape, this.shape)) return this;
    const lead = this.shape.length - shape.length;
    const kept = (k: number): boolean => shape[k] === this.shape[k + lead];
    const starts = new Set(this.#segments.map((s) => s.from));
    return this.#group(
      shape,
      (k) => k > 0 && kept(k) === kept(k - 1) && !starts.has(k + lead),
      (from, to) => (kept(from) ? this.part(from + lead, to + lead) : ZERO),
    );
  }

  /** Maps an index into the transposed tensor to `shape`; axis k of the result was axis axes[k]. */
  untranspose(shape: Shape, axes: readonly number[]): Index {
    const to = axes.map((_, k) => axes.indexOf(k));
    return this.#group(
      shape,
      (k) => k > 0 && to[k] === to[k - 1] + 1,
      (a, b) => this.part(to[a], to[b]),
    );
  }

  /** Rewrites coordinates per axis; null keeps one. */
  along(shape: Shape, rewrite: readonly (((coordinate: Expr) => Expr) | null)[]): Index {
    const starts = new Set(this.#segments.map((s) => s.from));
    return this.#group(
      shape,
      (k) => k > 0 && rewrite[k] === null && rewrite[k - 1] === null && !starts.has(k),
      (a, b) => (rewrite[a] === null ? this.part(a, b) : rewrite[a](this.part(a, a))),
      true,
    );
  }

  /** The index restricted to axes axis .. axis + shape.length - 1. */
  within(shape: Shape, axis: number): Index {
    return Index.linear(shape, this.part(axis, axis + shape.length - 1), this.#bind);
  }

  /** The index into `shape`, where one axis with index `expression` replaces `count` axes of this shape. */
  replace(shape: Shape, axis: number, count: number, expression: Expr): Index {
    return this.#group(
      shape,
      () => false,
      (k) => (k === axis ? expression : k < axis ? this.part(k, k) : this.part(k + count - 1, k + count - 1)),
    );
  }

  #group(
    shape: Shape,
    joins: (axis: number) => boolean,
    value: (from: number, to: number) => Expr,
    isMoved = this.isMoved,
  ): Index {
    const runs: Segment[] = [];
    for (let k = 0; k < shape.length;) {
      let end = k;
      while (end + 1 < shape.length && joins(end + 1)) end++;
      runs.push({ from: k, to: end, expression: value(k, end) });
      k = end + 1;
    }
    return new Index(shape, runs, this.#bind, { isMoved });
  }
}
