// Writes report.html into the folder of a run: settings, curves, tables, overlays. Trainings do so at their end; this
// makes it again, or for a run that is still going on.
// `npx voxgrad report runs/NAME`
import { config, ConfigError, entry, print, RunFolder, trimSlashes, writeReport } from "../engine/train/mod.ts";

const { run } = config({ run: entry("", "folder of the run", { positional: true }) });
if (run === "") throw new ConfigError("Name the folder of a run: voxgrad report runs/NAME");
print(`Written: ${await writeReport(new RunFolder(trimSlashes(run)))}`);
