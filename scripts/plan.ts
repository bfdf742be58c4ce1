// Reads a dataset folder, and writes down how its scans are prepared and what network is trained on them, by nnU-Net's
// rules: voxgrad plan DATA. The file is for reading and editing; a training takes it by --plan. --help lists what can
// be set. Triples are in the order of the plan's axes: the coarsest first, else z,y,x.
import { closeDevice, compile, deviceInfo, random, type Tensor, valueAndGrad, zeros } from "../engine/mod.ts";
import {
  deepSupervision,
  deepSupervisionWeights,
  diceBinaryCrossEntropy,
  diceCrossEntropy,
  sgd,
} from "../engine/nn/mod.ts";
import {
  CaseFaults,
  fingerprintDataset,
  makePlan,
  openDataset,
  type Plan,
  plannedNetworks,
  type Triple,
  writePlan,
} from "../engine/imaging/mod.ts";
import { choice, config, ConfigError, duration, entry, formatTable, print, refuseUnused } from "../engine/train/mod.ts";
import { networkFromPlan } from "../models/mod.ts";

const options = config({
  data: entry("", "dataset folder, or file of a dataset group", { positional: true }),
  out: entry("plan.json", "file to write"),
  preset: choice(["auto", "nnunet", "small"], "size of the network; auto: nnunet on a GPU, small elsewhere"),
  configuration: choice(["3d_fullres", "3d_lowres"], "resolution"),
  network: choice(plannedNetworks(), "architecture"),
  orientation: choice(["RAS", "stored"], "axes: turned to right, anterior, superior, or as in the files"),
  spacing: entry([], "mm z,y,x of the turned scans; from the data without it", { min: 1e-6, lengths: [0, 3] }),
  patch: entry([], "voxels of a patch; by the rules without it", { integer: true, min: 1, lengths: [0, 3] }),
  batch: entry(0, "patches a step; 0: by the rules", { integer: true, min: 0 }),
  features: entry([], "channels of each stage, the finest first; by the rules without it", { integer: true, min: 1 }),
  memory: entry(8, "GB of GPU memory that the patch is chosen for", { min: 0.1 }),
  workers: entry(2, "threads that read scans", { integer: true, min: 0 }),
});
if (options.data === "") throw new ConfigError("Which dataset? Name its folder: voxgrad plan data/Task04_Hippocampus");

refuseUnused(options, { memory: options.patch.length > 0 && options.batch > 0 && "--patch and --batch are given" });

const started = performance.now();
// All faults are told at once; a plan is only made of a dataset without any.
const faults = new CaseFaults();
const dataset = await openDataset(options.data, (fault) => faults.note("", fault));
const labeled = dataset.cases.filter((item) => item.label !== undefined).length;
if (labeled === 0 && faults.count > 0) print(faults.text());
if (labeled === 0) faults.end(options.data, 0, "cases could be measured");
const fingerprint = await fingerprintDataset(dataset, {
  workers: options.workers,
  orientation: options.orientation,
  faults,
});
if (faults.count > 0) print(`\nNo plan is made, for it would be that of a part of the data:\n${faults.text()}`);
faults.end(options.data, fingerprint.cases.length + faults.count, "cases could be measured");
const { cases, channels } = fingerprint;
const device = await deviceInfo();
const preset = options.preset !== "auto" ? options.preset : device.kind === "software" ? "small" : "nnunet";
const { configuration, network, memory, batch } = options;
const given = <T>(name: string, list: readonly number[]) => (list.length > 0 ? { [name]: list as T } : {});
const made = makePlan(dataset, fingerprint, {
  preset,
  configuration,
  network,
  memory,
  ...(batch > 0 && { batch }),
  ...given<Triple>("spacing", options.spacing),
  ...given<Triple>("patch", options.patch),
  ...given("features", options.features),
});
const plan: Plan = { ...made, estimatedBytes: await stepBytes(made) };
await writePlan(options.out, plan);

// What was found, and what follows.
const by = (list: readonly number[], digits = 0) => list.map((n) => +n.toFixed(digits)).join(" x ");
const { fingerprint: summary } = plan;
print(`${dataset.name}: ${cases.length} cases, read in ${duration((performance.now() - started) / 1000)}`);
print(
  formatTable(
    ["channel", "mean", "sd", "0.5 %", "median", "99.5 %", "normalization"],
    channels.map((c, k) => [
      c.name,
      ...[c.mean, c.deviation, c.low, c.median, c.high].map((n) => n.toPrecision(4)),
      plan.channels[k].normalization,
    ]),
  ),
);
const share = plan.patch.reduce((a, b) => a * b) / summary.medianPreparedShape.reduce((a, b) => a * b);
print(
  `\n${
    formatTable(
      ["plan", ""],
      [
        ["median case", `${by(summary.medianShape, 1)} voxels of ${by(summary.medianSpacing, 3)} mm`],
        ["left by the crop to non-zero", `${Math.round(100 * summary.relativeSizeAfterCrop!)} % of the voxels`],
        ["target spacing", `${by(plan.spacing, 3)} mm, axes ${plan.transpose.map((k) => "zyx"[k]).join(" ")}`],
        ["median prepared case", `${by(summary.medianPreparedShape, 1)} voxels`],
        ["patch", `${by(plan.patch)} voxels, ${plan.batch} a step`],
        ["network", `${plan.network.name} ${plan.network.features.join("-")}`],
        ["strides", plan.network.strides.map((s) => s.join("")).join(" ")],
        ["kernels", plan.network.kernels.map((s) => s.join("")).join(" ")],
        ["memory of a step", `${(plan.estimatedBytes! / 2 ** 20).toFixed(0)} MiB on ${device.name}`],
      ],
    )
  }`,
);
if (configuration === "3d_fullres" && share < 0.25) {
  print(`A patch holds ${Math.round(100 * share)} % of the median case: --configuration 3d_lowres sees more at once.`);
}
print(`Written: ${options.out}`);
await closeDevice();

/** Device memory of a training step, as the engine plans it before anything runs. */
async function stepBytes(of: Plan): Promise<number> {
  const model = networkFromPlan(of, { deepSupervision: true });
  const params = model.init(random.key(0));
  const optimizer = sgd({ momentum: 0.99, nesterov: true, weightDecay: 3e-5 });
  const stages = of.network.features.length;
  const regions = of.regions?.map((region) => region.values);
  const loss = (logits: Tensor, label: Tensor): Tensor =>
    regions
      ? diceBinaryCrossEntropy(logits, label, { regions, batch: true, ignoreIndex: of.ignoreLabel })
      : diceCrossEntropy(logits, label, { batch: true, ignoreIndex: of.ignoreLabel });
  const lossOf = (p: typeof params, image: Tensor, label: Tensor): Tensor => {
    const outputs: Tensor[] = [model.apply(p, image, { train: true })].flat();
    const weights = deepSupervisionWeights(outputs.length, { coarsest: stages < 4 });
    return deepSupervision(loss, outputs, label, { weights });
  };
  const step = compile(
    (p: typeof params, state: ReturnType<typeof optimizer.init>, image: Tensor, label: Tensor) => {
      const [value, grads] = valueAndGrad(lossOf)(p, image, label);
      return [optimizer.update(grads, state, p, 1e-2), value];
    },
    { donate: [0, 1] },
  );
  const image = zeros([of.batch, of.channels.length, ...of.patch]);
  const info = await step.plan(params, optimizer.init(params), image, zeros([of.batch, ...of.patch], { dtype: "i32" }));
  return info.peakBytes;
}
