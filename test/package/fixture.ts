import { random } from "../../engine/mod.ts";
import { makeVolume, scaling, writeNifti } from "../../engine/imaging/mod.ts";
import { predictor, saveModel } from "../../engine/train/mod.ts";
import { architectureOf, networkFromPlan } from "../../models/mod.ts";
import { noise } from "../helpers/noise.ts";
import { planFor } from "../helpers/plans.ts";

/** A model and a scan as the module fixture.js of a project, and the labels that the sources give, a digit a voxel. */
export async function fixture(): Promise<{ module: string; labels: string }> {
  const plan = planFor({});
  const network = networkFromPlan(plan);
  const params = network.init(random.key(7));
  const scan = makeVolume(Float32Array.from(noise(13 * 11 * 9)), { shape: [13, 11, 9], affine: scaling([1, 1, 1]) });
  const { predict } = predictor([{ network, params: [params], plan }]);
  const { labels } = await predict(scan);
  const model = await saveModel(params, { network: plan.network.name, architecture: architectureOf(plan), plan });
  const bytes = (name: string, value: Uint8Array): string =>
    `export const ${name} = Uint8Array.from(atob("${
      Buffer.from(value).toString("base64")
    }"), (c) => c.charCodeAt(0));\n`;
  return {
    module: bytes("model", model) + bytes("scan", writeNifti(scan, { gzip: true })),
    labels: Array.from(labels.data).join(""),
  };
}

/** The share of voxels whose labels differ. */
export function difference(a: string, b: string): number {
  if (a.length !== b.length) return 1;
  return [...a].filter((label, k) => label !== b[k]).length / a.length;
}
