// What every host runs: a gradient, and a scan segmented by a model.
import { grad, tensor } from "voxgrad";
import { openModel } from "voxgrad/models";
import { model, scan } from "./fixture.js";

export async function run() {
  const slope = await grad((x) => x.square().sum())(tensor([1, 2, 3])).array();
  const opened = await openModel(model);
  const { labels } = await opened.segment(scan);
  opened.dispose();
  return { slope, labels: Array.from(labels.data).join("") };
}
