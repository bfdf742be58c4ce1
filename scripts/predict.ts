// Labels new images with a network that scripts/train_unet.ts trained: the same scaling, the same window, the same
// bits.
// `npx voxgrad run scripts/predict.ts --run runs/phantom-001 --input scans --output labels`
import {
  closeDevice, config, ConfigError, counted, deviceInfo, entry, findImages, loadCase, loadModel, loadParameters, print,
  random, RunFolder, segmenter, writeNifti,
} from "../engine/mod.ts";
import * as models from "../models/mod.ts";

const options = config({
  run: entry("", "run folder, or its model.safetensors"),
  input: entry("", "NIfTI file, or a folder of them; several channels as CASE_0000, CASE_0001, ..."),
  output: entry("", "folder for the labels, CASE.nii.gz"),
});
for (const key of ["run", "input", "output"] as const) {
  if (options[key] === "") throw new ConfigError(`--${key} is missing; --help lists what is wanted`);
}
const device = await deviceInfo();
print(`Device: ${device.name} (${device.kind}; ${device.reason})`);

const { description, tensors } = await loadModel(options.run);
const networks: Record<string, (architecture: any) => models.Model<any>> = {
  plainConvUNet: models.plainConvUNet,
  residualEncoderUNet: models.residualEncoderUNet,
};
const network = networks[description.network];
if (!network) throw new ConfigError(`${options.run}: there is no network ${description.network} here`);
const model = network(description.architecture);
const params = loadParameters(model.init(random.key(0)), tensors);
const { plan } = description;
const task = { channels: plan.channels.length, labels: plan.labels, patch: plan.patch };
const segment = segmenter(model, params, task);

const labels = plan.labels.map((name, value) => ({ name, value }));
const dataset = { channels: plan.channels.map((channel) => channel.name), labels };
const output = new RunFolder(options.output.replace(/(?<=.)\/+$/, ""));
for (const item of counted(await findImages(options.input, plan.channels.length), "case")) {
  const { image } = await loadCase(dataset, item);
  await output.write(`${item.id}.nii.gz`, writeNifti(await segment(image), { dtype: "uint8", gzip: true }));
}
print(`\nWritten:\n${output.listing()}`);
await closeDevice();
