import { closeGpu, openAdapter } from "./adapters/node_gpu.ts";
import { processHost, programFlags, workersOnDisk } from "./process_host.ts";
import type { Platform } from "./types.ts";

/** Node on a terminal or a server. */
export const platform: Platform = {
  ...processHost,
  name: "node",
  get flags() {
    return programFlags();
  },
  get openWorkers() {
    return workersOnDisk();
  },
  openAdapter: (options = {}) => openAdapter(options),
  closeGpu,
};
