/** The choice between kernels that compute the same. */
import type { Fusion, Lowered, Target, Variant, Work } from "./types.ts";

/**
 * A size as choices see it: exact up to 4, where each more may change which kernel fits, else the nearest power of two.
 * The fastest kernel changes slowly with the size, so what was measured at one serves those near it, a last smaller batch
 * or another patch, and few measurements serve a whole network.
 */
export const bucket = (size: number): number => (size <= 4 ? size : 2 ** Math.round(Math.log2(size)));

export interface Choosing {
  /** The name of the variant to take. */
  readonly variant?: string | undefined;
  readonly fusion?: Fusion | null;
}

/**
 * Lowers some work with the named variant; else with the one that tuning found fastest, where its guard holds; else with the
 * first whose guard does.
 *
 * @throws Error where the named variant, or any, does not take these sizes; it lists those that do
 */
export function choose<Params>(
  work: Work,
  variants: readonly Variant<Params>[],
  params: Params,
  target: Target,
  { variant: name, fusion = null }: Choosing = {},
): Lowered {
  const key = `${work.family} ${work.shape} ${work.dtype}`;
  const fits = (variant: Variant<Params>): boolean => variant.guard(params, target);
  const named = (wanted: string | undefined) => variants.find((v) => v.name === wanted && fits(v));
  const variant = name === undefined ? (named(target.tuned?.get(key)) ?? variants.find(fits)) : named(name);
  if (!variant || target.meet) {
    const fitting = variants.filter(fits).map((v) => v.name);
    if (!variant) {
      const these = fitting.join(", ");
      throw new Error(`${work.family}: variant ${name ?? "(any)"} does not take these sizes; these do: ${these}`);
    }
    target.meet?.({ ...work, key, variants: fitting, lower: (one) => named(one)!.lower(params, target) });
  }
  return variant.lower(params, target, fusion);
}
