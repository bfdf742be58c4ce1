/**
 * Where in a tensor a fused kernel reads: an expression for each run of axes. Movement operators turn the place in
 * their output into the place in their input; runs that stay together cost one division, not one per axis.
 */
import { type Expr, infix, isAtom, isZero, print, u32 } from "./expr.ts";
import { sameShape, type Shape, size } from "./shape.ts";

/** Axes from..to (inclusive), flattened row-major, are at `expression` (u32). */
interface Segment {
  readonly from: number;
  readonly to: number;
  readonly expression: Expr;
}

/** Gives an expression a name of its own once, so that equal expressions share it. */
export type BindIndex = (expression: Expr) => Expr;

const ZERO = u32(0);
const times = (a: Expr, n: number): Expr => (n === 1 ? a : isZero(a) ? ZERO : infix(a, "*", u32(n)));
const plus = (a: Expr, b: Expr): Expr => (isZero(a) ? b : isZero(b) ? a : infix(a, "+", b));

export class Index {
  readonly shape: Shape;
  /** Offsets between which all places of a kernel lie, where they are known to be fewer than all. */
  readonly span: { readonly from: number; readonly to: number } | null;
  readonly #segments: readonly Segment[];
  readonly #bind: BindIndex;

  private constructor(shape: Shape, segments: readonly Segment[], bind: BindIndex, span: Index["span"] = null) {
    this.shape = shape;
    this.span = span;
    this.#segments = segments.map((s) => ({
      ...s,
      expression: isAtom(s.expression) ? s.expression : bind(s.expression),
    }));
    this.#bind = bind;
  }

  /** The place at a row-major offset. */
  static linear(shape: Shape, offset: Expr, bind: BindIndex): Index {
    const empty = shape.length === 0;
    return new Index(shape, empty ? [] : [{ from: 0, to: shape.length - 1, expression: offset }], bind);
  }

  /** The place with runs of axes given; `runs` cover all axes in order. */
  static runs(shape: Shape, runs: readonly { from: number; to: number; expression: Expr }[], bind: BindIndex): Index {
    return new Index(shape, runs, bind);
  }

  /** The same places, of which it is known that they lie between two offsets. */
  bounded(from: number, to: number): Index {
    return new Index(this.shape, this.#segments, this.#bind, { from, to });
  }

  /** Equal keys, equal places. */
  get key(): string {
    return this.#segments.map((s) => `${s.from}:${s.to}=${print(s.expression)}`).join(",");
  }

  /** The flattened position within axes a..b. */
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

  /** The same offset in another shape of the same size. */
  reshape(shape: Shape): Index {
    if (sameShape(shape, this.shape)) return this;
    // Segments survive where their boundaries are boundaries of the new shape too.
    const runs: Segment[] = [];
    let axis = 0;
    for (const segment of this.#segments) {
      const count = size(this.shape.slice(segment.from, segment.to + 1));
      const from = axis;
      let product = 1;
      while (axis < shape.length && (product < count || shape[axis] === 1)) product *= shape[axis++];
      if (product !== count) {
        return new Index(shape, [{ from: 0, to: shape.length - 1, expression: this.offset }], this.#bind, this.span);
      }
      if (axis > from) runs.push({ from, to: axis - 1, expression: count === 1 ? ZERO : segment.expression });
    }
    if (axis < shape.length) runs.push({ from: axis, to: shape.length - 1, expression: ZERO });
    return new Index(shape, runs, this.#bind, this.span);
  }

  /** From a place in a broadcast result to the place in the tensor that was broadcast. */
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

  /** From a place in the transposed tensor to the place in `shape`; axis k of the result was axis axes[k]. */
  untranspose(shape: Shape, axes: readonly number[]): Index {
    const to = axes.map((_, k) => axes.indexOf(k));
    return this.#group(
      shape,
      (k) => k > 0 && to[k] === to[k - 1] + 1,
      (a, b) => this.part(to[a], to[b]),
    );
  }

  /** Axis by axis: null keeps the coordinate, a function rewrites it. */
  along(shape: Shape, rewrite: readonly (((coordinate: Expr) => Expr) | null)[]): Index {
    const starts = new Set(this.#segments.map((s) => s.from));
    return this.#group(
      shape,
      (k) => k > 0 && rewrite[k] === null && rewrite[k - 1] === null && !starts.has(k),
      (a, b) => (rewrite[a] === null ? this.part(a, b) : rewrite[a](this.part(a, a))),
    );
  }

  /** The place within the axes axis .. axis + shape.length - 1 alone. */
  within(shape: Shape, axis: number): Index {
    return Index.linear(shape, this.part(axis, axis + shape.length - 1), this.#bind);
  }

  /** The place in `shape`, where one axis at `expression` stands for `count` axes of this shape. */
  replace(shape: Shape, axis: number, count: number, expression: Expr): Index {
    return this.#group(
      shape,
      () => false,
      (k) => (k === axis ? expression : k < axis ? this.part(k, k) : this.part(k + count - 1, k + count - 1)),
    );
  }

  #group(shape: Shape, joins: (axis: number) => boolean, value: (from: number, to: number) => Expr): Index {
    const runs: Segment[] = [];
    for (let k = 0; k < shape.length;) {
      let end = k;
      while (end + 1 < shape.length && joins(end + 1)) end++;
      runs.push({ from: k, to: end, expression: value(k, end) });
      k = end + 1;
    }
    return new Index(shape, runs, this.#bind);
  }
}
