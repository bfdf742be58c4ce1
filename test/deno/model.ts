// openModel in a host's own thread and in a worker thread: the labels of both.
import * as vg from "../../engine/mod.ts";
import { openModel } from "../../models/mod.ts";
import { openModel as openInWorker } from "../../models/worker/mod.ts";
import { smallModel } from "../models/open/small_models.ts";

export default async function segment(): Promise<{ here: number[]; there: number[]; aborted: string }> {
  const { weights, scan: bytes } = await smallModel();
  const scan = new Blob([bytes]);
  const model = await openModel(new Blob([weights as Uint8Array<ArrayBuffer>]));
  const here = await model.segment(scan);
  model.dispose();
  await vg.closeDevice();
  const remote = await openInWorker(weights);
  const there = await remote.segment(scan);
  const controller = new AbortController();
  const aborted = await remote.segment(scan, { signal: controller.signal, onProgress: () => controller.abort() })
    .then(() => "", (error) => error.name);
  remote.dispose();
  return { here: [...here.labels.data], there: [...there.labels.data], aborted };
}
