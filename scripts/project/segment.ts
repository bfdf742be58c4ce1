// Segments a scan with the trained model: `npm run segment -- SCAN.nii.gz LABELS.nii.gz`.
import { closeDevice } from "voxgrad";
import { openModel } from "voxgrad/models";
import { config, entry, print } from "voxgrad/train";

const { scan, labels, model: path } = config({
  scan: entry("runs/first/phantom/imagesTr/phantom_001.nii.gz", "NIfTI file", { positional: true }),
  labels: entry("labels.nii.gz", "file for the labels", { positional: true }),
  model: entry("runs/first", "run folder, or model.safetensors"),
});
const model = await openModel(path);
const found = await model.segment(scan);
await found.labels.write(labels);
for (const { name, value } of model.labels) {
  print(`${name}: ${found.labels.data.filter((each) => each === value).length} voxels`);
}
print(`Written: ${labels}`);
model.dispose();
await closeDevice();
