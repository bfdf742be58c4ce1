/**
 * What segmenting needs of the engine. The entry points bring the methods of Tensor, and those every operator with its
 * kernels; whatever `openModel` always loads imports its values from here.
 */
export { countProducts } from "./compile/count.ts";
export { fromHalf, toHalf } from "./core/dtype.ts";
export { check, checkOptions, show, VoxgradError } from "./core/errors.ts";
export { parseJson } from "./core/json.ts";
export { Tensor } from "./core/tensor.ts";
export * as tree from "./core/tree.ts";
export { loadImage } from "./imaging/dataset/load_case.ts";
export { checkSpacing } from "./imaging/dataset/spacing.ts";
export { isNiftiSource, readVolume } from "./imaging/formats/read_volume.ts";
export { perDecoderStage, perStage, registerNetworkRules } from "./imaging/plan/network_rules.ts";
export { inputChannels, outputChannels } from "./imaging/plan/plan.ts";
export { checkMemory } from "./imaging/volume/memory.ts";
export { isVolume } from "./imaging/volume/volume.ts";
export { initialize, type Initialized, type Parameter } from "./nn/init.ts";
export * from "./nn/layers.ts";
export { loadParameters } from "./nn/safetensors.ts";
export { tensor, zeros } from "./ops/elementwise/creation.ts";
export { add, leakyRelu } from "./ops/elementwise/elementwise.ts";
export * as random from "./ops/random/keys.ts";
export { concat } from "./ops/shape/concat.ts";
export { slice } from "./ops/shape/slice.ts";
export { postprocess, readPostprocessing } from "./train/predict/postprocess.ts";
export { predictor } from "./train/predict/predictor.ts";
export { resident } from "./train/predict/resident.ts";
export { base64, fromBase64 } from "./train/run/base64.ts";
export { ConfigError, entry } from "./train/run/config.ts";
export { modelFiles } from "./train/run/find_models.ts";
export { loadModel } from "./train/run/model_file.ts";
