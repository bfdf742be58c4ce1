/**
 * Dynamic loss scaling, Micikevicius et al. 2018, section 3.2: gradients below the range of f16 are kept by multiplying
 * the loss; where that overflows, the step is left out and the scale halved.
 */
import { type Mixed, mixed } from "../../core/precision.ts";
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

/** Steps without overflow after which the scale is doubled. */
const GROWTH_INTERVAL = 2000;
const LARGEST = 2 ** 24;

/** Calls f, a function that is being differentiated; gives the scaling where no other derivative encloses this one. */
export function outermost<T>(f: () => T): [Mixed | null, T] {
  const precision = mixed();
  if (!precision) return [null, f()];
  precision.depth++;
  try {
    return [precision.depth === 1 ? precision : null, f()];
  } finally {
    precision.depth--;
  }
}

/** Gradients of scale * loss divided by the scale; all are 0 where one is not finite. */
export function scaledPullBack(precision: Mixed, loss: Tensor, pullBack: (seed: Tensor) => Tensor[]): Tensor[] {
  const { scale } = precision;
  const scaled = pullBack(cast(broadcastTo(scale, { shape: loss.shape }), loss.dtype));
  // Numbers that are not finite, added up pairwise so that no kernel reads more tensors than a stage binds.
  let counts = scaled.map((g) => sum(cast(logicalNot(isFinite(g)), "i32")));
  while (counts.length > 1) {
    counts = counts.flatMap((x, k) => (k % 2 ? [] : [k + 1 < counts.length ? add(x, counts[k + 1]) : x]));
  }
  const finite = equal(counts[0] ?? 0, 0);
  precision.finite = precision.finite ? logicalAnd(precision.finite, finite) : finite;
  return scaled.map((g) => where(finite, cast(div(cast(g, "f32"), scale), g.dtype), 0));
}

/** The state [scale, steps since it changed] before the first step. */
export const initialLossScale = (): Tensor => tensor(new Float32Array([2 ** 16, 0]));

/** The scale, a scalar, of a state. */
export const scaleOf = (state: Tensor): Tensor => reshape(part(state, 0), { shape: [] });

const part = (state: Tensor, k: number): Tensor => slice(state, { start: [k], end: [k + 1] });

/** The state after a step whose gradients were finite or not. */
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

/** What a step writes: `next`, or in mixed precision `before` where a gradient was not finite. */
export function unlessOverflow(next: Tensor, before: Tensor): Tensor {
  const finite = mixed()?.finite;
  return finite ? where(finite, next, before) : next;
}
