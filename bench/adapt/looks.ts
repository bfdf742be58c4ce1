// What three corrected scans of another look are worth: a U-Net is trained on 60 cases of a folder as they are, and
// adapted to cases whose intensities are inverted or blurred. Prints Dice on held-out cases of that look before and after,
// and the seconds that adapting took.
// `npx voxgrad run bench/adapt/looks.ts DATASET OUT --looks inverted,blurred`
import { loadCase, openDataset, type Volume, writeVolume } from "../../engine/imaging/mod.ts";
import { type Dataset, writeNifti } from "../../engine/imaging/mod.ts";
import { closeDevice } from "../../engine/mod.ts";
import { config, ConfigError, entry, formatTable, print, printDevice, splitList } from "../../engine/train/mod.ts";
import { withDefaults } from "../../engine/train/mod.ts";
import { platform } from "#platform";
import { adapt, adaptEntries } from "../../scripts/adapt.ts";
import { trainUnet, unetEntries } from "../../scripts/train_unet.ts";
import { meanDice } from "./mean_dice.ts";

const options = config({
  data: entry("", "labeled dataset, such as Task04_Hippocampus", { positional: true }),
  out: entry("", "folder for what is made", { positional: true }),
  looks: entry("inverted,blurred", "inverted: the largest value minus each; blurred: by a Gaussian of 1.5 voxels"),
  cases: entry(60, "cases that the model is trained on", { integer: true, min: 2 }),
  corrected: entry(3, "cases of the other look that it is adapted on", { integer: true, min: 1 }),
  held: entry(20, "other cases of that look, on which it is measured", { integer: true, min: 1 }),
  steps: entry(400, "steps of the training", { integer: true, min: 1 }),
  adaptSteps: entry(adaptEntries.steps.value, "steps of adapting", { integer: true, min: 1 }),
  rate: entry(adaptEntries.rate.value, "learning rate of adapting"),
});
if (options.data === "" || options.out === "") throw new ConfigError("Name a dataset and a folder for what is made");
await printDevice();
const { out } = options;

/** The image with the values of another look. */
const looks: Readonly<Record<string, (image: Volume) => Float32Array<ArrayBuffer>>> = {
  inverted({ data }) {
    let most = -Infinity;
    for (const value of data) most = Math.max(most, value);
    return Float32Array.from(data, (value) => most - value);
  },
  blurred({ data, shape }) {
    const weights = [-3, -2, -1, 0, 1, 2, 3].map((at) => Math.exp(-(at * at) / (2 * 1.5 ** 2)));
    let values = Float32Array.from(data);
    let stride = 1;
    for (const size of shape) {
      values = values.map((_, at) => {
        const own = Math.floor(at / stride) % size;
        let [sum, total] = [0, 0];
        weights.forEach((weight, k) => {
          const other = own + k - 3;
          if (other < 0 || other >= size) return;
          sum += weight * values[at + (k - 3) * stride];
          total += weight;
        });
        return sum / total;
      });
      stride *= size;
    }
    return values;
  },
  original: ({ data }) => Float32Array.from(data),
};

/** Writes cases of a dataset as a dataset of its own, with the values of a look. */
async function write(folder: string, dataset: Dataset, from: number, to: number, look: string): Promise<void> {
  for (const item of dataset.cases.slice(from, to)) {
    const { image, label } = await loadCase(dataset, item);
    await writeVolume(`${folder}/imagesTr/${item.id}_0000.nii.gz`, { ...image, data: looks[look](image) });
    await platform.writeFile(
      `${folder}/labelsTr/${item.id}.nii.gz`,
      writeNifti(label!, { dtype: "uint8", gzip: true }),
    );
  }
  const labels = Object.fromEntries(dataset.labels.map(({ name, value }) => [name, value]));
  const channels = Object.fromEntries(dataset.channels.map((name, k) => [k, name]));
  const json = { name: look, channel_names: channels, labels, numTraining: to - from, file_ending: ".nii.gz" };
  await platform.writeFile(`${folder}/dataset.json`, JSON.stringify(json));
}

const dataset = await openDataset(options.data);
const { cases, corrected, held } = options;
const base = `${out}/base`;
if (!(await platform.exists(`${base}/model.safetensors`))) {
  await write(`${out}/original`, dataset, 0, cases, "original");
  const sizes = { preset: "small", steps: options.steps, fold: "all", flips: "x", validation: 0 } as const;
  const own = { data: `${out}/original`, run: base, overwrite: true, cache: `${out}/prepared` };
  await trainUnet(withDefaults(unetEntries, { ...sizes, ...own }));
}
const rows: (string | number)[][] = [];
for (const look of splitList(options.looks)) {
  if (!looks[look]) throw new ConfigError(`--looks: got "${look}", wanted ${Object.keys(looks).join(", ")}`);
  const folders = [`${out}/${look}/corrected`, `${out}/${look}/held`];
  await write(folders[0], dataset, cases, cases + corrected, look);
  await write(folders[1], dataset, cases + corrected, cases + corrected + held, look);
  const before = await meanDice(base, folders[1]);
  const started = performance.now();
  await adapt(withDefaults(adaptEntries, {
    model: base,
    data: folders[0],
    run: `${out}/${look}/adapted`,
    overwrite: true,
    steps: options.adaptSteps,
    rate: options.rate,
    cache: `${out}/prepared`,
  }));
  const seconds = (performance.now() - started) / 1000;
  const after = await meanDice(`${out}/${look}/adapted`, folders[1]);
  rows.push([look, before.toFixed(3), after.toFixed(3), (after - before).toFixed(3), seconds.toFixed(0)]);
}
print(formatTable(["look", "before", "after", "gain", "seconds"], rows));
await closeDevice();
