/** Counter-based random numbers: the same key gives the same numbers, independent of earlier draws. */
import { check, checkOptions, fail, ifTraced, show } from "../../core/errors.ts";
import { isFloat } from "../../core/dtype.ts";
import { call, type Expr, fn, infix, member, select, u32 } from "../../core/expr.ts";
import { Index } from "../../core/index_map.ts";
import type { Emit, Op } from "../../core/op.ts";
import { checkShape, type Shape } from "../../core/shape.ts";
import { node, Tensor } from "../../core/tensor.ts";
import { arange, tensor } from "./creation.ts";
import { add, equal, less, logicalAnd, logicalOr, mul, sub } from "./elementwise.ts";
import { sum } from "../reduce/reduce.ts";
import { reshape } from "../shape/reshape.ts";
import { slice } from "../shape/slice.ts";

/** Number of leading output axes that index keys. */
const lead = (e: Emit<unknown>): number => e.inputs[0].shape.length - 1;

/**
 * The Threefry block of the key (input 0) for a counter: the index within the axes after those of the keys. The second
 * counter word separates draws (0) from splits (1).
 */
function block(e: Emit<unknown>, index: Index, counter: Expr, stream: 0 | 1): Expr {
  const { shape } = e.inputs[0];
  const runs = [{ from: 0, to: shape.length - 2, expression: index.part(0, lead(e) - 1) }];
  const word = (k: number): Expr => {
    const last = { from: shape.length - 1, to: shape.length - 1, expression: u32(k) };
    const place = Index.runs(shape, shape.length > 1 ? [...runs, last] : [last], (x) => e.bind(x, "u32"));
    return e.input(0, place);
  };
  return e.bind(
    fn("vg_threefry2x32", call("vec2u", word(0), word(1)), call("vec2u", counter, u32(stream))),
    "vec2u",
  );
}

function generator(name: string, value: (word: Expr) => Expr): Op {
  const op: Op = {
    name,
    lowering: {
      kind: "map",
      cost: 30,
      emit(e, index) {
        const counter = index.part(lead(e), e.output.shape.length - 1);
        return e.bind(value(member(block(e, index, counter, 0), "x")), e.output.dtype);
      },
    },
    vjp: null,
    batch: (c) => node(op, [c.inputs[0]], c.attrs, [c.size, ...c.output.shape], c.output.dtype),
  };
  return op;
}
const bitsOp = generator("random.bits32", (word) => word);
const uniformOp = generator("random.uniform", (word) => fn("vg_uniform", word));
const normalOp = generator("random.normal", (word) => fn("vg_normal", word));

function checkKey(name: string, key: unknown): asserts key is Tensor {
  check(
    key instanceof Tensor && key.dtype === "u32" && key.rank === 1 && key.shape[0] === 2,
    `random.${name}`,
    () => `the key is a u32 tensor of shape [2] from random.key or random.split, got ${show(key)}`,
  );
}

function draw(op: Op, name: string, key: Tensor, shape: Shape, dtype: "f32" | "u32"): Tensor {
  checkKey(name, key);
  checkShape(`random.${name}`, shape);
  return node(op, [key], {}, shape, dtype);
}

/**
 * A key from a seed, an integer in [0, 2^53).
 *
 * @example
 * ```ts
 * import { random } from "voxgrad";
 *
 * const key = random.key(42);
 * const noise = random.normal(key, { shape: [2, 3] }); // the same in every run
 * ```
 */
export function key(seed: number): Tensor {
  check(
    Number.isSafeInteger(seed) && seed >= 0,
    "random.key",
    () => `the seed is an integer from 0 to 2^53 - 1, got ${show(seed)}${ifTraced(seed)}`,
  );
  return tensor(new Uint32Array([seed >>> 0, Math.floor(seed / 2 ** 32)]));
}

/** Maximum number of keys of one split, since each is a separate tensor. */
const MOST_KEYS = 65536;

/**
 * `count` independent keys (default: 2); use each key once.
 *
 * @example
 * ```ts
 * import { random } from "voxgrad";
 *
 * const [weightKey, noiseKey] = random.split(random.key(1));
 * const weight = random.normal(weightKey, { shape: [8, 8] });
 * const noise = random.uniform(noiseKey, { shape: [8] });
 * ```
 */
export function split(parent: Tensor, count = 2): Tensor[] {
  check(
    Number.isInteger(count) && count > 0 && count <= MOST_KEYS,
    "random.split",
    () => `count is an integer from 1 to ${MOST_KEYS}, got ${show(count)}${ifTraced(count)}`,
  );
  checkKey("split", parent);
  const words = node(splitOp, [parent], {}, [count, 2], "u32");
  return Array.from(
    { length: count },
    (_, k) => reshape(slice(words, { start: [k, 0], end: [k + 1, 2] }), { shape: [2] }),
  );
}

const splitOp: Op = {
  name: "random.split",
  lowering: {
    kind: "map",
    cost: 30,
    emit(e, index) {
      const [child, word] = [lead(e), lead(e) + 1];
      const words = block(e, index, index.part(child, child), 1);
      return e.bind(select(member(words, "y"), member(words, "x"), infix(index.part(word, word), "==", u32(0))), "u32");
    },
  },
  vjp: null,
  batch: (c) => node(splitOp, [c.inputs[0]], c.attrs, [c.size, ...c.output.shape], c.output.dtype),
};

/** A distribution parameter: a number that passes the check, or a scalar tensor. */
function checkParameter(
  name: string,
  what: string,
  value: unknown,
  passes: (value: number) => boolean,
  wanted: string,
): void {
  check(
    value instanceof Tensor
      ? value.size === 1 && value.rank === 0 && isFloat(value.dtype)
      : typeof value === "number" && passes(value),
    name,
    () => `${what} is ${wanted} or a scalar tensor, got ${show(value)}`,
  );
}
const anyNumber = (value: number): boolean => !Number.isNaN(value);

/**
 * Uniform in [min, max), default: [0, 1), in steps of 2^-24 of the range.
 *
 * @example
 * ```ts
 * import { random } from "voxgrad";
 *
 * const angles = random.uniform(random.key(1), { shape: [4], min: -Math.PI, max: Math.PI }); // [4]
 * ```
 */
export function uniform(
  key: Tensor,
  options: { shape: Shape; min?: number | Tensor; max?: number | Tensor },
): Tensor {
  checkOptions("random.uniform", options, ["shape", "min", "max"]);
  const { shape, min = 0, max = 1 } = options;
  checkParameter("random.uniform", "min", min, anyNumber, "a number");
  checkParameter("random.uniform", "max", max, anyNumber, "a number");
  const u = draw(uniformOp, "uniform", key, shape, "f32");
  if (min instanceof Tensor || max instanceof Tensor) return add(mul(u, sub(max, min)), min);
  if (!(min < max)) fail("random.uniform", `min ${min} is not below max ${max}`);
  return min === 0 && max === 1 ? u : add(mul(u, max - min), min);
}

/**
 * Normal; default: mean 0 and standard deviation 1.
 *
 * @example
 * ```ts
 * import { random } from "voxgrad";
 *
 * const noise = random.normal(random.key(1), { shape: [2, 3], std: 0.1 }); // [2, 3]
 * ```
 */
export function normal(
  key: Tensor,
  options: { shape: Shape; mean?: number | Tensor; std?: number | Tensor },
): Tensor {
  checkOptions("random.normal", options, ["shape", "mean", "std"]);
  const { shape, mean = 0, std = 1 } = options;
  checkParameter("random.normal", "mean", mean, anyNumber, "a number");
  checkParameter("random.normal", "std", std, (value) => value >= 0, "a number >= 0");
  const z = draw(normalOp, "normal", key, shape, "f32");
  return mean === 0 && std === 1 ? z : add(mul(z, std), mean);
}

/**
 * true with probability p (default: 0.5), as bool.
 *
 * @example
 * ```ts
 * import { random } from "voxgrad";
 *
 * const kept = random.bernoulli(random.key(1), { shape: [4, 4], p: 0.9 }); // bool [4, 4]
 * ```
 */
export function bernoulli(key: Tensor, options: { shape: Shape; p?: number | Tensor }): Tensor {
  checkOptions("random.bernoulli", options, ["shape", "p"]);
  const { shape, p = 0.5 } = options;
  checkParameter("random.bernoulli", "p", p, (value) => value >= 0 && value <= 1, "in [0, 1]");
  return less(draw(uniformOp, "bernoulli", key, shape, "f32"), p);
}

/**
 * Uniform random u32.
 *
 * @example
 * ```ts
 * import { random } from "voxgrad";
 *
 * const words = random.bits32(random.key(1), { shape: [8] });
 * words.dtype; // "u32"
 * ```
 */
export function bits32(key: Tensor, options: { shape: Shape }): Tensor {
  checkOptions("random.bits32", options, ["shape"]);
  return draw(bitsOp, "bits32", key, options.shape, "u32");
}

/**
 * A random permutation of 0 to n - 1, as i32: the ranks of n random words, ties in index order.
 *
 * @example
 * ```ts
 * import { random, tensor } from "voxgrad";
 *
 * const order = random.permutation(random.key(1), { n: 3 });
 * const shuffled = tensor([10, 20, 30]).take(order); // [3]
 * ```
 */
export function permutation(key: Tensor, options: { n: number }): Tensor {
  checkOptions("random.permutation", options, ["n"]);
  const { n } = options;
  check(
    Number.isInteger(n) && n >= 0 && n <= 65536,
    "random.permutation",
    () => `n is an integer from 0 to 65536, got ${show(n)}${ifTraced(n)}`,
  );
  const words = draw(bitsOp, "permutation", key, [n], "u32");
  const [mine, other] = [reshape(words, { shape: [n, 1] }), reshape(words, { shape: [1, n] })];
  const place = arange(n);
  const before = logicalOr(
    less(other, mine),
    logicalAnd(equal(other, mine), less(reshape(place, { shape: [1, n] }), reshape(place, { shape: [n, 1] }))),
  );
  return sum(before, { axes: [1] });
}
