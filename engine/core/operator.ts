/**
 * The definition of an operator: derivative rules made of operators, and a lowering. The tensor class is a parameter
 * T, so that tensor.ts can import these types; op.ts specializes them to Tensor.
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

/** Abstract value: shape and dtype. */
export interface Aval {
  readonly shape: Shape;
  readonly dtype: DType;
}

/** The interface with which pointwise operators build their expression. */
export interface Emit<A> {
  readonly attrs: A;
  readonly output: Aval;
  readonly inputs: readonly Aval[];
  /** The value of input k at an index; f16 values are promoted to f32. */
  input(k: number, index: Index): Expr;
  /** Binds a value to a name, so that it is computed once. */
  bind(expression: Expr, type: DType | "vec2u"): Expr;
  /** Evaluates `then` only where `condition` holds, otherwise `otherwise`. */
  select(condition: Expr, dtype: DType, then: () => Expr, otherwise: () => Expr): Expr;
}

/** How an operator is lowered to WGSL. */
export type Lowering<T, A> =
  /** One output value from input values at computable indices: fuses into chains, reductions and each other. */
  | {
    readonly kind: "map";
    readonly cost: number;
    /** Whether it reads each input at the output index, up to broadcasting. */
    readonly elementwise?: true;
    emit(e: Emit<A>, index: Index): Expr;
  }
  /** The same values under another shape: no kernel. A barrier is not merged with equal values. */
  | { readonly kind: "view"; readonly barrier?: true }
  /** Reduction of some axes; attrs are ReduceAttrs. */
  | { readonly kind: "reduce" }
  /**
   * Kernels of the operator's own. Elementwise producers of the inputs in `fusesPrologue` may be fused into its loads;
   * `readsRepeatedly` lists inputs whose elements are each read many times. With `fusesEpilogue`, elementwise
   * consumers may be fused into its stores.
   */
  | {
    readonly kind: "kernel";
    readonly fusesPrologue?: readonly number[];
    readonly readsRepeatedly?: boolean;
    readonly fusesEpilogue?: boolean;
    /**
     * Kernels that compute the result from statistics of parts of the input, which are their input 0; null if the
     * parts do not fit.
     */
    fromPartialMoments?(inputs: readonly Aval[], attrs: A, parts: PartialMoments, target: Target): Lowered | null;
    lower(inputs: readonly Aval[], output: Aval, attrs: A, target: Target, fusion: Fusion | null): Lowered;
  }
  /** Other operators, expanded when a program is built, after differentiation. */
  | { readonly kind: "composite"; expand(inputs: readonly T[], attrs: A): T }
  /** A result of a loop; attrs are LoopAttrs. */
  | { readonly kind: "loop" };

/** A node of a per-example function, to be computed for a batch. */
export interface BatchContext<T, A> {
  /** Batched inputs have the batch axis first. */
  readonly inputs: readonly T[];
  readonly batched: readonly boolean[];
  /** Examples in the batch. */
  readonly size: number;
  /** The output of one example. */
  readonly output: Aval;
  readonly attrs: A;
  /** Input k with the batch axis, broadcast along it if it is unbatched. */
  full(k: number): T;
}

export interface Operator<T, A = never> {
  readonly name: string;
  readonly lowering: Lowering<T, A>;
  /**
   * Cotangents of the inputs from that of the output; null for an input without one. A null rule: not differentiable,
   * unless it is `composed`.
   */
  readonly vjp: ((c: RuleContext<T, A>, cotangent: T) => readonly (T | null)[]) | null;
  /** Tangent of the output from those of the inputs, null for an input without one. A composite may omit it. */
  readonly jvp?: ((c: RuleContext<T, A>, tangents: readonly (T | null)[]) => T) | null;
  /** The same value of other operators: of these, derivatives are taken for which there is no rule. */
  readonly composed?: (inputs: readonly T[], attrs: A) => T;
  /** The outputs of a batch, batch axis first. A composite may omit it. */
  readonly batch?: (c: BatchContext<T, A>) => T;
  /**
   * The same value computed by operators on parts of at most `most` elements each. Used if a tensor of a kernel or the
   * result of a reduction exceeds one binding, or the input of a reduction exceeds a kernel's `buffers`. Missing: such
   * a tensor is an error.
   */
  readonly split?: (inputs: readonly T[], output: Aval, attrs: A, most: number, buffers: number) => T;
  /** The same value as a kernel for this adapter followed by other operators, which can then fuse; null: one kernel. */
  readonly decompose?: (inputs: readonly T[], output: Aval, attrs: A, target: Target) => T | null;
  /**
   * For a node that selects among values inside of it, which may be NaN where they are not selected: what it depends on
   * outside.
   */
  readonly outside?: (attrs: A) => readonly T[];
  /** Multiply-adds of a product, counting padding as values. */
  readonly multiplyAdds?: (inputs: readonly Aval[], output: Aval) => number;
}

/** Attributes of every reduction: the reduced axes and the operation. Reduced axes are removed from the output. */
export interface ReduceAttrs {
  readonly axes: readonly number[];
  readonly by: "sum" | "max" | "min" | "argmax";
}

/** A graph that is computed once for each step of a loop. */
export interface LoopOf<T> {
  readonly length: number;
  /** Whether the steps go from the last slice to the first. */
  readonly reverse: boolean;
  /** Number of carried values, and of inputs that are read in slices along axis 0. */
  readonly carries: number;
  readonly slices: number;
  /** The values at a step: index of the slices (i32 scalar), carries, slices, constants. */
  readonly params: readonly T[];
  /** What a step gives in terms of `params`: the next carries, then values of which every step's is kept. */
  readonly outputs: readonly T[];
  /** The first carries, the values that are sliced, the constants. */
  readonly inputs: readonly T[];
  /**
   * One node per output: the last carries, then the kept values stacked along a new axis 0. Their ids are consecutive.
   */
  readonly results: readonly T[];
}

/** Attributes of a result of a loop. */
export interface LoopAttrs<T> {
  readonly loop: LoopOf<T>;
  /** Its index in `loop.results`. */
  readonly result: number;
}
