/** Writing by a module that is loaded for the first volume that is written, since most pages write none. */
import type { WriteVolume } from "./segmentation_model.ts";

export const writeLater: WriteVolume = async (...args) => (await import("./write_volume.ts")).writeVolume(...args);
