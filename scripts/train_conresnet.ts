// Trains ConResNet (Zhang et al. 2021), whose second decoder learns where neighboring slices of the segmentation differ,
// or what it is compared with: --arm baseline has no such decoder, --arm mapping no attention from it. Without --data on
// phantoms of a tumor with three nested parts. --help lists what can be set.
import { closeDevice, deviceInfo } from "../engine/mod.ts";
import { print, resumableConfig, trainingChanges } from "../engine/train/mod.ts";
import { conResNetEntries, trainConResNet } from "../models/mod.ts";

const options = await resumableConfig(conResNetEntries, { change: trainingChanges });
const device = await deviceInfo();
print(`Device: ${device.name} (${device.kind}; ${device.reason})`);
await trainConResNet(options);
await closeDevice();
