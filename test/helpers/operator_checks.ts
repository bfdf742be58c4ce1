/** What tests of all operators share: comparison, and an entry of the table as a function to be differentiated. */
import * as assert from "uvu/assert";
import * as vg from "../../engine/mod.ts";
import { Tensor, tensor } from "../../engine/mod.ts";
import { noise } from "./helpers.ts";
import { call, type Entry } from "./operator_entry.ts";

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

/** The largest difference over the largest value among all tensors; NaN and another length are infinitely far. */
export function distance(got: readonly ArrayLike<number>[], wanted: readonly ArrayLike<number>[]): number {
  const [a, b] = [got, wanted].map((list) => list.flatMap((x) => Array.from(x))) as [number[], number[]];
  if (a.length !== b.length) return Infinity;
  const worst = a.reduce((most, v, k) => (v === b[k] ? most : Math.max(most, Math.abs(v - b[k]) || Infinity)), 0);
  return worst === 0 ? 0 : worst / (b.reduce((most, v) => Math.max(most, Math.abs(v)), 0) || 1);
}

export function near(
  got: readonly ArrayLike<number>[],
  wanted: readonly ArrayLike<number>[],
  tolerance: number,
  what: string,
): void {
  const error = distance(got, wanted);
  assert.ok(error <= tolerance, `${what}: relative error ${error.toExponential(2)} above ${tolerance}`);
}

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

/** Positions of the inputs that derivatives are taken by. */
export const smooth = (e: Entry): number[] => e.inputs.flatMap((x, k) => (x.dtype === "f32" && !x.fixed ? [k] : []));

/** An entry as a function of the inputs that derivatives are taken by, the others being `given`. */
export const withGiven = (e: Entry, given: readonly Tensor[]): Function => (...xs) => {
  const inputs = [...given];
  smooth(e).forEach((k, j) => (inputs[k] = xs[j]));
  return call(e, inputs);
};

/** sum u y + 1/2 sum y^2: its Hessian has the second derivatives of f, and what is linear in f too. */
export const lossOf = (f: Function, us: readonly Tensor[]) => (...xs: Tensor[]): Tensor =>
  total(f(...xs).map((y, k) => y.cast("f32").mul(us[k]).sum().add(y.cast("f32").square().sum().mul(0.5))));
export const gradient = (loss: (...xs: Tensor[]) => Tensor) => (...xs: Tensor[]): Tensor[] =>
  vg.grad((all: Tensor[]) => loss(...all))(xs);
