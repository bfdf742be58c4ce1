/** The types of an operator, specialized to Tensor. */
import type {
  BatchContext as BatchOf,
  LoopAttrs as LoopAttrsOf,
  LoopOf,
  Lowering as LoweringOf,
  Operator,
  RuleContext as RuleOf,
} from "./operator.ts";
import type { Tensor } from "./tensor.ts";

export type { Aval, Emit, ReduceAttrs } from "./operator.ts";

/** A node as derivative rules see it. */
export type RuleContext<A> = RuleOf<Tensor, A>;
/** A node of a per-example function, as batching rules see it. */
export type BatchContext<A> = BatchOf<Tensor, A>;
/** How an operator is lowered to WGSL. */
export type Lowering<A> = LoweringOf<Tensor, A>;
export type Op<A = never> = Operator<Tensor, A>;
/** A graph that is computed once for each step. */
export type Loop = LoopOf<Tensor>;
export type LoopAttrs = LoopAttrsOf<Tensor>;
