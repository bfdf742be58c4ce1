// openModel in a host's own thread and in a worker thread: the labels of both.
import * as vg from "../../engine/mod.ts";
import { makeVolume, writeNifti } from "../../engine/imaging/mod.ts";
import { saveModel } from "../../engine/train/mod.ts";
import { networkFromPlan, openModel } from "../../models/mod.ts";
import { openModel as openInWorker } from "../../models/worker/mod.ts";
import { noise } from "../helpers/noise.ts";
import { planFor } from "../helpers/plans.ts";

export default async function segment(): Promise<{ here: number[]; there: number[]; aborted: string }> {
  const plan = planFor({ labels: ["background", "a", "b"] });
  const { name: network, ...shape } = plan.network;
  const description = { network, architecture: { inputChannels: 1, classes: 3, ...shape }, plan };
  const weights = await saveModel(networkFromPlan(plan).init(vg.random.key(3)), description);
  const image = makeVolume(Float32Array.from(noise(15 * 17 * 9, 1)), {
    shape: [15, 17, 9],
    affine: [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1],
    name: "scan",
  });
  const scan = new Blob([writeNifti(image, { gzip: true })]);
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
