/** Options and result type of compile. */
import type { Tensor } from "../core/tensor.ts";
import type { Tree, TreeOf } from "../core/tree.ts";
import type { ProgramInfo } from "./program.ts";

export interface CompileOptions<S extends readonly number[] = readonly number[]> {
  /**
   * Positions of arguments whose memory the results may reuse. Their tensors are invalid from the moment of the call;
   * if the call fails before the device has started, they become valid again.
   */
  donate?: readonly number[];
  /**
   * Positions of arguments whose numbers, booleans and strings stay plain values, as jax.jit's static_argnums: f may
   * branch and loop on them, and is recompiled for each value.
   */
  static?: S;
  /**
   * "mixed": products (convolutions, matmul) take and return f16 and accumulate in f32, layers keep the dtype of their
   * input, sums and losses are f32, as in torch.autocast; parameters keep their dtype, f32. An outermost grad or
   * valueAndGrad multiplies its loss by a scale. The scale is halved when a gradient overflows, in which case all
   * gradients are 0 and the optimizers leave parameters and state unchanged, and doubled after 2,000 steps without
   * overflow. Other derivatives (vjp, jvp, hvp) are not scaled. Requires shader-f16. Default: "f32", every tensor in
   * its own dtype.
   */
  precision?: Precision;
}

export type Precision = "f32" | "mixed";

type IsAny<T> = 0 extends 1 & T ? true : false;

/** The type that a caller may pass for a parameter: a number for a scalar tensor. */
export type Passed<T> = IsAny<T> extends true ? T
  : [Tree, T] extends [T, Tree] ? TreeOf<Tensor | number>
  : T extends Tensor ? T | number
  : T extends readonly unknown[] | { readonly [name: string]: unknown } ? { [K in keyof T]: Passed<T[K]> }
  : T;
export type PassedArgs<A extends unknown[], S extends readonly number[]> = {
  [K in keyof A]: K extends `${S[number]}` ? A[K] : Passed<A[K]>;
};

type HasNumber<T> = IsAny<T> extends true ? false
  : [Exclude<T, null | undefined>] extends [never] ? false
  : [Exclude<T, null | undefined>] extends [number] ? true
  : false;
type NumbersOf<A extends unknown[], S extends readonly number[]> = {
  [K in keyof A]: K extends `${S[number]}` ? false : HasNumber<A[K]>;
};
/** Rejects parameters of type number: inside f they are Tensors, unless their position is in `static`. */
export type NumbersAreTensors<A extends unknown[], S extends readonly number[]> = true extends NumbersOf<A, S>[number]
  ? { "compile traces numbers: declare the parameter as a Tensor, or list its position in static": never }
  : unknown;

/** A compiled function: call it like the original; it returns a promise. */
export interface Compiled<A extends unknown[], R> {
  /** Inside another traced function, such as one passed to grad or compile, the call returns its result directly. */
  (...args: A): Promise<R>;
  /** Builds the program for arguments like these without running it, and returns its kernels and memory needs. */
  plan(...args: A): Promise<ProgramInfo>;
  /** The cached programs, one entry per signature, most recently used last. */
  programs(): ProgramInfo[];
  /** The loss scale of mixed precision for the next call; 1 in f32. */
  lossScale(): Promise<number>;
  /** The loss scale state of mixed precision, f32 [2]; valid until the next call. */
  lossScaleState(): Tensor;
  /** Restores such a state, for resuming a training. */
  restoreLossScale(state: Tensor): void;
  /** Releases the memory of its programs. */
  dispose(): void;
}
