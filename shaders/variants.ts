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
  const choice = new Choice(spec, variants, params, target);
  const tuned = name === undefined && target.tuned?.size ? target.tuned.get(choice.key) : undefined;
  const wanted = name ?? tuned;
  const variant = (wanted !== undefined && choice.named(wanted)) || (name === undefined && choice.first);
  if (!variant) {
    const these = choice.variants.join(", ");
    throw new Error(`${spec.family}: variant ${name ?? "(any)"} does not take these sizes; these do: ${these}`);
  }
  return { ...variant.lower(params, target, fusion), choice };
}

class Choice<Params> implements VariantChoice {
  readonly spec: KernelSpec;
  readonly #all: readonly Variant<Params>[];
  readonly #params: Params;
  readonly #target: Target;

  constructor(spec: KernelSpec, all: readonly Variant<Params>[], params: Params, target: Target) {
    this.spec = spec;
    this.#all = all;
    this.#params = params;
    this.#target = target;
  }

  get key(): string {
    return `${this.spec.family} ${this.spec.shape()} ${this.spec.dtype}`;
  }

  get variants(): string[] {
    return this.#all.filter((v) => this.#fits(v)).map((v) => v.name);
  }

  /** The first variant whose guard holds. */
  get first(): Variant<Params> | undefined {
    return this.#all.find((v) => this.#fits(v));
  }

  /** The variant of that name, if its guard holds. */
  named(name: string): Variant<Params> | undefined {
    return this.#all.find((v) => v.name === name && this.#fits(v));
  }

  lower(name: string): Lowered {
    return this.named(name)!.lower(this.#params, this.#target);
  }

  #fits(variant: Variant<Params>): boolean {
    return variant.guard(this.#params, this.#target);
  }
}
