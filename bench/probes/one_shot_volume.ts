// Cost of segmenting a volume by one labeled scan: time, dispatches, submits, read-backs and device memory, for a small
// encoder and ResNet-50, features at 1/8 resolution, slices of 256 x 256: `VOXGRAD_ADAPTER=lavapipe node --import
// ./engine/platform/cli/register.mjs bench/probes/one_shot_volume.ts`. --encoders small,resnet50 (or resnet18,
// resnet34, resnet101), --stride 8 or 4, --side 256, --slices 25,100, --batch 8, --chunks 3, --rounds 1 (after the
// first call, which compiles). Nothing may be read back before the last slice is submitted: otherwise the exit code is
// 1.
import { parseArgs } from "node:util";
import { closeDevice, deviceInfo, memoryStats, random } from "../../engine/mod.ts";
import { makeVolume, preprocessCase, scaling, type Triple, type Volume } from "../../engine/imaging/mod.ts";
import { formatTable } from "../../engine/train/mod.ts";
import { alpnet, oneShotSegmenter } from "../../models/mod.ts";
import { planFor } from "../../test/helpers/plans.ts";
import { counters } from "../peers/counters.ts";

const { values } = parseArgs({
  options: {
    encoders: { type: "string", default: "small,resnet50" },
    stride: { type: "string", default: "8" },
    side: { type: "string", default: "256" },
    slices: { type: "string", default: "25,100" },
    batch: { type: "string", default: "8" },
    chunks: { type: "string", default: "3" },
    rounds: { type: "string", default: "1" },
  },
});
const [stride, side, batch, chunks, rounds] = [values.stride, values.side, values.batch, values.chunks, values.rounds]
  .map(Number) as [number, number, number, number, number];
const spacing = [1.5, 1.5, 5] as const;
const plan = planFor({
  orientation: "RAS",
  spacing: [5, 1.5, 1.5],
  channels: [{ name: "MR", normalization: "z-score" }],
});

/** As in train_alpnet. */
function encoderNamed(name: string) {
  const small = name === "small";
  return alpnet.encoder({
    ...(small ? { block: "basic" as const, layers: [2, 2], width: 16 } : { depth: Number(name.slice(6)) as 50 }),
    inputChannels: 1,
    replaceStrideWithDilation: small ? [stride === 4] : [stride === 4, true, true],
    features: small ? 64 : 256,
  });
}

/** A bright ball on noise, over all slices except a tenth at either end. */
function scan(slices: number): { image: Volume; label: Volume } {
  const shape: Triple = [side, side, slices];
  const label = new Uint8Array(side * side * slices);
  const image = new Float32Array(label.length);
  let state = 1;
  for (let i = 0; i < label.length; i++) {
    const [x, y, z] = [i % side, Math.floor(i / side) % side, Math.floor(i / side ** 2)];
    const apart = ((x - side / 2) / (side / 4)) ** 2 + ((y - side / 2) / (side / 4)) ** 2 +
      ((z - (slices - 1) / 2) / (0.4 * slices)) ** 2;
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    label[i] = Number(apart < 1);
    image[i] = 1 + label[i] + state / 2 ** 33;
  }
  const volume = (data: Uint8Array<ArrayBuffer> | Float32Array<ArrayBuffer>, name: string): Volume =>
    makeVolume(data, { shape, affine: scaling(spacing), name });
  return { image: volume(image, "image"), label: volume(label, "label") };
}

const rows: (string | number)[][] = [];
for (const name of values.encoders.split(",")) {
  for (const slices of values.slices.split(",").map(Number)) {
    // A new device, because the peak counts from its opening.
    const device = await deviceInfo();
    if (rows.length === 0) {
      console.log(
        `${device.name}; slices of ${side} x ${side}, features at 1/${stride}, ${batch} slices together, ` +
          `${chunks} chunks`,
      );
    }
    await counters.watch();
    const model = encoderNamed(name);
    const { image, label } = scan(slices);
    const support = await preprocessCase({ id: "support", image, label }, plan);
    const segment = oneShotSegmenter(model, model.init(random.key(1)), { plan, batch, chunks });
    const times: number[] = [];
    let asked = { dispatches: 0, submits: 0, reads: 0, before: 0 };
    for (let round = 0; round <= rounds; round++) {
      const { dispatches, submits, reads } = counters;
      const from = performance.now();
      await segment(image, [support]);
      times.push((performance.now() - from) / 1000);
      asked = {
        dispatches: counters.dispatches - dispatches,
        submits: counters.submits - submits,
        reads: counters.reads - reads,
        before: Math.max(asked.before, counters.readsBefore - reads),
      };
    }
    const best = times.length > 1 ? Math.min(...times.slice(1)) : NaN;
    rows.push([
      name,
      slices,
      times[0],
      best,
      best / slices,
      asked.dispatches,
      asked.submits,
      asked.before,
      asked.reads,
      memoryStats().peak / 1e6,
    ]);
    console.log(
      `${name}, ${slices} slices: ${
        times.map((t) => t.toFixed(1)).join(", ")
      } s; ${asked.before} of ${asked.reads} read-backs before the last submit`,
    );
    if (asked.before > 0) process.exitCode = 1;
    await closeDevice();
  }
}
const heads = [
  "encoder",
  "slices",
  "first s",
  "least s",
  "s a slice",
  "dispatches",
  "submits",
  "reads before the last submit",
  "reads",
  "peak MB",
];
console.log(formatTable(heads, rows));
