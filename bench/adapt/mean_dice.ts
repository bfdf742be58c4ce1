/** How good a model is on labeled scans. */
import { compareLabels, loadCase, openDataset } from "../../engine/imaging/mod.ts";
import { openModel } from "../../models/mod.ts";

/** Mean Dice of a model, by its path or its bytes, on a folder of labeled scans, over cases and classes. */
export async function meanDice(source: string | Uint8Array, folder: string): Promise<number> {
  const [model, dataset] = [await openModel(source), await openDataset(folder)];
  const classes = dataset.labels.slice(1).map(({ name, value }) => ({ name, values: [value] }));
  const all: number[] = [];
  for (const item of dataset.cases) {
    const { image, label } = await loadCase(dataset, item);
    const { labels } = await model.segment(image);
    all.push(...compareLabels(labels, label!, { classes }).map(({ dice }) => dice));
  }
  model.dispose();
  return all.reduce((a, b) => a + b) / all.length;
}
