// Trains one 3-D U-Net from cases in which not all labels are annotated, such as several datasets with an organ each:
// marginal and exclusion losses (Shi et al. 2021) and what they are compared with. --data is a dataset group (README) or a
// folder whose dataset.json has labels_present. --help lists what can be set.
import { closeDevice, deviceInfo } from "../engine/mod.ts";
import { print, resumableConfig, trainingChanges } from "../engine/train/mod.ts";
import { partialEntries, trainPartial } from "../models/mod.ts";

const options = await resumableConfig(partialEntries, { change: trainingChanges });
const device = await deviceInfo();
print(`Device: ${device.name} (${device.kind}; ${device.reason})`);
await trainPartial(options);
await closeDevice();
