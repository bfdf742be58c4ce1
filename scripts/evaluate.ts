// Measures predicted label maps against references: Dice, IoU, sensitivity, precision, Hausdorff distances, ASSD,
// surface Dice and volumes of every case and class. Writes summary.json in nnU-Net's shape and metrics.csv.
// `npx voxgrad evaluate predictions data/Task04_Hippocampus/labelsTr --dataset data/Task04_Hippocampus`
import { listed } from "../engine/mod.ts";
import {
  axisCodes,
  CaseFaults,
  type ComparedClass,
  compareLabels,
  Comparison,
  DatasetError,
  type EvaluatedCase,
  imageStem,
  openDataset,
  openLabelNames,
  pairFiles,
  readLabelVolume,
} from "../engine/imaging/mod.ts";
import {
  config,
  ConfigError,
  counted,
  entry,
  formatTable,
  print,
  RunFolder,
  trimSlashes,
  writeComparison,
} from "../engine/train/mod.ts";

const options = config({
  predictions: entry("", "folder of predicted label maps, or one file", { positional: true }),
  references: entry("", "folder of reference label maps of the same names, or one file", { positional: true }),
  dataset: entry("", "dataset.json, its folder, or a dataset group: names of labels, regions and the ignore label"),
  labels: entry([] as number[], "label values to compare; those of the dataset, else all that are found", {
    integer: true,
    min: 1,
  }),
  regions: entry("", "regions to compare, such as whole=1+2+3,core=2+3"),
  ignore: entry(-1, "reference voxels of this value count for nothing; -1 for none", { integer: true }),
  tolerance: entry(1, "of surface Dice, in mm", { min: 0 }),
  gridTolerance: entry(0.05, "how far apart, in voxels, prediction and reference may place a corner", { min: 0 }),
  output: entry("", "folder for summary.json and metrics.csv; default that of the predictions"),
});
for (const key of ["predictions", "references"] as const) {
  if (options[key] === "") throw new ConfigError(`--${key} is missing: voxgrad evaluate PREDICTIONS REFERENCES`);
}

const names = options.dataset === "" ? undefined : await openLabelNames(options.dataset);
const ignore = options.ignore >= 0 ? options.ignore : names?.ignoreLabel;
const classes = chosenClasses();

// A file of another name than dataset.json is a dataset group: what its cases have not annotated is not measured.
const group = /\.json$/.test(options.dataset) && !/(^|\/)dataset\.json$/.test(options.dataset);
const known = group ? (await openDataset(options.dataset)).cases : [];
const { pairs, missing, extra } = await pairFiles(options.predictions, options.references);
const stemOf = (path: string): string => imageStem(path.split("/").pop()!) ?? path;
const renamed = pairs
  .map(({ prediction, reference }) => [stemOf(prediction), stemOf(reference)])
  .filter(([prediction, reference]) => pairs.length > 1 && prediction !== reference);
if (renamed.length > 0) {
  print(`Paired by names of images and labels: ${listed(renamed.map((names) => names.join(" with ")), 5)}`);
}
const cases: EvaluatedCase[] = [];
const faults = new CaseFaults();
const turned: string[] = [];
for (const pair of counted(pairs, "case")) {
  const { tolerance, gridTolerance } = options;
  // One case that cannot be compared does not end the others; it ends the command with 1.
  await faults.try(pair.id, async () => {
    const [prediction, reference] = [await readLabelVolume(pair.prediction), await readLabelVolume(pair.reference)];
    const labelsPresent = known.find((item) => item.id === pair.id)?.labelsPresent;
    const compared = compareLabels(prediction, reference, { classes, ignore, tolerance, gridTolerance, labelsPresent });
    cases.push({ ...pair, classes: compared });
    const [own, wanted] = [axisCodes(prediction.affine), axisCodes(reference.affine)];
    if (own !== wanted) turned.push(`${pair.id} (${own}, reference ${wanted})`);
  });
}
const comparison = new Comparison(cases, { missing });
if (turned.length > 0) {
  print(`\nStored with other axes in the same place, and turned, which moves no voxel: ${listed(turned)}`);
}
const { headings, rows } = comparison.tableRows();
if (rows.length > 0) {
  print(`\n${cases.length} cases, means of defined values; distances in mm, surface Dice at ${options.tolerance} mm:`);
  print(formatTable(headings, rows));
  if (comparison.isEmpty()) print("None of these classes is in any prediction or reference: nothing was measured");
  const single = pairs.length === 1 && pairs[0].prediction === options.predictions;
  const folder = single ? options.predictions.replace(/(^|\/)[^/]*$/, "") || "." : options.predictions;
  const output = new RunFolder(trimSlashes(options.output || folder));
  await writeComparison(output, comparison);
  print(`\nWritten:\n${output.listing()}`);
}
if (extra.length > 0) print(`\nNot compared, for there is no reference of the name: ${listed(extra)}`);
if (faults.count > 0) print(`\nNot compared, and in no mean:\n${faults.text()}`);
if (missing.length > 0) {
  const problem = `${missing.length} of ${
    missing.length + pairs.length
  } references have no prediction and are in no mean: ${listed(missing)}`;
  const more = faults.count > 0 ? `; ${faults.count} of ${pairs.length} pairs could not be compared, listed above` : "";
  throw new DatasetError(options.predictions, problem + more, "Add them, or read the means as those of the others");
}
faults.end(options.predictions, pairs.length, "pairs were compared");
if (rows.length === 0) {
  const problem =
    `neither they nor the references in ${options.references} hold a label other than 0, in ${cases.length} cases`;
  throw new DatasetError(
    options.predictions,
    problem,
    "Name the folders of the label maps, or the classes by --labels or --dataset",
  );
}

/** Regions and labels of the command line, else those of the dataset; undefined for whatever is found. */
function chosenClasses(): readonly ComparedClass[] | undefined {
  const nameOf = (value: number) => names?.labels.find((label) => label.value === value)?.name ?? `label ${value}`;
  const labels = options.labels.map((value) => ({ name: nameOf(value), values: [value] }));
  const regions = options.regions === "" ? [] : options.regions.split(",").map(parseRegion);
  if (labels.length + regions.length > 0) return [...regions, ...labels];
  return names?.regions ?? names?.labels.slice(1).map(({ name, value }) => ({ name, values: [value] }));
}

function parseRegion(text: string): ComparedClass {
  const match = /^(?:(.+)=)?(\d+(?:\+\d+)*)$/.exec(text.trim());
  if (!match) throw new ConfigError(`--regions: got "${text}", wanted NAME=1+2+3 or 1+2+3, separated by commas`);
  const values = match[2].split("+").map(Number);
  return { name: match[1] ?? match[2], values };
}
