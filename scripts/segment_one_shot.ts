// Segments scans by one or a few labeled ones with an encoder of scripts/train_alpnet.ts: a class may be anything, also
// what training has never seen. All values above 0 of the support's labels are classes.
// `npx voxgrad segment_one_shot runs/alpnet scans labels --support scan.nii.gz --supportLabels liver.nii.gz`
// In the page of `npx voxgrad serve`, One example does so by slices that the visitor paints.
import { closeDevice } from "../engine/mod.ts";
import {
  CaseFaults,
  checkSpacing,
  loadCase,
  type PreparedCase,
  preprocessImage,
  readLabelVolume,
  type Volume,
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
  type OverlayCase,
  overlaySvg,
  print,
  printDevice,
  trimSlashes,
} from "../engine/train/mod.ts";
import { keepPainted, loadOneShot, preparedRange, prepareSupport } from "../models/mod.ts";
import { askedEntries } from "../models/alpnet/settings.ts";
import { sliceAxis } from "../models/alpnet/support.ts";

const options = config({
  run: entry("", "run folder of train_alpnet, or model.safetensors", { positional: true }),
  input: entry("", "NIfTI file, or a folder of them; several channels as CASE_0000, CASE_0001, ...", {
    positional: true,
  }),
  output: entry("", "folder for the labels, CASE.nii.gz, and overlay.svg", { positional: true }),
  support: entry("", "labeled image, or a folder of them"),
  supportLabels: entry("", "its label map on the same grid, or a folder of them with the images' names"),
  ...askedEntries,
  slices: choice(
    ["auto", "chunks", "nearest", "largest"],
    "slices of the support to compare with: one for each part of a class, the labeled ones nearest in height, or " +
      "only the one that shows most of it; auto: as the encoder was measured",
  ),
  range: entry(
    [],
    "first and last slice of the scans, counted from 1 as in the overlay, where classes are looked for; all without it",
    {
      integer: true,
      min: 1,
      lengths: [0, 2],
    },
  ),
  names: entry("", "names of the classes in the overlay, with commas between; their values without it"),
  anySpacing: entry(false, "also scans whose voxels are ten times larger or smaller than those of the training"),
  overwrite: entry(false, "make what is there already again"),
});
const wanted = ["run", "input", "output", "support", "supportLabels"] as const;
for (const key of wanted) {
  if (options[key] === "") throw new ConfigError(`--${key} is missing; --help lists what is wanted`);
}
const device = await printDevice();
const networks = await fileDigests((await findModels(options.run)).files);
const { plan, segment, settings } = await loadOneShot(options.run, options);

const channels = plan.channels.map((channel) => channel.name);
const labels = [{ name: "background", value: 0 }];
const isFile = /\.nii(\.gz)?$/.test(options.supportLabels);
const supportCases = await findImages(options.support, channels);
if (isFile && supportCases.length > 1) {
  throw new ConfigError(
    `--supportLabels is one file, and --support names ${supportCases.length} images; name a folder of labels`,
  );
}
const labelFolder = trimSlashes(options.supportLabels);
const labelFile = (id: string): string => (isFile ? options.supportLabels : `${labelFolder}/${id}.nii.gz`);
const given = await fileDigests(supportCases.flatMap(({ id, images }) => [...images, labelFile(id)]));
const contentsOf = async ({ images }: { readonly images: readonly string[] }): Promise<string> =>
  Object.values(await fileDigests([...images])).join();
/** Labels of supports by the contents of their images: a scan among them keeps them. */
const labeled = new Map<string, Volume>();
const supports: PreparedCase[] = [];
for (const item of supportCases) {
  const { id, image } = await loadCase({ channels, labels }, item);
  const label = await readLabelVolume(labelFile(id));
  const { support, lost } = await prepareSupport({ id, image, label }, plan, options);
  labeled.set(await contentsOf(item), label);
  if (lost !== undefined) print(lost);
  supports.push(support);
}

const values = [...new Set(supports.flatMap(({ label }) => [...new Set(label)]))];
const faults = new CaseFaults();
const cases = await findImages(options.input, channels, (id, fault) => faults.note(id, fault), options.output);
const unread = faults.count;
const { slices, range } = options;
const predictions = await openPredictions(options.output, {
  settings: { ...settings, slices, range },
  sources: { ...networks, ...given },
  cases,
  device: device.name,
  overwrite: options.overwrite,
});
const { output } = predictions;
const shown: OverlayCase[] = [];
let kept = 0;
for (const item of counted(cases, "case")) {
  await faults.try(item.id, async () => {
    const file = `${item.id}.nii.gz`;
    const reason = await predictions.reason(item, [file]);
    if (reason === undefined) return void kept++;
    if (reason !== "new") print(`${item.id}: made again, for ${reason}`);
    const { image } = await loadCase({ channels, labels }, item);
    if (!options.anySpacing) checkSpacing(image, plan, "--any-spacing");
    const prepared = { id: item.id, ...(await preprocessImage(image, plan)) };
    const within = range.length > 0 ? preparedRange(prepared, range as [number, number]) : undefined;
    const found = await segment(
      prepared,
      supports,
      within && { ranges: new Map(values.map((value) => [value, within])) },
    );
    const own = labeled.get(await contentsOf(item));
    const prediction = own ? keepPainted(found, own, plan) : found;
    await predictions.write(item, { [file]: writeNifti(prediction, { dtype: "uint8", gzip: true }) });
    if (shown.length < 4) shown.push({ name: item.id, image, prediction: prediction.data });
  });
}
if (kept > 0) {
  print(`${kept} of ${cases.length} cases are there already, made from the same scans, supports, weights and settings`);
}
predictions.tellOthers();
const largest = Math.max(...values);
const called = options.names === "" ? [] : options.names.split(",");
const names = ["background", ...Array.from({ length: largest }, (_, k) => called[k]?.trim() || `${k + 1}`)];
if (shown.length > 0) {
  const along = sliceAxis(shown[0].image, plan).patient;
  await output.write("overlay.svg", overlaySvg(shown, { labels: names, along }));
}
if (output.written.length > 0) print(`\nWritten:\n${output.listing()}`);
await closeDevice();
if (faults.count > 0) print(`\nNot segmented:\n${faults.text()}`);
faults.end(options.input, cases.length + unread, "cases are segmented");
