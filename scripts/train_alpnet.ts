// Trains an encoder for one-shot segmentation without any label, on superpixels (SSL-ALPNet, Ouyang et al. 2020), or on
// annotated classes, and segments held-out cases from one labeled case. scripts/segment_one_shot.ts uses what is trained.
// --help lists what can be set.
import { closeDevice, deviceInfo } from "../engine/mod.ts";
import { print, resumableConfig, trainingChanges } from "../engine/train/mod.ts";
import { alpnetEntries, trainAlpnet } from "../models/mod.ts";

const options = await resumableConfig(alpnetEntries, { change: trainingChanges });
const device = await deviceInfo();
print(`Device: ${device.name} (${device.kind}; ${device.reason})`);
await trainAlpnet(options);
await closeDevice();
