import type { EngineFlags, Platform } from "./types.ts";
import { closeGpu, openAdapter } from "./adapters/node_gpu.ts";
import { processHost } from "./process_host.ts";

/** Node on a terminal or a server. */
export const platform: Platform = {
  ...processHost,
  name: "node",
  // A getter, because `voxgrad run` removes its own words before the script reads them.
  get args(): readonly string[] {
    return processHost.args;
  },
  get flags(): EngineFlags {
    return processHost.flags;
  },
  openAdapter: (options = {}) => openAdapter(options),
  closeGpu,
};
