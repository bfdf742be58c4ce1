/**
 * What an operator is to the rest of the engine: derivative rules made of operators, and one way to be lowered. The
 * tensor class is a parameter T, so that tensor.ts can import these types; op.ts has them for Tensor.
 */
import type { Fusion, Lowered, PartialMoments, Target } from "../../shaders/types.ts";
import type { DType } from "./dtype.ts";
import type { Expr } from "./expr.ts";
import type { Index } from "./index_map.ts";
import type { Shape } from "./shape.ts";

/** A node as derivative rules see it. */
export interface RuleContext<T, A> {
  readonly inputs: readonly T[];
  readonly output: T;
  readonly attrs: A;
}

/** Shape and dtype alone. */
export interface Aval {
  readonly shape: Shape;
  readonly dtype: DType;
}

/** What an operator that computes one value at a time builds its expression with. */
export interface Emit<A> {
  readonly attrs: A;
  readonly output: Aval;
  readonly inputs: readonly Aval[];
  /** The value of input k at a place. A value of dtype f16 comes as f32. */
  input(k: number, index: Index): Expr;
  /** Names a value, so that it is computed once. */
  bind(expression: Expr, type: DType | "vec2u"): Expr;
  /** Evaluates `then` only where `condition` holds, `otherwise` elsewhere. */
  select(condition: Expr, dtype: DType, then: () => Expr, otherwise: () => Expr): Expr;
}

/** How an operator becomes WGSL. */
export type Lowering<T, A> =
  /** One output value from input values at computable places: fuses into chains, reductions and each other. */
  | {
    readonly kind: "map";
    readonly cost: number;
    /** Whether it reads each input at the place of the result, or where that was broadcast from. */
    readonly elementwise?: true;
    emit(e: Emit<A>, index: Index): Expr;
  }
  /** The same values under another shape: no kernel at all. A barrier is not merged with equal values. */
  | { readonly kind: "view"; readonly barrier?: true }
  /** Reduction of some axes; attrs are ReduceAttrs. */
  | { readonly kind: "reduce" }
  /**
   * Kernels of its own. Elementwise functions may be computed where they read the inputs listed in `fusesPrologue`, of
   * which `readsRepeatedly` says that each element is read many times, and where they write the result if
   * `fusesEpilogue`.
   */
  | {
    readonly kind: "kernel";
    readonly fusesPrologue?: readonly number[];
    readonly readsRepeatedly?: boolean;
    readonly fusesEpilogue?: boolean;
    /**
     * Kernels that compute the result from statistics of parts of the input, which are their input 0; null if the parts
     * do not fit.
     */
    fromPartialMoments?(inputs: readonly Aval[], attrs: A, parts: PartialMoments, target: Target): Lowered | null;
    lower(inputs: readonly Aval[], output: Aval, attrs: A, target: Target, fusion: Fusion | null): Lowered;
  }
  /** Other operators, expanded when a program is built, after derivatives were taken. */
  | { readonly kind: "composite"; expand(inputs: readonly T[], attrs: A): T };

/** A node of a function of one example, to be computed for many at once. */
export interface BatchContext<T, A> {
  /** The batched ones have the batch axis in front. */
  readonly inputs: readonly T[];
  readonly batched: readonly boolean[];
  /** Examples in the batch. */
  readonly size: number;
  /** The output of one example. */
  readonly output: Aval;
  readonly attrs: A;
  /** Input k with the batch axis, repeated along it where it is the same for all. */
  full(k: number): T;
}

export interface Operator<T, A = never> {
  readonly name: string;
  readonly lowering: Lowering<T, A>;
  /** Cotangents of the inputs from that of the output; null for an input without one, null rule: not differentiable. */
  readonly vjp: ((c: RuleContext<T, A>, cotangent: T) => readonly (T | null)[]) | null;
  /** Tangent of the output from those of the inputs, null where an input has none; a composite may leave it out. */
  readonly jvp?: ((c: RuleContext<T, A>, tangents: readonly (T | null)[]) => T) | null;
  /** The outputs of a batch, batch axis in front; a composite may leave it out. */
  readonly batch?: (c: BatchContext<T, A>) => T;
  /**
   * The same value made of operators on parts of at most `most` elements each, taken where a tensor of a kernel, or the
   * result of a reduction, is larger than what one binding holds, or the input of a reduction than what a kernel's
   * `buffers` hold. Missing: such a tensor is refused.
   */
  readonly split?: (inputs: readonly T[], output: Aval, attrs: A, most: number, buffers: number) => T;
  /** The same value as a kernel for this adapter followed by other operators, which then fuse; null: one kernel. */
  readonly decompose?: (inputs: readonly T[], output: Aval, attrs: A, target: Target) => T | null;
  /** Of a product: its multiply-adds, padding counted as if it were values. */
  readonly multiplyAdds?: (inputs: readonly Aval[], output: Aval) => number;
}

/** Attributes of every reduction: which axes fall, by what. The output has no axis of size 1 in their place. */
export interface ReduceAttrs {
  readonly axes: readonly number[];
  readonly by: "sum" | "max" | "min" | "argmax";
}
