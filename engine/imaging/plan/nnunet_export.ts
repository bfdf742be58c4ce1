/** A plan as nnU-Net v2 writes it, plans.json with one configuration and dataset.json: planFromNnunet backwards. */
import { show } from "../../core/errors.ts";
import type { Triple } from "../volume/volume.ts";
import { networkRules } from "./network_rules.ts";
import type { ChannelPlan, Plan } from "./plan.ts";
import { PlanError } from "./plan_file.ts";

type Json = Readonly<Record<string, unknown>>;

const SCHEMES: Readonly<Record<ChannelPlan["normalization"], string>> = {
  ct: "CTNormalization",
  "z-score": "ZScoreNormalization",
  "z-score in mask": "ZScoreNormalization",
  none: "NoNormalization",
  rescale: "RescaleTo01Normalization",
  rgb: "RGBTo01Normalization",
};

/** Arguments of resampling; an anisotropy beyond all spacings stands for never, one below 1 for always. */
function resamplingOf({ resampling: { image, label, separateAxis, anisotropy } }: Plan): Json {
  const force_separate_z = anisotropy >= 1e6 ? false : anisotropy < 1 ? true : null;
  const threshold = force_separate_z === null && anisotropy !== 3
    ? { separate_z_anisotropy_threshold: anisotropy }
    : {};
  const orders = { data: image, seg: label, probabilities: 1 };
  return Object.fromEntries(
    Object.entries(orders).flatMap(([what, order]) => [
      [`resampling_fn_${what}`, "resample_data_or_seg_to_shape"],
      [
        `resampling_fn_${what}_kwargs`,
        { is_seg: what === "seg", order, order_z: separateAxis, force_separate_z, ...threshold },
      ],
    ]),
  );
}

function architectureOf(plan: Plan, dimensions: number, file: string): Json {
  const { name, features, kernels, strides, ...entries } = plan.network;
  const rules = networkRules(name)?.nnunet;
  if (!rules) {
    throw new PlanError(file, `nnU-Net has no network ${show(name)}; it has PlainConvUNet, ResidualEncoderUNet`);
  }
  const own = Object.entries(rules.entries).map(([entry, key]) => [key, entries[entry]] as const);
  const module = `torch.nn.modules`;
  return {
    network_class_name: `dynamic_network_architectures.architectures.unet.${rules.network}`,
    arch_kwargs: {
      n_stages: features.length,
      features_per_stage: features,
      conv_op: `${module}.conv.Conv${dimensions}d`,
      kernel_sizes: kernels.map((kernel) => kernel.slice(-dimensions)),
      strides: strides.map((stride) => stride.slice(-dimensions)),
      ...Object.fromEntries(own),
      conv_bias: true,
      norm_op: `${module}.instancenorm.InstanceNorm${dimensions}d`,
      norm_op_kwargs: { eps: 1e-5, affine: true },
      dropout_op: null,
      dropout_op_kwargs: null,
      nonlin: "torch.nn.LeakyReLU",
      nonlin_kwargs: { inplace: true },
    },
    _kw_requires_import: ["conv_op", "norm_op", "dropout_op", "nonlin"],
  };
}

function datasetOf(plan: Plan, file: string): Json {
  const { channels, labels, regions, ignoreLabel, fingerprint } = plan;
  if (ignoreLabel !== undefined && ignoreLabel !== labels.length) {
    throw new PlanError(
      file,
      `ignoreLabel is ${ignoreLabel}; nnU-Net wants the value above all labels, ${labels.length}`,
    );
  }
  const named = regions
    ? [["background", 0], ...regions.map(({ name, values }) => [name, values.length === 1 ? values[0] : values])]
    : labels.map((name, value) => [value === 0 ? "background" : name, value]);
  const order = regions?.map(({ values, value }, k) =>
    value ?? values.find((v) => !regions.slice(k + 1).some((later) => later.values.includes(v)))
  );
  return {
    channel_names: Object.fromEntries(channels.map(({ name }, c) => [c, name])),
    labels: { ...Object.fromEntries(named), ...(ignoreLabel !== undefined && { ignore: ignoreLabel }) },
    ...(order && { regions_class_order: order }),
    numTraining: fingerprint.cases,
    file_ending: ".nii.gz",
  };
}

/**
 * The plans.json and dataset.json of a plan, for nnUNetv2_predict.
 *
 * @param file for messages
 * @throws PlanError for what nnU-Net's plans cannot say: other networks, scaling by quantiles, cascades
 * @example
 * ```ts
 * import { nnunetFromPlan, readPlan } from "voxgrad/imaging";
 *
 * const { plans, dataset } = nnunetFromPlan(await readPlan("plan.json"), "plan.json");
 * ```
 */
export function nnunetFromPlan(plan: Plan, file: string): { plans: Json; dataset: Json } {
  const { transpose, channels, fingerprint, configuration } = plan;
  if (plan.previousStage !== undefined) throw new PlanError(file, "a stage of a cascade is not exported");
  const scaled = channels.find((channel) => "quantiles" in channel && channel.quantiles?.some((q, k) => q !== k));
  if (scaled) throw new PlanError(file, `channel ${scaled.name} is scaled by quantiles, which nnU-Net does not do`);
  const dimensions = configuration === "2d" ? 2 : 3;
  const own = (values: Triple): readonly number[] => values.slice(-dimensions);
  const properties = channels.map((channel, c) => [
    c,
    channel.normalization === "ct"
      ? {
        mean: channel.mean,
        std: channel.deviation,
        percentile_00_5: channel.low,
        percentile_99_5: channel.high,
      }
      : {},
  ]);
  const plans = {
    dataset_name: plan.dataset,
    plans_name: "nnUNetPlans",
    original_median_spacing_after_transp: fingerprint.medianSpacing,
    original_median_shape_after_transp: fingerprint.medianShape,
    image_reader_writer: plan.orientation === "RAS" ? "NibabelIOWithReorient" : "SimpleITKIO",
    transpose_forward: transpose,
    transpose_backward: [0, 1, 2].map((axis) => transpose.indexOf(axis)),
    configurations: {
      [configuration]: {
        data_identifier: `nnUNetPlans_${configuration}`,
        preprocessor_name: "DefaultPreprocessor",
        batch_size: plan.batch,
        patch_size: own(plan.patch),
        median_image_size_in_voxels: own(fingerprint.medianPreparedShape),
        spacing: own(plan.spacing),
        normalization_schemes: channels.map((channel) => SCHEMES[channel.normalization]),
        use_mask_for_norm: channels.map((channel) => channel.normalization === "z-score in mask"),
        ...resamplingOf(plan),
        architecture: architectureOf(plan, dimensions, file),
        batch_dice: true,
      },
    },
    experiment_planner_used: "ExperimentPlanner",
    label_manager: "LabelManager",
    foreground_intensity_properties_per_channel: Object.fromEntries(properties),
  };
  return { plans, dataset: datasetOf(plan, file) };
}
