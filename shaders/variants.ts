/** The choice between kernels that compute the same. */
import type { Fusion, KernelSpec, Lowered, Target, Variant, VariantChoice } from "./types.ts";

/**
 * A size as choices see it: exact up to 4, where each more may change which kernel fits, else the nearest power of two.
 * The fastest kernel changes slowly with the size, so what was measured at one serves those near it, a last smaller
 * batch or another patch, and few measurements serve a whole network.
 */
export const bucket = (size: number): number => (size <= 4 ? size : 2 ** Math.round(Math.log2(size)));

export interface SelectOptions {
  /** The name of the variant to take. */
  readonly variant?: string | undefined;
  readonly fusion?: Fusion | null;
}

/**
 * Lowers a kernel with the named variant; else with the one that tuning found fastest, where its guard holds; else with
 * the first whose guard holds. The result says what was chosen from.
 *
 * @throws Error where the named variant, or any, does not take these sizes; it lists those that do
 */
export function selectVariant<Params>(
  spec: KernelSpec,
  variants: readonly Variant<Params>[],
  params: Params,
  target: Target,
  { variant: name, fusion = null }: SelectOptions = {},
): Lowered {
  const key = `${spec.family} ${spec.shape} ${spec.dtype}`;
  const fits = (variant: Variant<Params>): boolean => variant.guard(params, target);
  const fitting = (): string[] => variants.filter(fits).map((v) => v.name);
  const named = (wanted: string | undefined) => variants.find((v) => v.name === wanted && fits(v));
  const variant = name === undefined ? (named(target.tuned?.get(key)) ?? variants.find(fits)) : named(name);
  if (!variant) {
    throw new Error(
      `${spec.family}: variant ${name ?? "(any)"} does not take these sizes; these do: ${fitting().join(", ")}`,
    );
  }
  const choice: VariantChoice = {
    ...spec,
    key,
    get variants() {
      return fitting();
    },
    lower: (one) => named(one)!.lower(params, target),
  };
  return { ...variant.lower(params, target, fusion), choice };
}
