/** Opens ONNX models as differentiable functions. */
import { checkOptions, type DType, type Tensor, type TypedArray } from "../../engine/mod.ts";
import type { FileSource } from "../../engine/train/mod.ts";

/** Parameters of a model by the names of its initializers. */
export type OnnxParams = Readonly<Record<string, Tensor>>;

/** An input or output of a model. */
export interface OnnxInput {
  readonly name: string;
  /** As ONNX names it: float, int64, ... */
  readonly type: string;
  /** What stands for it here; null for types that are not supported. */
  readonly dtype: DType | null;
  /** Sizes, or the names of those that each call binds ("?" without a name); null if the file does not say. */
  readonly shape: readonly (number | string)[] | null;
}

export interface OnnxOptions {
  /** Files of weights beside the model by the names that it has for them; by default they are read beside it. */
  readonly external?: Readonly<Record<string, FileSource>>;
}

export interface OnnxModel {
  /** The float initializers that the graph computes with; statistics of batch norm are constants. */
  readonly params: OnnxParams;
  readonly inputs: readonly OnnxInput[];
  readonly outputs: readonly OnnxInput[];
  /** Version of the operators. */
  readonly opset: number;
  /** The program that wrote the file. */
  readonly producer: string;
  /** Entries that its writer added. */
  readonly metadata: Readonly<Record<string, string>>;
  /**
   * The outputs by name. Derivatives of any order go through it, and it may be compiled.
   *
   * @param inputs by name, or the only one; numbers for what shapes are computed from
   * @throws VoxgradError for inputs or parameters that the model does not have or whose shapes differ; at the node where
   *   shapes do not fit
   */
  apply(
    params: OnnxParams,
    inputs: Tensor | Readonly<Record<string, Tensor | number | readonly number[] | TypedArray>>,
  ): Record<string, Tensor>;
  /** The file with these parameters, of the types that it has; the rest is unchanged. Weights beside it move into it. */
  save(params: OnnxParams): Promise<Uint8Array>;
}

/**
 * Opens an ONNX model of opset 7 to 21 as a differentiable function whose parameters are its weights. Shapes are
 * computed while a call is built, so axes may differ from call to call. 64-bit integers are i32, and refused where they
 * do not fit; halves, bfloat16 and doubles are f32.
 *
 * @param source path, URL, Blob, File, bytes or file handle
 * @param options.external files of weights beside the model, for sources that are no path or URL
 * @throws VoxgradError for a file that is damaged, UnsupportedOnnx (a VoxgradError) for operators or types that voxgrad
 *   does not have, PlatformError if it cannot be read
 * @example
 * ```ts
 * import { compile, grad, random, tree } from "voxgrad";
 * import { openOnnx } from "voxgrad/models";
 *
 * const model = await openOnnx("network.onnx");
 * console.log(model.inputs); // [{ name: "input", type: "float", dtype: "f32", shape: [1, 1, "depth", 64, 64] }]
 * const x = random.normal(random.key(0), { shape: [1, 1, 32, 64, 64] });
 * const run = compile(model.apply);
 * const { output } = await run(model.params, { input: x });
 * const gradients = grad((params) => model.apply(params, { input: x }).output.square().mean())(model.params);
 * const bytes = await model.save(tree.map(model.params, gradients, (p, g) => p.sub(g.mul(0.01))));
 * ```
 */
export async function openOnnx(source: FileSource, options: OnnxOptions = {}): Promise<OnnxModel> {
  checkOptions("openOnnx", options, ["external"]);
  const { openOnnxFile } = await import("./model.ts");
  return openOnnxFile(source, options);
}
