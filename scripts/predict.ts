// Labels new images with networks that scripts/train_unet.ts trained: prepared as in training, in overlapping patches,
// and back on the grid of each image. What is there already is not made again, so a stopped prediction goes on.
// `npx voxgrad predict runs/phantom-001 scans labels`
import {
  checkPostprocessing, choice, closeDevice, config, ConfigError, counted, deviceInfo, entry, findImages, findModels, loadCase,
  loadModel, loadParameters, postprocess, predictor, print, random, refuseUnused, RunFolder, writeNifti,
} from "../engine/mod.ts";
import type { Network, Plan, Postprocessing } from "../engine/mod.ts";
import { networkOf } from "../models/mod.ts";

const options = config({
  run: entry("", "run folder, with folds or without, or model.safetensors; several with commas are averaged", {
    positional: true,
  }),
  input: entry("", "NIfTI file, or a folder of them; several channels as CASE_0000, CASE_0001, ...", {
    positional: true,
  }),
  output: entry("", "folder for the labels, CASE.nii.gz", { positional: true }),
  step: entry(0.5, "distance of neighbouring patches as a fraction of the patch", { min: 0.05, max: 1 }),
  mirror: choice(["none", "xyz", "xy", "xz", "yz", "x", "y", "z"], "average over mirror images along these axes of the oriented scan"),
  batch: entry(1, "patches at once", { integer: true, min: 1 }),
  postprocess: entry(true, "apply the postprocessing.json of the run, where it has one"),
  saveProbabilities: entry(false, "write CASE_probabilities.nii.gz too: 4-D, float32, a volume for each label or region"),
  overwrite: entry(false, "make what is there already again"),
});
for (const key of ["run", "input", "output"] as const) {
  if (options[key] === "") throw new ConfigError(`--${key} is missing; --help lists what is wanted`);
}
const device = await deviceInfo();
print(`Device: ${device.name} (${device.kind}; ${device.reason})`);

// Networks: trainings of the same plan and architecture are folds of one configuration.
const { files, folders } = await findModels(options.run);
type Folds = { network: Network; params: any[]; plan: Plan };
const members = new Map<string, Folds>();
for (const file of files) {
  const { description, tensors } = await loadModel(file);
  const { network: name, architecture, plan } = description;
  const model = networkOf(description, file);
  const key = JSON.stringify([name, architecture, plan]);
  const member: Folds = members.get(key) ?? { network: model, params: [], plan };
  member.params.push(loadParameters(model.init(random.key(0)), tensors));
  members.set(key, member);
}
const { plan } = [...members.values()][0]!;
const mirror = plan.transpose.flatMap((axis, k) => (options.mirror.includes("zyx"[axis]!) ? [k] : []));
const { step, batch } = options;
const { predict, memory } = predictor([...members.values()], { step, batch, mirror });

// The rule that validation chose: that of the run, or of several runs none.
const ruleFile = `${folders[0]}/postprocessing.json`;
let rule: Postprocessing | undefined;
refuseUnused(options, { postprocess: options.postprocess && folders.length > 1 && "each of several runs has a rule of its own, and none is applied" });
if (options.postprocess && folders.length === 1) {
  const json = await new RunFolder(folders[0]!).readJson("postprocessing.json");
  if (json !== undefined) rule = checkPostprocessing(json, ruleFile);
}

// What the predictions of this folder are made with; others do not go into it.
const output = new RunFolder(options.output.replace(/(?<=.)\/+$/, ""));
const used = {
  models: files, step, mirror: options.mirror, keepLargest: rule?.keepLargest ?? [], plan: plan.dataset, labels: plan.labels,
};
const before = await output.readJson("predict.json");
if (before && !options.overwrite && JSON.stringify(before.used) !== JSON.stringify(used)) {
  throw new ConfigError(`${output.path}: its predictions were made otherwise (predict.json); name another --output or --overwrite`);
}
await output.writeJson("predict.json", { used, device: device.name, input: options.input });

const labels = plan.labels.map((name, value) => ({ name, value }));
const dataset = { channels: plan.channels.map((channel) => channel.name), labels };
const cases = await findImages(options.input, plan.channels.length);
const done: string[] = [];
for (const item of cases) {
  if (!options.overwrite && (await output.has(`${item.id}.nii.gz`))) done.push(item.id);
}
if (done.length > 0) print(`${done.length} of ${cases.length} cases are there already`);
const gib = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(2)} GiB`;
let largest = 0;
for (const item of counted(cases.filter(({ id }) => !done.includes(id)), "case")) {
  const { image } = await loadCase(dataset, item);
  const probabilities = options.saveProbabilities;
  if (image.data.length > largest) {
    largest = image.data.length;
    const { host, device } = await memory(image, { probabilities });
    print(`${item.id}: ${image.shape.join(" x ")} voxels; takes about ${gib(host)} of memory, ${gib(device)} on the device`);
  }
  const made = await predict(image, { probabilities });
  // The labels come last: where they are, all is.
  if (made.probabilities) {
    await output.write(`${item.id}_probabilities.nii.gz`, writeNifti(made.probabilities, { dtype: "float32", gzip: true }));
  }
  const cleaned = rule ? postprocess(made.labels, rule) : made.labels;
  await output.write(`${item.id}.nii.gz`, writeNifti(cleaned, { dtype: "uint8", gzip: true }));
}
print(`\nWritten:\n${output.listing()}`);
await closeDevice();
