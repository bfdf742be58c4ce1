/** A model in one call, from wherever its file is. */
import { readOtherFormats } from "../../engine/imaging/formats/when_needed.ts";
import type { ModelSource } from "../../engine/train/mod.ts";
import { openAny, type OpenModelOptions, type Parts } from "./open_any.ts";
import type { SegmentationModel } from "./segmentation_model.ts";
import { writeLater } from "./write_later.ts";

export type { OpenModelOptions } from "./open_any.ts";

/** Bundlers make chunks of these. */
export const parts: Parts = {
  otherNetworks: () => import("./other_networks.ts"),
  onnxNetwork: () => import("../onnx/network.ts"),
  oneShotModel: async (...args) => (await import("./one_shot_model.ts")).oneShotModel(...args),
  foreignModel: async (...args) => (await import("./foreign_model.ts")).foreignModel(...args),
  openNnunet: async (...args) => (await import("./foreign_model.ts")).openNnunet(...args),
  writeVolume: writeLater,
};

/**
 * Opens a trained model: of a run folder (all folds of it, with its postprocessing.json), of any exported
 * model.safetensors, of a file of ONNX or TensorFlow.js (model.json) that segments patches, or of what nnU-Net trained:
 * a folder of nnUNet_results, a zip of its export, a checkpoint. Several are averaged. The weights stay on the host and
 * are put on the device when they are needed, so the model outlives a lost device.
 *
 * @param source a model file (path, URL, Blob, File, bytes, file handle), a run folder (path, folder handle), or a list
 *   of them
 * @throws VoxgradError, ConfigError for files that are no models, networks that are not registered, members of other
 *   tasks, or options that the model does not have; SafetensorsError, PlatformError if a file is damaged or cannot be
 *   read
 * @example
 * ```ts
 * import { openModel } from "voxgrad/models";
 *
 * const model = await openModel("runs/liver");
 * console.log(model.labels); // [{ name: "background", value: 0 }, { name: "liver", value: 1 }]
 * const { labels } = await model.segment("scan.nii.gz", {
 *   onProgress: ({ done, total }) => console.log(`${done} of ${total}`),
 * });
 * await labels.write("liver.nii.gz");
 * model.dispose();
 *
 * // An encoder of train_alpnet finds what a labeled scan shows.
 * const encoder = await openModel("runs/encoder");
 * const support = { image: "first.nii.gz", labels: "first_kidney.nii.gz" };
 * const { labels: kidneys } = await encoder.segment("second.nii.gz", { support });
 * ```
 */
export function openModel(
  source: ModelSource | readonly ModelSource[],
  options: OpenModelOptions = {},
): Promise<SegmentationModel> {
  readOtherFormats();
  return openAny(source, options, parts);
}
