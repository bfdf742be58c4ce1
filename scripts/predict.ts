// Labels new images with networks that scripts/train_unet.ts trained: prepared as in training, in overlapping patches,
// and back on the grid of each image. What is there already is kept where it was made from the same scan, weights and
// settings, by content, so a stopped prediction goes on.
// `npx voxgrad predict runs/phantom-001 scans labels`
import { closeDevice } from "../engine/mod.ts";
import {
  CaseFaults,
  checkSpacing,
  encodeLabels,
  LABEL_FORMATS,
  type LabelFormat,
  loadCase,
  readSegmentCodes,
  writeNifti,
} from "../engine/imaging/mod.ts";
import {
  choice,
  config,
  ConfigError,
  counted,
  entry,
  fileDigests,
  findImages,
  findModels,
  openPredictions,
  print,
  printDevice,
  refuseUnused,
} from "../engine/train/mod.ts";
import { type MirrorAxes, openModel } from "../models/mod.ts";

const options = config({
  run: entry(
    "",
    "run folder, with or without folds, model.safetensors, NAME.onnx, model.json, or nnU-Net's folder, zip or " +
      "checkpoint; several with commas are averaged",
    {
      positional: true,
    },
  ),
  input: entry(
    "",
    "scan, or a folder of them: NIfTI and others, DICOM folders; channels as CASE_0000, CASE_0001, ...",
    {
      positional: true,
    },
  ),
  series: entry("", "where a DICOM folder holds several series: the number of the one that is meant"),
  output: entry("", "folder for the labels, CASE.nii.gz", { positional: true }),
  format: choice(
    ["nifti", "seg", "rtstruct", "nrrd", "mha", "mgz"],
    "of the labels; seg and rtstruct are of DICOM, for scans that are, and nrrd is a segmentation of 3D Slicer",
  ),
  codes: entry("", "for --format seg, rtstruct, nrrd: JSON file of codes and colors by the names of labels"),
  step: entry(0.5, "distance of neighboring patches as a fraction of the patch", { min: 0.05, max: 1 }),
  mirror: choice(
    ["model", "none", "xyz", "xy", "xz", "yz", "x", "y", "z"],
    "average over mirror images along these axes of the oriented scan; model: those of nnU-Net's training, else none",
  ),
  batch: entry(1, "patches at once", { integer: true, min: 1 }),
  plan: entry("", "plan.json, for models of ONNX and TensorFlow.js that voxgrad did not export"),
  configuration: entry("", "which of several in a folder or zip of nnU-Net, such as 3d_fullres"),
  postprocess: entry(true, "apply the rule of the run or of nnU-Net's cross-validation, where there is one"),
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

const nnunet: string[] = [];
const { files, folders } = await findModels(options.run, (path) => nnunet.push(path));
const configuration = options.configuration || undefined;
refuseUnused(options, {
  codes: options.codes !== "" && !["seg", "rtstruct", "nrrd"].includes(options.format) &&
    "the other formats hold neither codes nor colors",
  postprocess: options.postprocess && folders.length + nnunet.length > 1 &&
    "each of several runs has a rule of its own, and none is applied",
  configuration: nnunet.length === 0 && "a run of voxgrad has one alone",
});
const { step, batch, mirror } = options;
const model = await openModel(options.run, {
  step,
  batch,
  ...(mirror !== "model" && { mirror: mirror as MirrorAxes }),
  ...(configuration !== undefined && { configuration }),
  postprocess: options.postprocess,
  anySpacing: true,
  ...(options.plan !== "" && { plan: options.plan }),
});
const { plan, channels, weightFiles = [] } = model;
const format = options.format as LabelFormat;
const named = model.labels.filter(({ value }) => value !== 0);
const codes = options.codes === "" ? {} : await readSegmentCodes(options.codes, named.map(({ name }) => name));
const sources = await fileDigests([...files, ...weightFiles, ...(options.plan === "" ? [] : [options.plan])]);
const settings = { step, batch, mirror: model.mirror };
if (nnunet.length > 0) {
  const rules = model.postprocessing?.keepLargest ?? [];
  const kept = rules.map(({ name }) => `; keeps the largest component of ${name}`).join("");
  print(`nnU-Net: ${plan.dataset}, ${plan.configuration}, ${plan.network.name}; mirrors ${model.mirror}${kept}`);
}
const gib = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(2)} GiB`;

const faults = new CaseFaults();
const found = await findImages(options.input, channels, (id, fault) => faults.note(id, fault), options.output);
const cases = options.series === "" ? found : found.map((item) => ({ ...item, series: options.series }));
const unread = faults.count;
const predictions = await openPredictions(options.output, {
  settings: {
    ...settings,
    keepLargest: model.postprocessing?.keepLargest ?? [],
    ...(options.series !== "" && { series: options.series }),
    ...(format !== "nifti" && { format }),
    ...(options.codes !== "" && { codes: JSON.stringify(codes) }),
  },
  sources,
  cases,
  device: device.name,
  overwrite: options.overwrite,
});
const { output } = predictions;

const dataset = { channels, labels: model.labels };
const probabilities = options.saveProbabilities;
const empty: string[] = [];
let [largest, kept] = [0, 0];
for (const item of counted(cases, "case")) {
  await faults.try(item.id, async () => {
    const [file, soft] = [`${item.id}${LABEL_FORMATS[format]}`, `${item.id}_probabilities.nii.gz`];
    const reason = await predictions.reason(item, probabilities ? [file, soft] : [file]);
    if (reason === undefined) return void kept++;
    if (reason !== "new") print(`${item.id}: made again, for ${reason}`);
    const { image } = await loadCase(dataset, item);
    if (!options.anySpacing) checkSpacing(image, plan, "--any-spacing");
    const { host, device } = await model.memory!(image, { probabilities });
    if (host > largest) {
      largest = host;
      print(
        `${item.id}: ${image.shape.join(" x ")} voxels; takes about ${gib(host)} of memory, ${
          gib(device)
        } on the device`,
      );
    }
    const { labels, probabilities: likely } = await model.segment(image, { probabilities });
    if (labels.data.every((value) => value === 0)) empty.push(item.id);
    await predictions.write(item, {
      ...(likely && { [soft]: writeNifti(likely, { dtype: "float32", gzip: true }) }),
      [file]: await encodeLabels(labels, format, { labels: named, codes, description: plan.dataset || "Segmentation" }),
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
