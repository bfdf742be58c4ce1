// Labels new images with networks that scripts/train_unet.ts trained: prepared as in training, in overlapping patches,
// and back on the grid of each image. What is there already is kept where it was made from the same scan, weights and
// settings, by content, so a stopped prediction goes on.
// `npx voxgrad predict runs/phantom-001 scans labels`
import { closeDevice, loadParameters, random } from "../engine/mod.ts";
import { CaseFaults, checkMemory, checkSpacing, loadCase, type Plan, writeNifti } from "../engine/imaging/mod.ts";
import {
  checkPostprocessing,
  choice,
  config,
  ConfigError,
  counted,
  entry,
  fileDigests,
  findImages,
  findModels,
  loadModel,
  type Network,
  openPredictions,
  postprocess,
  type Postprocessing,
  predictor,
  print,
  printDevice,
  refuseUnused,
  RunFolder,
} from "../engine/train/mod.ts";
import { networkOf } from "../models/mod.ts";

const options = config({
  run: entry("", "run folder, with folds or without, or model.safetensors; several with commas are averaged", {
    positional: true,
  }),
  input: entry("", "NIfTI file, or a folder of them; several channels as CASE_0000, CASE_0001, ...", {
    positional: true,
  }),
  output: entry("", "folder for the labels, CASE.nii.gz", { positional: true }),
  step: entry(0.5, "distance of neighboring patches as a fraction of the patch", { min: 0.05, max: 1 }),
  mirror: choice(
    ["none", "xyz", "xy", "xz", "yz", "x", "y", "z"],
    "average over mirror images along these axes of the oriented scan",
  ),
  batch: entry(1, "patches at once", { integer: true, min: 1 }),
  postprocess: entry(true, "apply the postprocessing.json of the run, where it has one"),
  saveProbabilities: entry(
    false,
    "write CASE_probabilities.nii.gz too: 4-D, float32, a volume for each label or region",
  ),
  anySpacing: entry(false, "also scans whose voxels are ten times larger or smaller than those of the training"),
  overwrite: entry(false, "make what is there already again"),
});
for (const key of ["run", "input", "output"] as const) {
  if (options[key] === "") throw new ConfigError(`--${key} is missing; --help lists what is wanted`);
}
const device = await printDevice();

// Networks: trainings of the same plan and architecture are folds of one configuration.
const { files, folders } = await findModels(options.run);
const sources = await fileDigests(files);
type Folds = { network: Network; params: object[]; plan: Plan };
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
const { plan } = [...members.values()][0];
const mirror = plan.transpose.flatMap((axis, k) => (options.mirror.includes("zyx"[axis]) ? [k] : []));
const { step, batch } = options;
const gib = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(2)} GiB`;
const { predict, memory } = predictor([...members.values()], { step, batch, mirror });

// The rule that validation chose: that of the run, or of several runs none.
const ruleFile = `${folders[0]}/postprocessing.json`;
let rule: Postprocessing | undefined;
refuseUnused(options, {
  postprocess: options.postprocess && folders.length > 1 &&
    "each of several runs has a rule of its own, and none is applied",
});
if (options.postprocess && folders.length === 1) {
  const json = await new RunFolder(folders[0]).readJson("postprocessing.json");
  if (json !== undefined) rule = checkPostprocessing(json, ruleFile);
}

const faults = new CaseFaults();
const channels = plan.channels.map((channel) => channel.name);
const cases = await findImages(options.input, channels, (id, fault) => faults.note(id, fault), options.output);
const unread = faults.count;
const predictions = await openPredictions(options.output, {
  settings: { step, batch, mirror: options.mirror, keepLargest: rule?.keepLargest ?? [] },
  sources,
  cases,
  device: device.name,
  overwrite: options.overwrite,
});
const { output } = predictions;

const labels = plan.labels.map((name, value) => ({ name, value }));
const dataset = { channels, labels };
const probabilities = options.saveProbabilities;
const empty: string[] = [];
let [largest, kept] = [0, 0];
for (const item of counted(cases, "case")) {
  await faults.try(item.id, async () => {
    const [file, soft] = [`${item.id}.nii.gz`, `${item.id}_probabilities.nii.gz`];
    const reason = await predictions.reason(item, probabilities ? [file, soft] : [file]);
    if (reason === undefined) return void kept++;
    if (reason !== "new") print(`${item.id}: made again, for ${reason}`);
    const { image } = await loadCase(dataset, item);
    if (!options.anySpacing) checkSpacing(image, plan, "--any-spacing");
    const { host, device, elements } = await memory(image, { probabilities });
    checkMemory(
      host,
      `${image.name}: predicting it`,
      "crop the scan, or predict with a network of coarser spacing",
      elements,
    );
    if (host > largest) {
      largest = host;
      print(
        `${item.id}: ${image.shape.join(" x ")} voxels; takes about ${gib(host)} of memory, ${
          gib(device)
        } on the device`,
      );
    }
    const made = await predict(image, { probabilities });
    const cleaned = rule ? postprocess(made.labels, rule) : made.labels;
    if (cleaned.data.every((value) => value === 0)) empty.push(item.id);
    await predictions.write(item, {
      ...(made.probabilities && { [soft]: writeNifti(made.probabilities, { dtype: "float32", gzip: true }) }),
      [file]: writeNifti(cleaned, { dtype: "uint8", gzip: true }),
    });
  });
}
if (kept > 0) {
  print(`${kept} of ${cases.length} cases are there already, made from the same scans, weights and settings`);
}
if (empty.length > 0) print(`Nothing was found in ${empty.length} of ${cases.length} cases: ${empty.join(", ")}`);
predictions.tellOthers();
if (output.written.length > 0) print(`\nWritten:\n${output.listing()}`);
await closeDevice();
if (faults.count > 0) print(`\nNot predicted:\n${faults.text()}`);
faults.end(options.input, cases.length + unread, "cases are predicted");
