/** The encoder is registered by name alone: what it segments with is built by openModel and segment_one_shot. */
import { ConfigError } from "../../engine/segmenting.ts";
import { registerNetwork } from "../known_networks.ts";

/** Its name in model files. */
export const ENCODER = "alpnetEncoder";

registerNetwork(ENCODER, {
  build(_, file) {
    throw new ConfigError(`${file}: it holds an encoder, which needs labeled scans; use segment_one_shot`);
  },
});
