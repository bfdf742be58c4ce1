/** What compile takes and gives. */
import type { Tensor } from "../core/tensor.ts";
import type { Tree, TreeOf } from "../core/tree.ts";
import type { ProgramInfo } from "./program.ts";

export interface CompileOptions<S extends readonly number[] = readonly number[]> {
  /**
   * Positions of arguments whose memory the results may take over. Their tensors are gone from the moment of the call;
   * a call that fails before the device has begun gives them back.
   */
  donate?: readonly number[];
  /**
   * Positions of arguments that stay plain numbers, truth values and strings inside, as jax.jit's static_argnums: f may
   * branch and loop on them, and is compiled again for each value.
   */
  static?: S;
  /**
   * "mixed": products (convolutions, matmul) take and give f16 and add up in f32, layers keep the type of their input,
   * sums and losses are f32, as with torch.autocast; parameters stay as they come, f32. A grad or valueAndGrad that no
   * other derivative encloses multiplies its loss by a scale: it halves when a gradient overflows, in which case all
   * gradients are 0 and the optimizers leave parameters and state as they are, and doubles after 2,000 steps without.
   * Other derivatives (vjp, jvp, hvp) are not scaled. Needs shader-f16. Default "f32": every tensor in its own type.
   */
  precision?: Precision;
}

export type Precision = "f32" | "mixed";

type IsAny<T> = 0 extends 1 & T ? true : false;

/** What a caller may pass for a parameter: a number where f has a scalar tensor. */
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
/** A parameter of type number is refused: inside it is a Tensor, unless its position is in `static`. */
export type NumbersAreTensors<A extends unknown[], S extends readonly number[]> = true extends NumbersOf<A, S>[number]
  ? { "compile traces numbers: declare the parameter as a Tensor, or list its position in static": never }
  : unknown;

/** A compiled function: call it as the original, with a promise for the result. */
export interface Compiled<A extends unknown[], R> {
  /**
   * Within a function that is traced itself, such as one given to grad or compile, the call gives the result at once.
   */
  (...args: A): Promise<R>;
  /** Builds the program for arguments like these, without running it, and tells what it is made of and needs. */
  plan(...args: A): Promise<ProgramInfo>;
  /** What the programs kept are made of, one entry per signature, the latest used last. */
  programs(): ProgramInfo[];
  /** The loss scale of mixed precision for the next call; 1 in f32. */
  lossScale(): Promise<number>;
  /** All that mixed precision remembers between calls, f32 [2]; valid until the next call. */
  lossScaleState(): Tensor;
  /** Goes on from such a state, as a resumed training does. */
  restoreLossScale(state: Tensor): void;
  /** Gives back the memory of its programs. */
  dispose(): void;
}
