/** scan and foriLoop: loops whose number of steps is known when they are traced. */
import { check, checkFlag, checkFunction, checkOptions, ifTraced, show } from "../../core/errors.ts";
import { withinStep } from "../../core/precision.ts";
import { addPrints, collectPrints } from "../../ops/prints.ts";
import { isWatching, type Tensor } from "../../core/tensor.ts";
import { refusePromise } from "../../core/tracing.ts";
import * as tree from "../../core/tree.ts";
import { scalar } from "../../ops/elementwise/creation.ts";
import { add, mul } from "../../ops/elementwise/elementwise.ts";
import { concat, stack } from "../../ops/shape/concat.ts";
import { reshape } from "../../ops/shape/reshape.ts";
import { range } from "../../ops/split.ts";
import { close } from "../closed.ts";
import { alikeLeaves, tensorsOf } from "./carry.ts";
import { makeLoop, type StepFunction } from "./loop.ts";

export interface LoopOptions {
  /**
   * Whether reverse mode keeps the carry only at the beginning of each segment and computes the others again, which
   * needs memory for about 2 sqrt(length) carries instead of `length`, and one more forward pass. A number gives the
   * number of segments. Default: false.
   */
  checkpoint?: boolean | number;
}

export interface ScanOptions extends LoopOptions {
  /** Number of steps; required if xs has no tensors. */
  length?: number;
  /** Whether the steps go from the last slice to the first. Default: false. */
  reverse?: boolean;
}

/**
 * A loop over the leading axis of xs, as jax.lax.scan: carry, y = f(carry, xs[i]) for each i. f is traced once, so the
 * program does not grow with the number of steps. Differentiable in both modes and to any order; reverse mode keeps
 * the carry of every step, or with `checkpoint` of few, and computes the rest again.
 *
 * @param f (carry, x) => [next carry, y]; the next carry has the structure, shapes and dtypes of the carry
 * @param init the first carry, a tree of tensors
 * @param xs a tree of tensors with the same leading axis, whose slices f gets; null for none
 * @param options.length number of steps, if xs has no tensors
 * @param options.reverse go from the last slice to the first; y of step i stays at index i
 * @param options.checkpoint keep few carries for reverse mode; a number gives the number of segments
 * @returns [last carry, ys], where ys is the tree that f returns with its tensors stacked along a new axis 0
 * @throws VoxgradError for tensors of xs of different lengths, and if f changes the structure, a shape or a dtype of
 *   the carry, naming the path
 * @example
 * ```ts
 * import { grad, scan, type Tensor, tensor } from "voxgrad";
 *
 * // The running product, and its last value.
 * const product = (xs: Tensor) => scan((p: Tensor, x: Tensor) => [p.mul(x), p.mul(x)], tensor(1), xs);
 * const [last, all] = product(tensor([2, 3, 4]));
 * await all.array(); // [2, 6, 24]
 * await grad((xs: Tensor) => product(xs)[0])(tensor([2, 3, 4])).array(); // [12, 8, 6]
 * ```
 */
export function scan<C, X, Y>(
  f: (carry: C, x: X) => readonly [carry: C, y: Y],
  init: C,
  xs: X,
  options: ScanOptions = {},
): [carry: C, ys: Y] {
  checkFunction("scan", "the first argument", f);
  checkOptions("scan", options, ["length", "reverse", "checkpoint"]);
  checkFlag("scan", "reverse", options.reverse);
  const carries = tensorsOf("scan", "the first carry", init);
  const slices = tensorsOf("scan", "xs", xs);
  const length = lengthOf(xs, options.length);
  let like: unknown = null;
  const step: StepFunction = (_, carried, sliced) => {
    const given: unknown = f(tree.rebuild(init, carried) as C, tree.rebuild(xs, sliced) as X);
    refusePromise("scan", given);
    check(
      Array.isArray(given) && given.length === 2,
      "scan",
      () => `the function gives [carry, y], got ${show(given)}`,
    );
    const [next, y] = given as [unknown, unknown];
    like = y;
    return { carries: nextCarries("scan", init, next), kept: tensorsOf("scan", "the y of a step", y) };
  };
  const { reverse = false } = options;
  const done = repeat("scan", { length, reverse, carries, slices, checkpoint: options.checkpoint }, step);
  return [tree.rebuild(init, done.carries) as C, tree.rebuild(like, done.kept) as Y];
}

const nextCarries = (name: string, like: unknown, given: unknown): Tensor[] =>
  alikeLeaves(name, "the carry that the function returns", like, given, "with which the step began");

/** The common length of the tensors of xs. */
function lengthOf(xs: unknown, given: unknown): number {
  check(
    given === undefined || (Number.isInteger(given) && (given as number) >= 0),
    "scan",
    () => `length is an integer >= 0, got ${show(given)}${ifTraced(given)}`,
  );
  let length = given as number | undefined;
  tree.map<unknown, void>(xs, (leaf, path) => {
    const t = leaf as Tensor;
    const what = `xs${path && ` at ${path}`}`;
    check(t.rank > 0, "scan", () => `${what} is ${t}, which has no axis 0 to go along`);
    length ??= t.shape[0];
    check(
      t.shape[0] === length,
      "scan",
      () =>
        `${what} is ${t}: ${t.shape[0]} slices, ${given === undefined ? "other tensors have" : "length is"} ${length}`,
    );
  });
  check(length !== undefined, "scan", () => "xs has no tensors, so options.length gives the number of steps");
  return length;
}

interface Repeated {
  readonly length: number;
  readonly reverse: boolean;
  readonly carries: readonly Tensor[];
  readonly slices: readonly Tensor[];
  readonly checkpoint: boolean | number | undefined;
}

type Repeating = ReturnType<StepFunction>;

/** A loop that is part of the function being traced. */
function loop(...args: Parameters<typeof makeLoop>): Repeating {
  const done = makeLoop(...args);
  addPrints(done.prints);
  return done;
}

/** Runs `step` for each slice, in segments for checkpoint. The results are those of one loop. */
export function repeat(name: string, options: Repeated, given: StepFunction): Repeating {
  const { length, carries, slices, checkpoint } = options;
  check(
    checkpoint === undefined || typeof checkpoint === "boolean" ||
      (Number.isInteger(checkpoint) && checkpoint >= 1 && checkpoint <= Math.max(1, length)),
    name,
    () => `checkpoint is true, false or a number of segments up to the ${length} steps, got ${show(checkpoint)}`,
  );
  const step: StepFunction = (...args) => withinStep(() => given(...args));
  if (length === 0) {
    // Only the shapes of what a step keeps are of interest.
    let kept: readonly Tensor[] = [];
    close(name, [{ shape: [], dtype: "i32" }, ...carries, ...slices.map(sliceLike)], true, ([index, ...rest]) => {
      const traced = collectPrints(() => step(index, rest.slice(0, carries.length), rest.slice(carries.length)));
      kept = traced.result.kept;
      return kept;
    });
    return { carries, kept: kept.map(({ shape, dtype }) => scalar(0, dtype, [0, ...shape])) };
  }
  if (isWatching()) return unrolled(options, step);
  const segments = checkpoint === true ? segmentsOf(length) : Number(checkpoint ?? 0);
  if (segments <= 1 || segments >= length) return loop(options, step);
  return inSegments(options, segments, step);
}

const sliceLike = ({ shape, dtype }: Tensor): { shape: readonly number[]; dtype: Tensor["dtype"] } => ({
  shape: shape.slice(1),
  dtype,
});

/** One copy of the step for each slice, so that detectAnomaly sees every value. */
function unrolled({ length, reverse, carries, slices }: Repeated, step: StepFunction): Repeating {
  const kept: (readonly Tensor[])[] = [];
  for (let n = 0; n < length; n++) {
    const k = reverse ? length - 1 - n : n;
    const given = step(
      scalar(k, "i32"),
      carries,
      slices.map((x) => reshape(range(x, 0, k, k + 1), { shape: x.shape.slice(1) })),
    );
    carries = given.carries;
    kept[k] = given.kept;
  }
  return { carries, kept: kept[0].map((_, j) => stack(kept.map((list) => list[j]), { axis: 0 })) };
}

/** A divisor near the square root if there is one, so that no steps are left over. */
function segmentsOf(length: number): number {
  const root = Math.floor(Math.sqrt(length));
  for (let n = root; 2 * n > root; n--) if (length % n === 0) return n;
  return root;
}

/** A loop over segments, each of which is a loop, and one over the steps that are left. */
function inSegments(options: Repeated, segments: number, step: StepFunction): Repeating {
  const { length, reverse, carries, slices } = options;
  const each = Math.floor(length / segments);
  const rest = length - segments * each;
  // What is left comes last in the order of the steps.
  const [first, from] = reverse ? [rest, 0] : [0, segments * each];
  const whole = loop(
    {
      length: segments,
      reverse,
      carries,
      slices: slices.map((x) =>
        reshape(range(x, 0, first, first + segments * each), { shape: [segments, each, ...x.shape.slice(1)] })
      ),
    },
    (segment, carried, parts) => {
      const start = add(mul(segment, each), first);
      const shifted: StepFunction = (index, ...others) => step(add(start, index), ...others);
      return loop({ length: each, reverse, carries: carried, slices: parts }, shifted);
    },
  );
  const joined = whole.kept.map((t) => reshape(t, { shape: [segments * each, ...t.shape.slice(2)] }));
  if (rest === 0) return { carries: whole.carries, kept: joined };
  const last = loop(
    { length: rest, reverse, carries: whole.carries, slices: slices.map((x) => range(x, 0, from, from + rest)) },
    (index, ...others) => step(add(index, from), ...others),
  );
  const kept = joined.map((t, k) => concat(reverse ? [last.kept[k], t] : [t, last.kept[k]], { axis: 0 }));
  return { carries: last.carries, kept };
}

/**
 * carry = body(i, carry) for i from start to end - 1, as jax.lax.fori_loop: a scan without slices.
 *
 * @param start the first i, an integer
 * @param end an integer; if it is not above start, there are no steps
 * @param body (i, carry) => next carry; i is an i32 scalar, and the next carry has the structure, shapes and dtypes of
 *   the carry
 * @param init the first carry, a tree of tensors
 * @param options.checkpoint keep few carries for reverse mode, as in scan
 * @returns the last carry
 * @throws VoxgradError if body changes the structure, a shape or a dtype of the carry, naming the path
 * @example
 * ```ts
 * import { foriLoop, type Tensor, tensor } from "voxgrad";
 *
 * // 1 / 1 + 1 / 2 + 1 / 3 + 1 / 4
 * const sum = foriLoop(1, 5, (i, sum: Tensor) => sum.add(tensor(1).div(i)), tensor(0));
 * const value = await sum.item(); // 2.0833
 * ```
 */
export function foriLoop<C>(
  start: number,
  end: number,
  body: (i: Tensor, carry: C) => C,
  init: C,
  options: LoopOptions = {},
): C {
  checkFunction("foriLoop", "body", body);
  checkOptions("foriLoop", options, ["checkpoint"]);
  for (const [name, value] of Object.entries({ start, end })) {
    check(
      Number.isInteger(value) && Math.abs(value) < 2 ** 31,
      "foriLoop",
      () => `${name} is an integer, got ${show(value)}${ifTraced(value)}`,
    );
  }
  const carries = tensorsOf("foriLoop", "the first carry", init);
  const { checkpoint } = options;
  const done = repeat(
    "foriLoop",
    { length: Math.max(0, end - start), reverse: false, carries, slices: [], checkpoint },
    (index, carried) => ({
      carries: nextCarries("foriLoop", init, body(add(index, start), tree.rebuild(init, carried) as C)),
      kept: [],
    }),
  );
  return tree.rebuild(init, done.carries) as C;
}
