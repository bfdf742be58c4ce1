/** Counter-based random numbers: the same key gives the same numbers, whatever was drawn before. */
import { check, checkOptions, fail, show } from "../core/errors.ts";
import { Index } from "../core/index_map.ts";
import type { Emit, Op } from "../core/op.ts";
import { checkShape, type Shape } from "../core/shape.ts";
import { node, Tensor } from "../core/tensor.ts";
import { arange, tensor } from "./creation.ts";
import { add, equal, less, logicalAnd, logicalOr, mul } from "./elementwise.ts";
import { sum } from "./reduce.ts";
import { reshape } from "./reshape.ts";
import { slice } from "./slice.ts";

/** The Threefry block of the key (input 0) for a counter; the second counter word separates draws (0) from splits (1). */
function block(e: Emit<unknown>, counter: string, stream: 0 | 1): string {
  const word = (k: number): string =>
    e.input(
      0,
      Index.linear([2], `${k}u`, (expression) => e.bind(expression, "u32")),
    );
  return e.bind(`${e.fn("vg_threefry2x32")}(vec2u(${word(0)}, ${word(1)}), vec2u(${counter}, ${stream}u))`, "vec2u");
}

const generator = (name: string, value: (e: Emit<unknown>, word: string) => string): Op => ({
  name,
  lowering: {
    kind: "map",
    cost: 30,
    emit: (e, index) => e.bind(value(e, `${block(e, index.offset, 0)}.x`), e.output.dtype),
  },
  vjp: null,
});
const bitsOp = generator("random.bits", (_, word) => word);
const uniformOp = generator("random.uniform", (e, word) => `${e.fn("vg_uniform")}(${word})`);
const normalOp = generator("random.normal", (e, word) => `${e.fn("vg_normal")}(${word})`);

function checkKey(name: string, key: unknown): asserts key is Tensor {
  check(
    key instanceof Tensor && key.dtype === "u32" && key.rank === 1 && key.shape[0] === 2,
    `random.${name}`,
    () =>
      `the key is a u32 tensor of shape [2] from random.key or random.split, got ${key instanceof Tensor ? `${key}` : show(key)}`,
  );
}

function draw(op: Op, key: Tensor, shape: Shape, dtype: "f32" | "u32"): Tensor {
  const name = op.name.slice("random.".length);
  checkKey(name, key);
  checkShape(`random.${name}`, shape);
  return node(op, [key], {}, shape, dtype);
}

/** A key from a seed, a whole number from 0 to 2^53 - 1. */
export function key(seed: number): Tensor {
  check(
    Number.isSafeInteger(seed) && seed >= 0,
    "random.key",
    () => `the seed is a whole number from 0 to 2^53 - 1, got ${show(seed)}`,
  );
  return tensor(new Uint32Array([seed >>> 0, Math.floor(seed / 2 ** 32)]));
}

/** `count` independent keys (default 2); use each key once. */
export function split(parent: Tensor, count = 2): Tensor[] {
  check(Number.isInteger(count) && count > 0, "random.split", () => `count is a whole number > 0, got ${show(count)}`);
  checkKey("split", parent);
  const words = node(splitOp, [parent], {}, [count, 2], "u32");
  return Array.from({ length: count }, (_, k) =>
    reshape(slice(words, { start: [k, 0], end: [k + 1, 2] }), { shape: [2] }),
  );
}

const splitOp: Op = {
  name: "random.split",
  lowering: {
    kind: "map",
    cost: 30,
    emit(e, index) {
      const words = block(e, index.part(0, 0), 1);
      return e.bind(`select(${words}.y, ${words}.x, ${index.part(1, 1)} == 0u)`, "u32");
    },
  },
  vjp: null,
};

/** Uniform in [min, max), default [0, 1), in steps of 2^-24 of the range. */
export function uniform(key: Tensor, options: { shape: Shape; min?: number; max?: number }): Tensor {
  checkOptions("random.uniform", options, ["shape", "min", "max"]);
  const { shape, min = 0, max = 1 } = options;
  if (!(min < max)) fail("random.uniform", `min ${min} is not below max ${max}`);
  const u = draw(uniformOp, key, shape, "f32");
  return min === 0 && max === 1 ? u : add(mul(u, max - min), min);
}

/** Normal with mean 0 and standard deviation 1, or those given. */
export function normal(key: Tensor, options: { shape: Shape; mean?: number; std?: number }): Tensor {
  checkOptions("random.normal", options, ["shape", "mean", "std"]);
  const { shape, mean = 0, std = 1 } = options;
  const z = draw(normalOp, key, shape, "f32");
  return mean === 0 && std === 1 ? z : add(mul(z, std), mean);
}

/** true with probability p (default 0.5), as bool. */
export function bernoulli(key: Tensor, options: { shape: Shape; p?: number }): Tensor {
  checkOptions("random.bernoulli", options, ["shape", "p"]);
  const { shape, p = 0.5 } = options;
  check(p >= 0 && p <= 1, "random.bernoulli", () => `p is in [0, 1], got ${show(p)}`);
  return less(draw(uniformOp, key, shape, "f32"), p);
}

/** Uniform 32-bit words. */
export function bits32(key: Tensor, options: { shape: Shape }): Tensor {
  checkOptions("random.bits", options, ["shape"]);
  return draw(bitsOp, key, options.shape, "u32");
}

/** The numbers 0 to n - 1 in random order, as i32: ranks of n random words, equal words in order of their places. */
export function permutation(key: Tensor, options: { n: number }): Tensor {
  checkOptions("random.permutation", options, ["n"]);
  const { n } = options;
  check(
    Number.isInteger(n) && n >= 0 && n <= 65536,
    "random.permutation",
    () => `n is a whole number from 0 to 65536, got ${show(n)}`,
  );
  const words = bits32(key, { shape: [n] });
  const [mine, other] = [reshape(words, { shape: [n, 1] }), reshape(words, { shape: [1, n] })];
  const place = arange(n);
  const before = logicalOr(
    less(other, mine),
    logicalAnd(equal(other, mine), less(reshape(place, { shape: [1, n] }), reshape(place, { shape: [n, 1] }))),
  );
  return sum(before, { axes: [1] });
}
