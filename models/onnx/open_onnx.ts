/** Opens ONNX models as differentiable functions. */
import { checkOptions, type Params, type Tensor } from "../../engine/mod.ts";
import type { FileSource } from "../../engine/train/mod.ts";
import type { OnnxModel, OnnxOptions } from "./model.ts";

export type { OnnxInput, OnnxModel, OnnxOptions, OnnxParams } from "./model.ts";

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
 * import { type OnnxParams, openOnnx } from "voxgrad/models";
 *
 * const model = await openOnnx("network.onnx");
 * console.log(model.inputs); // [{ name: "input", type: "float", dtype: "f32", shape: [1, 1, "depth", 64, 64] }]
 * const x = random.normal(random.key(0), { shape: [1, 1, 32, 64, 64] });
 * const run = compile(model.apply);
 * const { output } = await run(model.params, { input: x });
 * const gradients = grad((p: OnnxParams) => model.apply(p, { input: x }).output.square().mean())(model.params);
 * const bytes = await model.save(tree.map(model.params, gradients, (p, g) => p.sub(g.mul(0.01))));
 * ```
 */
export async function openOnnx(source: FileSource, options: OnnxOptions = {}): Promise<OnnxModel> {
  checkOptions("openOnnx", options, ["external"]);
  const { openOnnxFile } = await import("./model.ts");
  return openOnnxFile(source, options);
}

/**
 * Writes a function as an ONNX model of opset 17, with its parameters by their names as initializers. Shapes are those
 * of the inputs; axes of other sizes need another export. What is computed in f16 is f32 in the file.
 *
 * @param f of parameters and inputs, to a tensor (the output "output") or a tree of them (by their paths)
 * @param params a tree of tensors; what the function uses from outside is stored as constants
 * @param inputs tensors by name, of which shape and type count
 * @param options.metadata entries for the file
 * @throws VoxgradError for operators without a translation, by name, and names that are given twice
 * @example
 * ```ts
 * import { random, zeros } from "voxgrad";
 * import { exportOnnx, plainConvUNet } from "voxgrad/models";
 * import { RunFolder } from "voxgrad/train";
 *
 * const sizes = { inputChannels: 1, features: [8, 16], kernels: 3, strides: [1, 2], convsPerStage: 1 };
 * const model = plainConvUNet({ ...sizes, classes: 3 });
 * const params = model.init(random.key(1));
 * const input = zeros([1, 1, 16, 16, 16]);
 * const bytes = await exportOnnx((p, { input }) => model.apply(p, input), params, { input });
 * await new RunFolder("runs/export").write("network.onnx", bytes);
 * ```
 */
export async function exportOnnx<P extends Params>(
  f: (params: P, inputs: Readonly<Record<string, Tensor>>) => unknown,
  params: P,
  inputs: Readonly<Record<string, Tensor>>,
  options: { metadata?: Readonly<Record<string, string>> } = {},
): Promise<Uint8Array> {
  checkOptions("exportOnnx", options, ["metadata"]);
  const { writeOnnx } = await import("./export.ts");
  return writeOnnx(f as (params: Params, inputs: Readonly<Record<string, Tensor>>) => unknown, params, inputs, {
    ...options.metadata,
  });
}
