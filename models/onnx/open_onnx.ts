/** Opens ONNX models as differentiable functions. */
import { checkOptions } from "../../engine/mod.ts";
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
