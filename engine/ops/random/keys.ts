/** Keys of counter-based random numbers: the same key gives the same numbers, independent of earlier draws. */
import { check, ifTraced, show } from "../../core/errors.ts";
import { call, type Expr, fn, infix, member, select, u32 } from "../../core/expr.ts";
import { Index } from "../../core/index_map.ts";
import type { Emit, Op } from "../../core/op.ts";
import { node, Tensor } from "../../core/tensor.ts";
import { scalar, tensor } from "../elementwise/creation.ts";
import { cast } from "../elementwise/elementwise.ts";
import { reshape } from "../shape/reshape.ts";
import { slice } from "../shape/slice.ts";

/** Number of leading output axes that index keys. */
export const lead = (e: Emit<unknown>): number => e.inputs[0].shape.length - 1;

/**
 * The Threefry block of the key (input 0) for a counter: the index within the axes after those of the keys. The second
 * counter word separates draws (0), splits (1) and numbers folded in (2).
 */
export function block(e: Emit<unknown>, index: Index, counter: Expr, stream: 0 | 1 | 2): Expr {
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

export function checkKey(name: string, key: unknown): asserts key is Tensor {
  check(
    key instanceof Tensor && key.dtype === "u32" && key.rank === 1 && key.shape[0] === 2,
    `random.${name}`,
    () => `the key is a u32 tensor of shape [2] from random.key or random.split, got ${show(key)}`,
  );
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

/** The Threefry block of the key (input 0) for the number (input 1) as its counter. */
const foldInOp: Op = {
  name: "random.foldIn",
  lowering: {
    kind: "map",
    cost: 30,
    emit(e, index) {
      const word = lead(e);
      const { shape } = e.inputs[1];
      const own = { from: 0, to: shape.length - 1, expression: index.part(0, word - 1) };
      const counter = e.input(1, Index.runs(shape, shape.length > 0 ? [own] : [], (x) => e.bind(x, "u32")));
      const words = block(e, index, counter, 2);
      return e.bind(select(member(words, "y"), member(words, "x"), infix(index.part(word, word), "==", u32(0))), "u32");
    },
  },
  vjp: null,
  batch: (c) => node(foldInOp, [c.full(0), c.full(1)], c.attrs, [c.size, ...c.output.shape], c.output.dtype),
};

/**
 * A key from a key and a number, such as the step of a training: one key serves a whole compiled loop. Different
 * numbers give independent keys, which are independent of the key's splits and draws too. As jax.random.fold_in.
 *
 * @param data an integer in [0, 2^32), or an i32 or u32 scalar tensor
 * @example
 * ```ts
 * import { random, tensor } from "voxgrad";
 *
 * const step = tensor(7, { dtype: "i32" });
 * const noise = random.normal(random.foldIn(random.key(1), step), { shape: [4] }); // [4]
 * ```
 */
export function foldIn(parent: Tensor, data: number | Tensor): Tensor {
  checkKey("foldIn", parent);
  check(
    data instanceof Tensor
      ? data.rank === 0 && (data.dtype === "i32" || data.dtype === "u32")
      : Number.isInteger(data) && data >= 0 && data < 2 ** 32,
    "random.foldIn",
    () =>
      `the number is an integer from 0 to 2^32 - 1, or a scalar tensor of i32 or u32, got ${show(data)}` +
      (data instanceof Tensor && data.rank === 0 ? '; cast("i32") it' : ""),
  );
  const word = data instanceof Tensor ? cast(data, "u32") : scalar(data, "u32");
  return node(foldInOp, [parent, word], {}, [2], "u32");
}
