/** Selection among kernels that compute the same result. */
import type { Fusion, KernelSpec, Lowered, Target, Variant, VariantChoice } from "./types.ts";

/**
 * Buckets a size: exact up to 4, where each increment may change which kernel fits, else the nearest power of two. The
 * fastest kernel changes slowly with size, so a measurement also serves similar sizes, such as a smaller last batch or
 * another patch size, and few measurements serve a whole network.
 */
export const bucket = (size: number): number => (size <= 4 ? size : 2 ** Math.round(Math.log2(size)));

export interface SelectOptions {
  /** The name of the variant to use. */
  readonly variant?: string | undefined;
  readonly fusion?: Fusion | null;
}

/**
 * Lowers a kernel with the named variant; default: the one that tuning found fastest if its guard holds, otherwise the
 * first whose guard holds. The result lists the candidates.
 *
 * @throws Error if the named variant, or any, does not support these sizes; it lists those that do
 */
export function selectVariant<Params>(
  spec: KernelSpec,
  variants: readonly Variant<Params>[],
  params: Params,
  target: Target,
  { variant: name, fusion = null }: SelectOptions = {},
): Lowered {
  const keyOf = (): string => `${spec.family} ${spec.shape()} ${spec.dtype}`;
  const fits = (variant: Variant<Params>): boolean => variant.guard(params, target);
  const fitting = (): string[] => variants.filter(fits).map((v) => v.name);
  const named = (wanted: string | undefined) => variants.find((v) => v.name === wanted && fits(v));
  const tuned = (): string | undefined => target.tuned?.size ? target.tuned.get(keyOf()) : undefined;
  const variant = name === undefined ? (named(tuned()) ?? variants.find(fits)) : named(name);
  if (!variant) {
    throw new Error(
      `${spec.family}: variant ${name ?? "(any)"} does not take these sizes; these do: ${fitting().join(", ")}`,
    );
  }
  const choice: VariantChoice = {
    ...spec,
    get key() {
      return keyOf();
    },
    get variants() {
      return fitting();
    },
    lower: (one) => named(one)!.lower(params, target),
  };
  return { ...variant.lower(params, target, fusion), choice };
}
