/** Matches pixels against a set of prototypes: softmax-weighted cosine similarity in one kernel. */
import { check, checkOptions, fail, show } from "../../core/errors.ts";
import type { Op, RuleContext } from "../../core/op.ts";
import { size } from "../../core/shape.ts";
import { node, Tensor } from "../../core/tensor.ts";
import { lowerCosineMatching, NOTHING, ROWS } from "../../../shaders/cosine_matching.wgsl.ts";
import { broadcastTo } from "../shape/broadcast_to.ts";
import { concat } from "../shape/concat.ts";
import { scalar } from "../elementwise/creation.ts";
import {
  add,
  clamp,
  div,
  exp,
  greaterEqual,
  mul,
  rsqrt,
  sqrt,
  square,
  sub,
  where,
} from "../elementwise/elementwise.ts";
import { computeInF32 } from "../promote_f16.ts";
import { LEFT, PLAIN, product, RIGHT } from "./matmul.ts";
import { inParts, partsFor, range, ranges } from "../split.ts";
import { sum } from "../reduce/reduce.ts";
import { reshape, stopGradient } from "../shape/reshape.ts";

interface MatchAttrs {
  /** Minimum squared norm of a pixel. */
  readonly floor: number;
}

/** Row k of the result [samples, 4, pixels] or its derivatives: value, largest logit, sum, squared norm. */
const rowOf = (y: Tensor, k: number): Tensor => range(y, 1, k, k + 1);

/** Repeats x [groups, ...] for each sample of a group. */
function forSamples(x: Tensor, samples: number): Tensor {
  const [groups, ...rest] = x.shape as [number, ...number[]];
  if (groups === samples) return x;
  const spread = broadcastTo(reshape(x, { shape: [groups, 1, ...rest] }), {
    shape: [groups, samples / groups, ...rest],
  });
  return reshape(spread, { shape: [samples, ...rest] });
}

/**
 * Shared terms of both derivatives. With d = P q, r = 1 / max(|q|, minimum norm), s = r d, w the softmax of the
 * logits: the value v = sum(w s) has dv/ds = w (1 + u (s - v)), the sum z of exp(logit - top) has dz/ds = w u z, where
 * u masks the used prototypes. The results do not depend on the exact shift `top`, so it has no derivative.
 */
function parts({ inputs: [q, p, used], output, attrs: { floor } }: RuleContext<MatchAttrs>) {
  const samples = q.shape[0];
  const vectors = forSamples(p, samples);
  const flags = reshape(forSamples(used, samples), { shape: [samples, used.shape[1], 1] });
  const [v, top, z, n] = [0, 1, 2, 3].map((k) => rowOf(output, k)) as [Tensor, Tensor, Tensor, Tensor];
  const d = product(vectors, q, PLAIN);
  const r = rsqrt(clamp(n, { min: floor }));
  const s = mul(d, r);
  const w = div(exp(sub(where(flags, s, NOTHING), stopGradient(top))), z);
  // dr/dn with n = |q|^2: -r^3 / 2, or 0 where the norm is clamped.
  const slope = where(greaterEqual(n, floor), mul(mul(r, square(r)), -0.5), 0);
  return { vectors, flags, v, z, d, r, s, w, slope };
}

const over = (axis: number) => ({ axes: [axis], keepDims: true });

const op: Op<MatchAttrs> = {
  name: "cosineMatching",
  lowering: {
    kind: "kernel",
    lower([q, p], _, { floor }, target) {
      const [samples, channels, pixels] = q.shape as [number, number, number];
      const [groups, prototypes] = p.shape as [number, number];
      return lowerCosineMatching({ groups, samples: samples / groups, channels, pixels, prototypes, floor }, target);
    },
  },
  // Similarities are recomputed: one more product, but no tensor of their size is kept from the forward pass.
  vjp(c, g) {
    const { vectors, flags, v, z, d, r, s, w, slope } = parts(c);
    const [q, p] = c.inputs as [Tensor, Tensor];
    const [gv, gz, gn] = [0, 2, 3].map((k) => rowOf(g, k)) as [Tensor, Tensor, Tensor];
    const gs = mul(w, add(gv, where(flags, add(mul(gv, sub(s, v)), mul(gz, z)), 0)));
    // Only d and gd take memory for every (pixel, prototype) pair.
    const gd = mul(gs, r);
    const gr = div(sum(mul(gd, d), over(1)), r);
    const byLength = mul(add(gn, mul(gr, slope)), 2);
    const gp = product(gd, q, RIGHT);
    const [groups, prototypes, channels] = p.shape as [number, number, number];
    const each = q.shape[0] / groups;
    const gPrototypes = each > 1
      ? sum(reshape(gp, { shape: [groups, each, prototypes, channels] }), { axes: [1] })
      : gp;
    return [add(product(vectors, gd, LEFT), mul(q, byLength)), gPrototypes, null];
  },
  jvp(c, [tq, tp]) {
    const { vectors, flags, v, z, d, r, s, w, slope } = parts(c);
    const q = c.inputs[0];
    const td = [
      ...(tq ? [product(vectors, tq, PLAIN)] : []),
      ...(tp ? [product(forSamples(tp, q.shape[0]), q, PLAIN)] : []),
    ].reduce((x, y) => add(x, y));
    const none = scalar(0, "f32", v.shape);
    const tn = tq ? mul(sum(mul(q, tq), over(1)), 2) : none;
    const ts = mul(w, add(mul(td, r), mul(d, mul(tn, slope))));
    const tv = sum(mul(ts, add(where(flags, sub(s, v), 0), 1)), over(1));
    const tz = mul(z, sum(where(flags, ts, 0), over(1)));
    return concat([tv, none, tz, tn], { axis: 1 });
  },
  batch({ inputs: [q, p, used], batched, size: batch, output, attrs, full }) {
    const merge = (x: Tensor): Tensor => reshape(x, { shape: [batch * x.shape[1], ...x.shape.slice(2)] });
    const same = !batched[1] && !batched[2] && p.shape[0] === 1;
    const [vectors, flags] = same ? [p, used] : [merge(full(1)), merge(full(2))];
    return reshape(matching(merge(batched[0] ? q : full(0)), vectors, flags, attrs), {
      shape: [batch, ...output.shape],
    });
  },
  split([q, p, used], output, attrs, most) {
    const [samples, , pixels] = q.shape as [number, number, number];
    const groups = p.shape[0];
    const large = [q, { size: size(output.shape) }];
    // The smallest number of parts that fits; or n, to be split along another axis next.
    const count = (tensors: readonly { size: number }[], n: number): number => {
      const each = Math.floor((most / Math.max(...tensors.map((t) => t.size))) * n);
      return each < 1 ? n : Math.ceil(n / each);
    };
    if (groups > 1) {
      const each = samples / groups;
      return concat(
        ranges(groups, count([...large, p], groups)).map(([start, end]) =>
          matching(
            range(q, 0, start * each, end * each),
            range(p, 0, start, end),
            range(used, 0, start, end),
            attrs,
          )
        ),
        { axis: 0 },
      );
    }
    if (p.size > most) fail("cosineMatching", `${p.size} values of prototypes, the adapter binds ${most} elements`);
    if (samples > 1) return inParts([q], 0, count(large, samples), ([x]) => matching(x, p, used, attrs));
    return inParts([q], 2, partsFor("cosineMatching", large, pixels, most), ([x]) => matching(x, p, used, attrs));
  },
  multiplyAdds: ([q, p]) => size(q.shape) * p.shape[1],
};

/**
 * Matches q [samples, C, pixels] against p [groups, K, C] of norm `temperature`, with mask used [groups, K]; returns
 * the rows [samples, 4, pixels].
 */
const matching = (q: Tensor, p: Tensor, used: Tensor, attrs: MatchAttrs): Tensor =>
  node(op, [q, p, used], attrs, [q.shape[0], ROWS, q.shape[2]], "f32");

/**
 * Similarity of each pixel to a set of prototypes: with S_k = temperature cos(pixel, prototype k), the sum of S_k
 * softmax_k(S_k) over the used prototypes (adaptive local prototypes, Ouyang et al. 2020, Eqs. 4 and 5). If none is
 * used, the mean of all S_k. One kernel, whose memory does not grow with the number of prototypes.
 *
 * @param query f32 [N, C, ...space]
 * @param prototypes f32 [K, C]
 * @param used bool [K]
 * @param options.temperature default: 20
 * @param options.eps minimum norm of a vector (default: 1e-4); a shorter one has a finite gradient
 * @returns f32 [N, ...space], from -temperature to temperature
 * @throws VoxgradError for other dtypes, shapes that do not match, or zero prototypes
 * @example
 * ```ts
 * import { cosineMatching, ones, random } from "voxgrad";
 *
 * const features = random.normal(random.key(0), { shape: [2, 16, 8, 8] });
 * const prototypes = random.normal(random.key(1), { shape: [5, 16] });
 * const score = cosineMatching(features, prototypes, ones([5], { dtype: "bool" })); // [2, 8, 8]
 * ```
 */
export const cosineMatching: (
  query: Tensor,
  prototypes: Tensor,
  used: Tensor,
  options?: { temperature?: number; eps?: number },
) => Tensor = computeInF32(
  (query, prototypes, used, options = {}) => {
    const name = "cosineMatching";
    checkOptions(name, options, ["temperature", "eps"]);
    const { temperature = 20, eps = 1e-4 } = options;
    check(
      query instanceof Tensor && query.dtype === "f32" && query.rank >= 2,
      name,
      () => `the query is an f32 tensor [N, C, ...space], got ${show(query)}`,
    );
    const [n, channels, ...space] = query.shape as [number, number, ...number[]];
    check(
      prototypes instanceof Tensor &&
        prototypes.dtype === "f32" &&
        prototypes.rank === 2 &&
        prototypes.shape[0] > 0 &&
        prototypes.shape[1] === channels,
      name,
      () => `prototypes are an f32 tensor [K, ${channels}] with K >= 1, got ${show(prototypes)}`,
    );
    const count = prototypes.shape[0];
    check(
      used instanceof Tensor && used.dtype === "bool" && used.rank === 1 && used.shape[0] === count,
      name,
      () => `used is a bool tensor [${count}], got ${show(used)}`,
    );
    check(Number.isFinite(temperature), name, () => `temperature is a finite number, got ${show(temperature)}`);
    // The kernel uses its square as an f32.
    check(
      typeof eps === "number" && eps > 0 && eps <= 1e18,
      name,
      () => `eps is a number > 0, at most 1e18, got ${show(eps)}`,
    );
    const shape = [n, ...space];
    if (query.size === 0) return scalar(0, "f32", shape);
    // Clamped before the square root, whose slope is infinite at 0. The floor keeps eps^2 from becoming subnormal.
    const floor = Math.max(eps * eps, 1e-30);
    const length = sqrt(clamp(sum(square(prototypes), { axes: [1], keepDims: true }), { min: floor }));
    const vectors = mul(div(prototypes, length), temperature);
    const rows = matching(
      reshape(query, { shape: [n, channels, size(space)] }),
      reshape(vectors, { shape: [1, count, channels] }),
      reshape(used, { shape: [1, count] }),
      { floor },
    );
    return reshape(rowOf(rows, 0), { shape });
  },
  { kind: "sum" },
);
