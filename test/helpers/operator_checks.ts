/** Shared by tests of all operators: comparison, and table entries as functions to differentiate. */
import * as vg from "../../engine/mod.ts";
import { Tensor, tensor } from "../../engine/mod.ts";
import { noise } from "./noise.ts";
import { call, type Entry } from "./operator_entry.ts";
import { near as nearArray, relativeError } from "./compare.ts";

export type Function = (...xs: Tensor[]) => Tensor[];

export const isFloat = (t: Tensor): boolean => t.dtype === "f32" || t.dtype === "f16";
export const like = (t: Tensor, seed: number): Tensor => tensor(noise(t.size, seed), { shape: t.shape });
export const total = (terms: readonly Tensor[]): Tensor => terms.reduce((a, b) => a.add(b));
export const norm = (xs: readonly ArrayLike<number>[]): number => Math.sqrt(dot(xs, xs));

/** Inner product of lists of arrays, in double precision. */
export function dot(a: readonly ArrayLike<number>[], b: readonly ArrayLike<number>[]): number {
  let sum = 0;
  a.forEach((x, k) => Array.from(x).forEach((v, i) => (sum += v * b[k][i])));
  return sum;
}

/** The relative error of lists of arrays, taken as one array. */
export const distance = (got: readonly ArrayLike<number>[], wanted: readonly ArrayLike<number>[]): number =>
  relativeError(joined(got), joined(wanted));

/** Checks that lists of arrays agree, taken as one array. */
export const near = (
  got: readonly ArrayLike<number>[],
  wanted: readonly ArrayLike<number>[],
  tolerance: number,
  what: string,
): void => nearArray(joined(got), joined(wanted), tolerance, what);

const joined = (list: readonly ArrayLike<number>[]): number[] => list.flatMap((x) => Array.from(x));

/** Values of lists of tensors, computed by one program. */
export async function values<T extends Record<string, readonly Tensor[]>>(
  lists: T,
): Promise<Record<keyof T, ArrayLike<number>[]>> {
  await vg.evaluate(Object.values(lists));
  const read = async ([name, list]: [string, readonly Tensor[]]) => [
    name,
    await Promise.all(list.map((t) => t.data())),
  ];
  return Object.fromEntries(await Promise.all(Object.entries(lists).map(read)));
}

/** Positions of the differentiable inputs. */
export const smooth = (e: Entry): number[] => e.inputs.flatMap((x, k) => (x.dtype === "f32" && !x.fixed ? [k] : []));

/** An entry as a function of its differentiable inputs, with the others fixed to `given`. */
export const withGiven = (e: Entry, given: readonly Tensor[]): Function => (...xs) => {
  const inputs = [...given];
  smooth(e).forEach((k, j) => (inputs[k] = xs[j]));
  return call(e, inputs);
};

/** sum u y + 1/2 sum y^2: its Hessian contains second derivatives of f and a Gauss-Newton term. */
export const lossOf = (f: Function, us: readonly Tensor[]) => (...xs: Tensor[]): Tensor =>
  total(f(...xs).map((y, k) => y.cast("f32").mul(us[k]).sum().add(y.cast("f32").square().sum().mul(0.5))));
export const gradient = (loss: (...xs: Tensor[]) => Tensor) => (...xs: Tensor[]): Tensor[] =>
  vg.grad((all: Tensor[]) => loss(...all))(xs);
