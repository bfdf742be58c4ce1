/** Types shared by kernel templates. A template turns static sizes into WGSL; it never touches a device. */

/** What a kernel may rely on: limits and character of the adapter it will run on. */
export interface Target {
  /** True on a CPU implementation (lavapipe, SwiftShader): register tiling wins over workgroup memory there. */
  readonly software: boolean;
  /**
   * Whether kernels that read elements many times compute elementwise functions as they do: arithmetic is cheap then.
   */
  readonly fusesPrologues?: boolean;
  /** Whether kernels leave the moments of parts of their result to a norm that follows, which then reads no more. */
  readonly sharesStatistics?: boolean;
  readonly maxWorkgroupSize: number;
  readonly maxWorkgroupsPerDimension: number;
  readonly maxWorkgroupStorage: number;
  readonly maxStorageBuffers: number;
  readonly maxBindingBytes: number;
  readonly features: ReadonlySet<string>;
  /** Lanes that every subgroup has at least, where the adapter tells. */
  readonly subgroupMinSize?: number | undefined;
  /** Lanes that no subgroup exceeds, where the adapter tells. */
  readonly subgroupMaxSize?: number | undefined;
  /** Matrices that a subgroup multiplies as one, with the feature "chromium-experimental-subgroup-matrix". */
  readonly subgroupMatrices?: readonly SubgroupMatrix[] | undefined;
  /** Variants that were measured to be the fastest on this adapter, by the key of the choice. */
  readonly tuned?: ReadonlyMap<string, string>;
}

/** A product of an M x K and a K x N matrix, both of `componentType`, to one of `resultComponentType`. */
export interface SubgroupMatrix {
  readonly componentType: string;
  readonly resultComponentType: string;
  readonly M: number;
  readonly N: number;
  readonly K: number;
}

/**
 * One compute pipeline: WGSL with entry point `main`. Bindings are in group 0: first what the kernel reads
 * (`var<storage, read>`), in the order of `Dispatch.reads`, then what it writes (`var<storage, read_write>`).
 */
export interface Kernel {
  /** Short and stable, for labels and profiles: `conv_forward.tile4x8`. */
  readonly name: string;
  /** The WGSL, printed where a pipeline is made of it. */
  readonly source: () => string;
  readonly workgroups: readonly [number, number, number];
  /** Floating-point operations of one dispatch, where they are the point of the kernel. */
  readonly flops?: number;
}

/**
 * A buffer of a lowered operator: input i, output i (0 except for kernels with several), or temporary i. A buffer that
 * is larger than what can be bound is bound in chunks of `chunkElements` elements.
 */
export type Slot = { input: number; chunk?: number } | { output: number; chunk?: number } | { temp: number };

/** Elements that a binding holds whatever their type; a multiple of the alignment that offsets need. */
export const chunkElements = (target: Target): number => Math.floor(target.maxBindingBytes / 1024) * 256;

/**
 * Invocations of a workgroup that is as wide as a kernel can use and the adapter allows: a power of two, 256 at most.
 */
export const widestGroup = (target: Target): number =>
  2 ** Math.floor(Math.log2(Math.min(256, target.maxWorkgroupSize)));

export interface Dispatch {
  readonly kernel: Kernel;
  readonly reads: readonly Slot[];
  readonly writes: readonly Slot[];
}

/** An operator as dispatches in order, with the bytes of each temporary buffer they share. */
export interface Lowered {
  readonly temps: readonly number[];
  readonly dispatches: readonly Dispatch[];
  /** Where variants compute the same: the one that was taken, and the others. */
  readonly choice?: VariantChoice;
  /** Where the kernels wrote them, as `Fusion.moments` asked. */
  readonly moments?: PartialMoments;
}

/**
 * Means and sums of squared deviations (vec2f) of parts of a result, in a temporary: the result is cut into rows of
 * `length` elements, and each row into parts of `share`, the last of which may be shorter.
 */
export interface PartialMoments {
  readonly temp: number;
  readonly length: number;
  readonly share: number;
}

/** What printed statements need declared. */
export interface Declarations {
  /** Functions of shaders/library.ts. */
  readonly functions: readonly string[];
  /** Functions of the kernel's own, as WGSL. */
  readonly loaders: readonly string[];
  readonly usesF16: boolean;
}

/** An elementwise function of the place `i`, and for a result of its value `given`. */
export interface Fused {
  /** For the name of the kernel. */
  readonly name: string;
  /** Element types of its bindings `{operand}_0`, `{operand}_1`, ... */
  readonly reads: readonly string[];
  /** The type of a result in memory. */
  readonly type: string;
  /** Its WGSL: statements, their value, and the functions of the library that they call. */
  readonly code: () => { readonly functions: readonly string[]; readonly body: string; readonly value: string };
}

/** Functions in place of reading inputs, null for those that are read, and of writing the result. */
export interface Fusion {
  readonly loads: readonly (Fused | null)[];
  readonly store: Fused | null;
  /** A function of each result as it lies in memory, whose moments are written as well; it has no bindings. */
  readonly moments?: Fused | null;
  /** The number of the first binding of `loads` and then `store`, counted as inputs. */
  readonly first: number;
}

/** What several kernel variants can compute, and the memory that they need for it. */
export interface KernelSpec {
  /** The operator, in words. */
  readonly family: string;
  /** Sizes and options that decide which kernel is fastest; similar ones share a string. */
  readonly shape: string;
  /** The type of inputs and output in memory. */
  readonly dtype: "f32" | "f16";
  /** Elements of each input and of the output. */
  readonly inputs: readonly number[];
  readonly output: number;
}

/** A choice between variants, for those who measure them. */
export interface VariantChoice extends KernelSpec {
  readonly key: string;
  /** The variants whose guards hold, the default first. */
  readonly variants: readonly string[];
  /** Lowers the same with another variant, without fused functions. */
  lower(variant: string): Lowered;
}

/** One way to compute an operator: the first variant of a list whose guard holds is the default. */
export interface Variant<Params> {
  readonly name: string;
  readonly guard: (params: Params, target: Target) => boolean;
  readonly lower: (params: Params, target: Target, fusion?: Fusion | null) => Lowered;
}
