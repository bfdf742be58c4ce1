/** planFromNnunet() of plans that test/golden/nnunet/generate.py wrote, and of what voxgrad does not compute. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { nnunetDataset, planFromNnunet, readPlanFor } from "../../../engine/imaging/mod.ts";
// Registers the networks.
import "../../../models/mod.ts";

// deno-lint-ignore no-explicit-any
type Json = any;
const golden = fileURLToPath(new URL("../../golden/nnunet/", import.meta.url));
const folder = `${golden}Dataset901_Small/nnUNetTrainer__nnUNetPlans__2d`;
const read = (name: string): Json => JSON.parse(readFileSync(`${folder}/${name}`, "utf8"));
const dataset = nnunetDataset(read("dataset.json"), "dataset.json");
const planOf = (configuration: string, change: (plans: Json) => void = () => {}) => {
  const plans = read("plans.json");
  change(plans);
  return planFromNnunet(plans, dataset, { configuration, file: "plans.json" });
};
const refused = (configuration: string, change: (plans: Json) => void, wanted: RegExp): void => {
  assert.throws(() => planOf(configuration, change), (e: Error) => e.name === "PlanError" && wanted.test(e.message));
};

test("planFromNnunet() takes axes, channels, labels, resampling and network", () => {
  const { fingerprint, ...plan } = planOf("3d_fullres");
  assert.equal(plan, {
    format: "voxgrad plan 1",
    dataset: "Dataset901_Small",
    configuration: "3d_fullres",
    orientation: "stored",
    transpose: [1, 0, 2],
    spacing: [2.6, 0.7, 1],
    patch: [8, 16, 16],
    batch: 2,
    channels: [
      { name: "CT", normalization: "ct", mean: 310.5, deviation: 104.25, low: 40, high: 560 },
      { name: "MRI", normalization: "z-score in mask" },
    ],
    labels: ["background", "organ", "tumor"],
    resampling: { image: 3, label: 1, separateAxis: 0, anisotropy: 3 },
    network: {
      name: "plainConvUNet",
      features: [2, 3, 4],
      kernels: [[1, 3, 3], [3, 3, 3], [3, 3, 3]],
      strides: [[1, 1, 1], [1, 2, 2], [2, 2, 2]],
      convsPerStage: [2, 2, 2],
      decoderConvsPerStage: [2, 2],
    },
  });
  assert.equal(fingerprint, {
    cases: 7,
    medianShape: [11, 17, 21],
    medianSpacing: [3.1, 0.8, 0.9].map((mm) => 1.1 * mm),
    medianPreparedShape: [20, 20, 20],
  });
});

test("planFromNnunet() reads plans without architecture, and slices as one voxel deep", () => {
  const { network, configuration } = planOf("3d_lowres");
  assert.is(configuration, "3d_lowres");
  assert.equal(network, {
    name: "plainConvUNet",
    features: [2, 4, 4],
    kernels: [[3, 3, 3], [3, 3, 3], [3, 3, 3]],
    strides: [[1, 1, 1], [2, 2, 2], [2, 2, 2]],
    convsPerStage: [1, 2, 1],
    decoderConvsPerStage: [1, 1],
  });
  const flat = planOf("2d");
  assert.equal([flat.configuration, flat.patch, flat.spacing], ["2d", [1, 16, 12], [1.1 * 3.1, 0.7, 1]]);
  assert.equal(flat.network.kernels, [[1, 3, 3], [1, 3, 3], [1, 3, 3]]);
  assert.equal(flat.network.strides, [[1, 1, 1], [1, 2, 2], [1, 2, 2]]);
});

test("planFromNnunet() resolves what configurations inherit, the previous stage among it", () => {
  const cascade = planOf("3d_cascade_fullres");
  assert.equal([cascade.configuration, cascade.previousStage], ["3d_cascade_fullres", "3d_lowres"]);
  const { batch, patch } = planOf("mine", (plans) => {
    plans.configurations.mine = { batch_size: 4, inherits_from: "3d_fullres" };
  });
  assert.equal([batch, patch], [4, [8, 16, 16]]);
  const loop = (plans: Json): void => {
    plans.configurations["3d_fullres"].inherits_from = "3d_cascade_fullres";
  };
  refused("3d_cascade_fullres", loop, /inherits from itself/);
});

test("planFromNnunet() gives resampling that always, or never, takes an axis apart", () => {
  const forced = (value: boolean) =>
    planOf("3d_fullres", ({ configurations: { "3d_fullres": own } }) => {
      for (const what of ["data", "seg", "probabilities"]) {
        own[`resampling_fn_${what}_kwargs`].force_separate_z = value;
      }
    }).resampling.anisotropy;
  assert.ok(forced(true) < 1);
  assert.ok(forced(false) > 1e6);
});

test("planFromNnunet() refuses by name what it does not compute", () => {
  const own = (change: (own: Json, plans: Json) => void) => (plans: Json): void =>
    change(plans.configurations["3d_fullres"], plans);
  const kwargs = (change: (kwargs: Json) => void) => own((own) => change(own.architecture.arch_kwargs));
  const cases: [(plans: Json) => void, RegExp][] = [
    [own((o) => (o.preprocessor_name = "Mine")), /3d_fullres\.preprocessor_name is "Mine"; wanted "Default/],
    [own((_, p) => (p.image_reader_writer = "Tiff3DIO")), /image_reader_writer is "Tiff3DIO"; wanted SimpleITKIO/],
    [own((_, p) => (p.label_manager = "Mine")), /label_manager is "Mine"/],
    [own((o) => (o.normalization_schemes[0] = "Mine")), /normalization_schemes is .*; wanted each to be one of CTNorm/],
    [own((o) => o.normalization_schemes.pop()), /normalization_schemes is .*; wanted a list of 2/],
    [own((o) => (o.resampling_fn_data = "resample_torch_simple")), /resampling_fn_data is "resample_torch_simple"/],
    [own((o) => (o.resampling_fn_seg_kwargs.order_z = 1)), /seg_kwargs\.order_z is 1; wanted order_z and force/],
    [own((o) => (o.resampling_fn_probabilities_kwargs.order = 0)), /probabilities_kwargs\.order is 0; wanted 1/],
    [own((o) => (o.resampling_fn_data_kwargs.order = 2)), /resampling\.image is 2/],
    [own((o) => (o.architecture.network_class_name = "mine.PlainConvUNet")), /the network is "mine\.PlainConvUNet"/],
    [
      own((o) => (o.architecture.network_class_name = "primus.Primus")),
      /the network is "primus\.Primus"; wanted PlainConvUNet/,
    ],
    [kwargs((k) => (k.conv_bias = false)), /arch_kwargs\.conv_bias is false; wanted true/],
    [kwargs((k) => (k.norm_op = "torch.nn.BatchNorm3d")), /norm_op is "torch\.nn\.BatchNorm3d"/],
    [kwargs((k) => (k.norm_op_kwargs.eps = 1e-3)), /norm_op_kwargs is /],
    [kwargs((k) => (k.nonlin = "torch.nn.ReLU")), /nonlin is "torch\.nn\.ReLU"/],
    [kwargs((k) => (k.dropout_op = "torch.nn.Dropout3d")), /dropout_op is "torch\.nn\.Dropout3d"/],
    [kwargs((k) => (k.squeeze_excitation = true)), /squeeze_excitation is true; wanted .*without it/],
    [kwargs((k) => (k.strides[0] = [1, 2, 2])), /strides is .*; wanted the first stage without a stride/],
    [kwargs((k) => (k.kernel_sizes[1] = [3, 3])), /kernel_sizes is .*; wanted a list of 3 numbers for each stage/],
    [kwargs((k) => (k.kernel_sizes[1] = [2, 3, 3])), /kernels are odd/],
    [kwargs((k) => delete k.n_stages), /n_stages is missing; wanted a number/],
    [kwargs((k) => (k.n_conv_per_stage = [2])), /n_conv_per_stage is \[2\]; wanted a list of 3/],
    [own((o) => (o.patch_size = [8, 15, 16])), /patch is 8 x 15 x 16/],
    [own((_, p) => (p.transpose_forward = [0, 0, 1])), /transpose is /],
    [own((_, p) => delete p.foreground_intensity_properties_per_channel["0"].std), /per_channel\.0\.std is missing/],
    [(plans) => delete plans.configurations["3d_fullres"], /it has no configuration "3d_fullres"; there are 2d, /],
  ];
  for (const [change, wanted] of cases) refused("3d_fullres", change, wanted);
  assert.throws(() => planFromNnunet({}, dataset, { configuration: "2d", file: "p" }), /wanted the plans\.json/);
});

test("readPlanFor() takes plans of both kinds", async () => {
  const plan = await readPlanFor(`${folder}/plans.json`, dataset, { configuration: "2d" });
  assert.equal(plan, planOf("2d"));
  const bytes = new TextEncoder().encode(JSON.stringify(plan));
  assert.equal(await readPlanFor(bytes, dataset), plan);
  const both = readPlanFor(bytes, dataset, { configuration: "2d" });
  assert.match(await both.then(String, (e: Error) => e.message), /it is a plan of one configuration; leave out/);
});

test.run();
