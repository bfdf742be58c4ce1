// Segments a phantom with a model of random weights, to be run in Node and in browsers.
import { random } from "../../../engine/mod.ts";
import { phantomCase, type Plan } from "../../../engine/imaging/mod.ts";
import { saveModel } from "../../../engine/train/mod.ts";
import { architectureOf, networkFromPlan, openModel } from "../../../models/mod.ts";

/** How many voxels have each label, and every hundredth probability. */
export default async function (plan: Plan): Promise<{ counts: number[]; probabilities: number[] }> {
  const params = networkFromPlan(plan).init(random.key(3));
  const network = { network: plan.network.name, architecture: architectureOf(plan), plan };
  const model = await openModel(new Blob([await saveModel(params, network) as Uint8Array<ArrayBuffer>]));
  const { image } = phantomCase({ seed: 5, shape: [19, 22, 17] });
  const { labels, probabilities } = await model.segment(image, { probabilities: true });
  model.dispose();
  const counts = plan.labels.map((_, value) => [...labels.data].filter((label) => label === value).length);
  return { counts, probabilities: [...probabilities!.data].filter((_, k) => k % 97 === 0) };
}
