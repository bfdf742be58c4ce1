// Memory needed to predict a CT volume of 512 x 512 x 400 voxels, from file to file, with a small U-Net:
// `VOXGRAD_ADAPTER=lavapipe node --import ./engine/platform/cli/register.mjs bench/probes/predict_memory.ts`. --spacing
// 1.5 prepares it at 1.5 mm (it has 0.8 x 0.8 x 1); 0 keeps its spacing. --depth sets the third size, --classes how many
// labels the network has, --features its channels. It prints a digest of the labels.
import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { closeDevice, deviceInfo, memoryStats, random } from "../../engine/mod.ts";
import { makeVolume, readVolume, type Triple, writeNifti } from "../../engine/imaging/mod.ts";
import { predictor } from "../../engine/train/mod.ts";
import { networkFromPlan } from "../../models/mod.ts";
import { planFor } from "../../test/helpers/plans.ts";

const { values } = parseArgs({
  options: {
    spacing: { type: "string", default: "0" },
    depth: { type: "string", default: "400" },
    classes: { type: "string", default: "2" },
    features: { type: "string", default: "4,8" },
  },
});
const shape: Triple = [512, 512, Number(values.depth)];
const target = Number(values.spacing);
const folder = await mkdtemp(join(tmpdir(), "voxgrad-predict-"));
const path = join(folder, "scan.nii");
const gigabytes = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(2)} GiB`;

/** A body of tissue with a bright organ and noise in air, axes in scanner order (LPS). */
function scan(): Int16Array<ArrayBuffer> {
  const data = new Int16Array(shape[0] * shape[1] * shape[2]);
  const [X, Y, Z] = shape;
  let [at, state] = [0, 1];
  for (let z = 0; z < Z; z++) {
    for (let y = 0; y < Y; y++) {
      for (let x = 0; x < X; x++, at++) {
        state = (Math.imul(state, 1664525) + 1013904223) | 0;
        const body = ((x - X / 2) / 200) ** 2 + ((y - Y / 2) / 150) ** 2 < 1;
        const organ = ((x - 180) / 60) ** 2 + ((y - 240) / 50) ** 2 + ((z - Z / 2) / 70) ** 2 < 1;
        data[at] = (body ? (organ ? 120 : 40) : -1000) + (state >> 27);
      }
    }
  }
  return data;
}

const affine = [-0.8, 0, 0, 200, 0, -0.8, 0, 200, 0, 0, 1, 0, 0, 0, 0, 1];
await writeFile(path, writeNifti(makeVolume(scan(), { shape, affine, name: "scan" })));
const spacing: Triple = target > 0 ? [target, target, target] : [1, 0.8, 0.8];
const plan = planFor({
  dataset: "memory",
  orientation: "RAS",
  spacing,
  patch: [64, 128, 128],
  labels: Array.from({ length: Number(values.classes) }, (_, k) => `label ${k}`),
  channels: [{ name: "CT", normalization: "ct", mean: 60, deviation: 40, low: -50, high: 200 }],
});
const device = await deviceInfo();
const network = networkFromPlan({
  ...plan,
  network: { ...plan.network, features: values.features.split(",").map(Number) },
});
const params = network.init(random.key(1));
const started = performance.now();
let shown = 0;
const { predict, memory } = predictor([{ network, params: [params], plan }], {
  onProgress: (done, total) => {
    if (performance.now() - shown < 20_000 && done < total) return;
    shown = performance.now();
    const seconds = ((shown - started) / 1000).toFixed(0);
    console.log(`${done}/${total} patches, ${seconds} s, ${gigabytes(process.memoryUsage().rss)}`);
  },
});
const image = await readVolume(path);
const estimate = await memory(image);
console.log(
  `${device.name}: ${shape.join(" x ")} voxels, plan ${spacing.join(" x ")} mm, patch ${plan.patch.join(" x ")}`,
);
console.log(`Estimate: ${gigabytes(estimate.host)} beside the scan, ${gigabytes(estimate.device)} on the device`);
const { labels } = await predict(image);
await writeFile(join(folder, "labels.nii.gz"), writeNifti(labels, { gzip: true }));
const status = await readFile("/proc/self/status", "utf8").catch(() => "");
const peak = 1024 * Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? process.resourceUsage().maxRSS);
let foreground = 0;
for (const value of labels.data) foreground += Number(value > 0);
const digest = createHash("sha256").update(labels.data as Uint8Array).digest("hex").slice(0, 12);
console.log(`${new Set(labels.data).size} labels, digest ${digest}`);
console.log(`${foreground} voxels of ${labels.data.length} are organ; device at most ${gigabytes(memoryStats().peak)}`);
const { user, system } = process.cpuUsage();
const seconds = `${((performance.now() - started) / 1000).toFixed(0)} s, ${((user + system) / 1e6).toFixed(0)} of CPU`;
console.log(`Peak of the process ${gigabytes(peak)}; ${seconds}`);
await rm(folder, { recursive: true });
await closeDevice();
