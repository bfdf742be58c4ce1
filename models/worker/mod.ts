/** Models whose work runs in a worker: the thread that asks stays free. */
import { hostThread, webThread, type WebWorker } from "../../engine/platform/worker_ports.ts";
import { check } from "../../engine/segmenting.ts";
import type { ModelSource } from "../../engine/train/mod.ts";
import type { OpenModelOptions } from "../open/open_model.ts";
import { type RemoteModel, remoteModel } from "./remote_model.ts";

export type { RemoteModel, RemoteScanOptions } from "./remote_model.ts";
export type { OpenModelOptions } from "../open/open_model.ts";
export type { Scan, Segmentation, Support, WritableVolume } from "../open/segmentation_model.ts";

export interface WorkerModelOptions extends OpenModelOptions {
  /**
   * A worker of the caller's that runs the module voxgrad/worker_main. It may have several models, and stays when they
   * are disposed of. Default: a new one, which ends with the model.
   */
  readonly worker?: WebWorker;
}

/**
 * Opens a model as `openModel` of voxgrad/models does, in a worker: a module worker of the page, or a thread of Node or
 * Deno. The model is the same object. Its results are moved here; scans are copied, or moved with `transfer: true`.
 * Errors are those of the worker, by name and message.
 *
 * @param source as of openModel; a path in a page is that of a model file in the page's files
 * @throws as openModel; VoxgradError if the worker cannot be started
 * @example
 * ```ts
 * import { openModel } from "voxgrad/worker";
 *
 * const model = await openModel("runs/liver");
 * const { labels } = await model.segment("scan.nii.gz", { signal: AbortSignal.timeout(60_000) });
 * await labels.write("liver.nii.gz");
 * model.dispose();
 * ```
 */
export async function openModel(
  source: ModelSource | readonly ModelSource[],
  { worker, ...options }: WorkerModelOptions = {},
): Promise<RemoteModel> {
  if (worker) return remoteModel(webThread(worker), source, options, false);
  const main = import.meta.url.replace(/mod\.(\w+)([?#].*)?$/, "worker_main.$1");
  return remoteModel(await hostThread(main) ?? pageThread(), source, options, true);
}

function pageThread() {
  check(
    typeof Worker !== "undefined",
    "voxgrad/worker",
    () => "there are no workers here; use openModel of voxgrad/models",
  );
  // Bundlers find the worker's module by this expression.
  return webThread(new Worker!(new URL("./worker_main.js", import.meta.url), { type: "module" }));
}
