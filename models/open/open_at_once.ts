/** openModel for workers and for the module of pages, which are one file each and load nothing later. */
import "./other_networks.ts";
import { oneShotModel } from "./one_shot_model.ts";
import { foreignModel } from "./foreign_model.ts";
import { openNnunet } from "./nnunet_model.ts";
import { openAny } from "./open_any.ts";
import type { openModel as whenNeeded } from "./open_model.ts";
import { writeVolume } from "./write_volume.ts";

const nothing = (): void => undefined;

export const openModel: typeof whenNeeded = (source, options = {}) =>
  openAny(source, options, {
    otherNetworks: nothing,
    onnxNetwork: nothing,
    oneShotModel,
    foreignModel,
    openNnunet,
    writeVolume,
  });
