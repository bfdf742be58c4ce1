/** openModel for workers and for the module of pages, which are one file each and load nothing later. */
import * as encoders from "./one_shot_model.ts";
import { openAny } from "./open_any.ts";
import type { openModel as whenNeeded } from "./open_model.ts";

export const openModel: typeof whenNeeded = (source, options = {}) => openAny(source, options, () => encoders);
