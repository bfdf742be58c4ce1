/**
 * Dynamic loss scaling, Micikevicius et al. 2018, section 3.2: multiplying the loss keeps gradients within the range
 * of f16; on overflow, the step is skipped and the scale halved.
 */
import { check } from "../../core/errors.ts";
import { isWithinStep, type Mixed, mixed } from "../../core/precision.ts";
import type { Tensor } from "../../core/tensor.ts";
import {
  add,
  cast,
  div,
  equal,
  greaterEqual,
  isFinite,
  logicalAnd,
  logicalNot,
  maximum,
  minimum,
  mul,
  where,
} from "./elementwise.ts";
import { broadcastTo } from "../shape/broadcast_to.ts";
import { tensor } from "./creation.ts";
import { concat } from "../shape/concat.ts";
import { sum } from "../reduce/reduce.ts";
import { reshape } from "../shape/reshape.ts";
import { slice } from "../shape/slice.ts";

/** Steps without overflow before the scale is doubled. */
const GROWTH_INTERVAL = 2000;
const LARGEST = 2 ** 24;

/**
 * Calls f, a function that is being differentiated; returns the scaling state unless another derivative encloses it.
 */
export function outermost<T>(f: () => T): [Mixed | null, T] {
  const precision = mixed();
  if (!precision) return [null, f()];
  check(
    precision.depth > 0 || !isWithinStep(),
    "grad",
    () =>
      "in mixed precision the scale of a loss changes once a call, so a derivative is not taken within a step of " +
      'scan, foriLoop, whileLoop or a branch of cond; take it of the whole, or leave out precision: "mixed"',
  );
  precision.depth++;
  try {
    return [precision.depth === 1 ? precision : null, f()];
  } finally {
    precision.depth--;
  }
}

/** Gradients of scale * loss divided by the scale; all are 0 if any is not finite. */
export function scaledPullBack(precision: Mixed, loss: Tensor, pullBack: (seed: Tensor) => Tensor[]): Tensor[] {
  const { scale } = precision;
  const scaled = pullBack(cast(broadcastTo(scale, { shape: loss.shape }), loss.dtype));
  // Counts of non-finite values, added pairwise so that no kernel reads more tensors than it can bind.
  let counts = scaled.map((g) => sum(cast(logicalNot(isFinite(g)), "i32")));
  while (counts.length > 1) {
    counts = counts.flatMap((x, k) => (k % 2 ? [] : [k + 1 < counts.length ? add(x, counts[k + 1]) : x]));
  }
  const finite = equal(counts[0] ?? 0, 0);
  precision.finite = precision.finite ? logicalAnd(precision.finite, finite) : finite;
  return scaled.map((g) => where(finite, cast(div(cast(g, "f32"), scale), g.dtype), 0));
}

/** The initial state [scale, steps since it changed]. */
export const initialLossScale = (): Tensor => tensor(new Float32Array([2 ** 16, 0]));

/** The scalar scale of a state. */
export const scaleOf = (state: Tensor): Tensor => reshape(part(state, 0), { shape: [] });

const part = (state: Tensor, k: number): Tensor => slice(state, { start: [k], end: [k + 1] });

/** The next state, given whether the gradients were finite. */
export function nextLossScale(state: Tensor, finite: Tensor): Tensor {
  const scale = part(state, 0);
  const steps = add(part(state, 1), 1);
  const grows = greaterEqual(steps, GROWTH_INTERVAL);
  const grown = where(grows, minimum(mul(scale, 2), LARGEST), scale);
  return concat(
    [where(finite, grown, maximum(mul(scale, 0.5), 1)), where(logicalAnd(finite, logicalNot(grows)), steps, 0)],
    { axis: 0 },
  );
}

/** The new value `next`; in mixed precision, `before` if a gradient was not finite. */
export function unlessOverflow(next: Tensor, before: Tensor): Tensor {
  const finite = mixed()?.finite;
  return finite ? where(finite, next, before) : next;
}
