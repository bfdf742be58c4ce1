/** Types shared by kernel templates. A template turns static sizes into WGSL; it never touches a device. */

/** What a kernel may assume about the adapter: limits and characteristics. */
export interface Target {
  /** Whether kernels suit a CPU implementation (lavapipe, SwiftShader), where registers beat workgroup memory. */
  readonly software: boolean;
  /**
   * Whether kernels that read elements many times fuse elementwise functions into their loads, because arithmetic is
   * cheap.
   */
  readonly fusesPrologues?: boolean;
  /**
   * Whether kernels output moments of parts of their result for a norm that follows, which then does not read the
   * result.
   */
  readonly sharesStatistics?: boolean;
  readonly maxWorkgroupSize: number;
  readonly maxWorkgroupsPerDimension: number;
  readonly maxWorkgroupStorage: number;
  readonly maxStorageBuffers: number;
  readonly maxBindingBytes: number;
  readonly features: ReadonlySet<string>;
  /** Minimum lanes per subgroup, if the adapter reports it. */
  readonly subgroupMinSize?: number | undefined;
  /** Maximum lanes per subgroup, if the adapter reports it. */
  readonly subgroupMaxSize?: number | undefined;
  /** Subgroup matrix shapes, with the feature "chromium-experimental-subgroup-matrix". */
  readonly subgroupMatrices?: readonly SubgroupMatrix[] | undefined;
  /** The fastest variants measured on this adapter, by kernel key. */
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
 * One compute pipeline: WGSL with entry point `main`. Bindings are in group 0: first the inputs (`var<storage,
 * read>`), in the order of `Dispatch.reads`, then the outputs (`var<storage, read_write>`), then the sizes.
 */
export interface Kernel {
  /** Short and stable, for labels and profiles: `conv_forward.tile4x8`. */
  readonly name: string;
  /** The WGSL, printed when a pipeline is created. */
  readonly source: () => string;
  readonly workgroups: readonly [number, number, number];
  /** Contents of a uniform buffer of u32 that is bound after all others, if the kernel reads one. */
  readonly sizes?: readonly number[];
  /** Floating-point operations of one dispatch, if the kernel is compute-bound. */
  readonly flops?: number;
  /** Whether these are products of f16 numbers, which matrix units can compute. */
  readonly matrix?: boolean;
}

/**
 * A buffer of a lowered operator: input i, output i (0 except for kernels with several), or temporary i. A buffer that
 * exceeds a binding is bound in chunks of `chunkElements` elements.
 */
export type Slot = { input: number; chunk?: number } | { output: number; chunk?: number } | { temp: number };

/** Elements that fit in a binding for any type; a multiple of the offset alignment. */
export const chunkElements = (target: Target): number => Math.floor(target.maxBindingBytes / 1024) * 256;

/** Widest useful workgroup that the adapter supports: a power of two, at most 256. */
export const widestGroup = (target: Target): number =>
  2 ** Math.floor(Math.log2(Math.min(256, target.maxWorkgroupSize)));

export interface Dispatch {
  readonly kernel: Kernel;
  readonly reads: readonly Slot[];
  readonly writes: readonly Slot[];
}

/** An operator as an ordered list of dispatches, with the bytes of each temporary buffer they share. */
export interface Lowered {
  readonly temps: readonly number[];
  readonly dispatches: readonly Dispatch[];
  /** If there are several variants: the selected one and the alternatives. */
  readonly choice?: VariantChoice;
  /** Location of the moments that `Fusion.moments` requested. */
  readonly moments?: PartialMoments;
}

/**
 * Means and sums of squared deviations (vec2f) of parts of a result, in a temporary: the result is split into rows of
 * `length` elements, and each row into parts of `share`, the last of which may be shorter.
 */
export interface PartialMoments {
  readonly temp: number;
  readonly length: number;
  readonly share: number;
}

/** Declarations that printed statements require. */
export interface Declarations {
  /** Functions of shaders/library.ts. */
  readonly functions: readonly string[];
  /** Functions of this kernel, as WGSL. */
  readonly loaders: readonly string[];
  readonly usesF16: boolean;
}

/** Numbers that printed statements name, which the kernel reads: see sizes.ts. */
export interface Numbers {
  readonly unsigned: Readonly<Record<string, number>>;
  readonly floats: Readonly<Record<string, number>>;
}

/** An elementwise function of the index `i`, and for a result of its value `given`. */
export interface Fused {
  /** Used in the kernel's name. */
  readonly name: string;
  /** Element types of its bindings `{operand}_0`, `{operand}_1`, ... */
  readonly reads: readonly string[];
  /** The storage type of a result. */
  readonly type: string;
  /** Its WGSL. With `lifts` its numbers are names that the kernel has to declare. */
  readonly code: (lifts: boolean) => FusedCode;
}

/** Statements, their value, the library functions that they call, and the numbers that they name. */
export interface FusedCode {
  readonly functions: readonly string[];
  readonly body: string;
  readonly value: string;
  readonly numbers: Numbers;
}

/** Functions that replace loads of inputs (null for plain loads) and the store of the result. */
export interface Fusion {
  readonly loads: readonly (Fused | null)[];
  readonly store: Fused | null;
  /** A function of each stored result, whose moments are computed as well; it has no bindings. */
  readonly moments?: Fused | null;
  /** The index of the first binding of `loads` and then `store`, counted as inputs. */
  readonly first: number;
}

/** A computation that several kernel variants implement, with its memory requirements. */
export interface KernelSpec {
  /** The operator name. */
  readonly family: string;
  /** Sizes and options that affect which kernel is fastest; similar ones share a string. Only tuning asks for it. */
  readonly shape: () => string;
  /** Storage type of inputs and output. */
  readonly dtype: "f32" | "f16";
  /** Elements of each input and of the output. */
  readonly inputs: readonly number[];
  readonly output: number;
}

/** A choice between variants, for tuning. */
export interface VariantChoice {
  readonly spec: KernelSpec;
  /** Names the kernel in stored choices. */
  readonly key: string;
  /** The variants whose guards hold, the default first. */
  readonly variants: readonly string[];
  /** Lowers the same computation with another variant, without fused functions. */
  lower(variant: string): Lowered;
}

/** One implementation of an operator: the default is the first variant of a list whose guard holds. */
export interface Variant<Params> {
  readonly name: string;
  readonly guard: (params: Params, target: Target) => boolean;
  readonly lower: (params: Params, target: Target, fusion?: Fusion | null) => Lowered;
}
