// Looks at every file of a dataset folder, of the sets of a dataset group, or of a scan (the series of a DICOM folder),
// and names each fault with its file and its fix; the exit code is 1 where there are errors.
// `npx voxgrad check data/Task04_Hippocampus`
import { checkDataset, checkScan, DatasetError, type Finding, isScan } from "../engine/imaging/mod.ts";
import { config, ConfigError, entry, print, RunFolder } from "../engine/train/mod.ts";

const options = config({
  dataset: entry(
    "",
    "dataset folder: MSD, nnU-Net, or images and labels beside each other; a dataset group; a scan, a DICOM folder",
    {
      positional: true,
    },
  ),
  labels: entry("", "folder of the labels, where the first is one of images alone", { positional: true }),
  tolerance: entry(0.05, "how far apart, in voxels, the files of a case may place a corner", { min: 0 }),
  json: entry("", "file for the findings as JSON"),
});
if (options.dataset === "") {
  throw new ConfigError("Which dataset? Name its folder: voxgrad check data/Task04_Hippocampus");
}

const folder = options.labels === "" ? options.dataset : { images: options.dataset, labels: options.labels };
const findings = await checked();
const [errors, warnings] = ["error", "warning"].map((severity) =>
  findings.filter((each) => each.severity === severity)
);
list("Warnings", warnings);
list("Errors", errors);
if (options.json !== "") {
  const [, parent, name] = /^(?:(.*)\/)?([^/]+)$/.exec(options.json) ?? [];
  if (!name) throw new ConfigError(`--json: got "${options.json}", wanted the name of a file`);
  await new RunFolder(parent ?? ".").write(name, `${JSON.stringify({ errors, warnings }, null, 1)}\n`);
}
if (errors.length > 0) {
  const found = `${errors.length} error(s) and ${warnings.length} warning(s)`;
  throw new DatasetError(options.dataset, found, "Mend the errors and check again");
}
print(`\n${options.dataset}: no errors, ${warnings.length} warning(s)`);

async function checked(): Promise<readonly Finding[]> {
  if (typeof folder !== "string" || !(await isScan(folder))) {
    return checkDataset(folder, { tolerance: options.tolerance });
  }
  const { scans, findings } = await checkScan(folder);
  for (const scan of scans) print(scan);
  return findings;
}

function list(title: string, found: readonly Finding[]): void {
  if (found.length === 0) return;
  print(`\n${title}`);
  for (const { file, problem, fix } of found) print(`  ${file}\n    ${problem}\n    ${fix}`);
}
