/** Opens TensorFlow.js layers models as differentiable functions. */
import { checkOptions } from "../../engine/mod.ts";
import type { FileSource } from "../../engine/train/mod.ts";
import type { OnnxModel, OnnxOptions } from "../onnx/open_onnx.ts";

/**
 * Opens a layers model of TensorFlow.js (model.json and its files of weights) as a differentiable function whose
 * parameters are its weights. It is translated to ONNX: inputs and outputs are channels first, [N, C, ...space],
 * kernels are laid out as PyTorch's, sizes of space are bound by each call, and `save` writes an ONNX file. Weights
 * quantized to 8 or 16 bits, or to halves, become f32.
 *
 * @param source path, URL, Blob, File, bytes or file handle of model.json
 * @param options.external files of weights by their paths in model.json, for sources that are no path or URL
 * @throws VoxgradError for a file that is damaged, UnsupportedOnnx (a VoxgradError) for layers that voxgrad does not
 *   have, PlatformError if a file cannot be read
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { openLayersModel } from "voxgrad/models";
 *
 * const model = await openLayersModel("meshnet/model.json");
 * const x = random.normal(random.key(0), { shape: [1, 1, 64, 64, 64] });
 * const { output } = model.apply(model.params, x); // by the name of its last layer
 * ```
 */
export async function openLayersModel(source: FileSource, options: OnnxOptions = {}): Promise<OnnxModel> {
  checkOptions("openLayersModel", options, ["external"]);
  const { openLayersFile } = await import("./model.ts");
  return openLayersFile(source, options);
}
