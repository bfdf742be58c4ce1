// Segments scans by one or a few labelled ones with an encoder of scripts/train_alpnet.ts: a class may be anything, also what
// training has never seen. All values above 0 of the support's labels are classes.
// `npx voxgrad segment_one_shot runs/alpnet scans labels --support scan.nii.gz --supportLabels liver.nii.gz`
// `npx voxgrad serve segment_one_shot` opens a page to choose scans, paint the class on slices, and look at the result.
import {
  choice, closeDevice, config, ConfigError, counted, deviceInfo, entry, findImages, loadCase, openPanel, overlaySvg, print,
  readVolume, RunFolder, writeNifti,
} from "../engine/mod.ts";
import type { OverlayCase } from "../engine/mod.ts";
import { answerOneShot, loadOneShot, oneShotForm, prepareSupport } from "../models/mod.ts";

const options = config({
  run: entry("", "run folder of train_alpnet, or model.safetensors", { positional: true }),
  input: entry("", "NIfTI file, or a folder of them; several channels as CASE_0000, CASE_0001, ...", { positional: true }),
  output: entry("", "folder for the labels, CASE.nii.gz, and overlay.svg", { positional: true }),
  support: entry("", "labelled image, or a folder of them"),
  supportLabels: entry("", "its label map on the same grid, or a folder of them with the images' names"),
  slices: choice(["chunks", "largest"], "which slices of the support are used: one for each part of a class, or only the one that shows most of it"),
  chunks: entry(3, "parts of a class along the slices", { integer: true, min: 1 }),
  window: entry(2, "edge of a prototype's window in features", { integer: true, min: 1 }),
  prototypes: choice(["alpnet", "panet"], "local ones, or one for each class"),
  names: entry("", "names of the classes in the overlay, with commas between; their values without it"),
  overwrite: entry(false, "make what is there already again"),
});
const wanted = ["run", "input", "output", "support", "supportLabels"] as const;
if (openPanel && wanted.every((key) => options[key] === "")) {
  await deviceInfo();
  // The visitor of the page chooses files and paints, until it is closed.
  await openPanel(oneShotForm, answerOneShot(options));
}
for (const key of wanted) if (options[key] === "") throw new ConfigError(`--${key} is missing; --help lists what is wanted`);
const device = await deviceInfo();
print(`Device: ${device.name} (${device.kind}; ${device.reason})`);
const { plan, segment } = await loadOneShot(options.run, options);

const channels = plan.channels.map((channel) => channel.name);
const labels = [{ name: "background", value: 0 }];
const isFile = /\.nii(\.gz)?$/.test(options.supportLabels);
const supportCases = await findImages(options.support, channels.length);
if (isFile && supportCases.length > 1) {
  throw new ConfigError(`--supportLabels is one file, and --support names ${supportCases.length} images; name a folder of labels`);
}
const supports = [];
for (const item of supportCases) {
  const { id, image } = await loadCase({ channels, labels }, item);
  const file = isFile ? options.supportLabels : `${options.supportLabels.replace(/(?<=.)\/+$/, "")}/${id}.nii.gz`;
  const { support, lost } = await prepareSupport({ id, image, label: await readVolume(file) }, plan, options);
  if (lost !== undefined) print(lost);
  supports.push(support);
}

const output = new RunFolder(options.output.replace(/(?<=.)\/+$/, ""));
const shown: OverlayCase[] = [];
for (const item of counted(await findImages(options.input, channels.length), "case")) {
  if (!options.overwrite && (await output.has(`${item.id}.nii.gz`))) continue;
  const { image } = await loadCase({ channels, labels }, item);
  const prediction = await segment(image, supports);
  await output.write(`${item.id}.nii.gz`, writeNifti(prediction, { dtype: "uint8", gzip: true }));
  if (shown.length < 4) shown.push({ name: item.id, image, prediction: prediction.data });
}
const largest = Math.max(...supports.map(({ label }) => label.reduce((a, b) => Math.max(a, b), 0)));
const given = options.names === "" ? [] : options.names.split(",");
const names = ["background", ...Array.from({ length: largest }, (_, k) => given[k]?.trim() || `${k + 1}`)];
if (shown.length > 0) await output.write("overlay.svg", overlaySvg(shown, { labels: names }));
print(`\nWritten:\n${output.listing()}`);
await closeDevice();
