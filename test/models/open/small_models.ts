/** Small trained models as files, and scans for them. */
import { random } from "../../../engine/mod.ts";
import { makeVolume, type Volume, writeNifti } from "../../../engine/imaging/mod.ts";
import { saveModel } from "../../../engine/train/mod.ts";
import { architectureOf, networkFromPlan } from "../../../models/mod.ts";
import { noise } from "../../helpers/noise.ts";
import { planFor } from "../../helpers/plans.ts";

/** A network of three classes with the weights of a key, and a scan of odd sizes that takes several patches. */
export async function smallModel() {
  const plan = planFor({ labels: ["background", "a", "b"] });
  const description = { network: plan.network.name, architecture: architectureOf(plan), plan };
  const weights = await saveModel(networkFromPlan(plan).init(random.key(3)), description);
  const image: Volume = makeVolume(Float32Array.from(noise(15 * 17 * 9, 1)), {
    shape: [15, 17, 9],
    affine: [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1],
    name: "scan",
  });
  return { plan, weights, image, scan: writeNifti(image, { gzip: true }) };
}

/** Architecture of an encoder with two stages of one block. */
export const SMALL_ENCODER = {
  block: "basic",
  layers: [1, 1],
  width: 8,
  inputChannels: 1,
  features: 8,
  replaceStrideWithDilation: [true],
} as const;
