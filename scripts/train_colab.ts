// Trains a 3-D U-Net for regions of interest with context labels: CoLab (Li et al. 2022) and what it is compared with.
// --context none is the plain training of train_unet; dilated takes the soft dilated mask as the only context; kmeans
// classes of brightness within the body; labels context labels out of a folder, drawn by people or predicted by another
// network; colab learns them. --help lists what can be set.
import { closeDevice, deviceInfo } from "../engine/mod.ts";
import { print, resumableConfig, trainingChanges } from "../engine/train/mod.ts";
import { colabEntries, trainColab } from "../models/mod.ts";

const options = await resumableConfig(colabEntries, { change: trainingChanges });
const device = await deviceInfo();
print(`Device: ${device.name} (${device.kind}; ${device.reason})`);
await trainColab(options);
await closeDevice();
