/**
 * Plans of nnU-Net v2: a configuration of plans.json, with the channels and labels of dataset.json, as a plan. Read are
 * those of today and those before "architecture". What a plan cannot say is refused by name.
 */
import { isPlain, listed, show, VoxgradError } from "../../core/errors.ts";
import { parseJson } from "../../core/json.ts";
import { type FileSource, readSource } from "../../platform/sources.ts";
import { readChannels, readLabels } from "../dataset/dataset_json.ts";
import type { Dataset } from "../dataset/types.ts";
import type { Triple } from "../volume/volume.ts";
import { networkRules, plannedNetworks } from "./network_rules.ts";
import type { ChannelPlan, NetworkPlan, Plan, ResamplingPlan } from "./plan.ts";
import { checkPlan, PlanError } from "./plan_file.ts";

type Json = Readonly<Record<string, unknown>>;

/** What a plan takes from a dataset. */
export type PlannedDataset = Pick<Dataset, "channels" | "labels" | "regions" | "ignoreLabel"> & {
  /** Training cases. */
  readonly cases: number;
};

/** Whether JSON is nnU-Net's plans.json. */
export const isNnunetPlans = (json: unknown): json is Json => isPlain(json) && isPlain(json.configurations);

/**
 * Channels, labels and number of cases of nnU-Net's dataset.json.
 *
 * @throws DatasetError for labels or channels that are none
 * @example
 * ```ts
 * import { nnunetDataset } from "voxgrad/imaging";
 *
 * const json = { channel_names: { 0: "CT" }, labels: { background: 0, liver: 1 }, numTraining: 20 };
 * nnunetDataset(json, "dataset.json").channels; // ["CT"]
 * ```
 */
export function nnunetDataset(json: unknown, file: string): PlannedDataset {
  if (!isPlain(json)) throw new PlanError(file, "it is no object; wanted the dataset.json of nnU-Net");
  const cases = Number(json.numTraining);
  return {
    channels: readChannels(json, file),
    ...readLabels(json, file),
    cases: Number.isInteger(cases) && cases > 0 ? cases : 1,
  };
}

/** Reads entries of an object; errors name file and entry. */
class Entries {
  readonly json: Json;
  readonly file: string;
  readonly path: string;

  constructor(json: Json, file: string, path = "") {
    this.json = json;
    this.file = file;
    this.path = path;
  }

  fail(key: string, wanted: string): never {
    const name = `${this.path}${key}`;
    const value = this.json[key];
    throw new PlanError(
      this.file,
      value === undefined ? `${name} is missing; wanted ${wanted}` : `${name} is ${show(value)}; wanted ${wanted}`,
    );
  }

  object(key: string): Entries {
    const value = this.json[key];
    return isPlain(value) ? new Entries(value, this.file, `${this.path}${key}.`) : this.fail(key, "an object");
  }

  text(key: string): string {
    const value = this.json[key];
    return typeof value === "string" ? value : this.fail(key, "a string");
  }

  number(key: string): number {
    const value = this.json[key];
    return typeof value === "number" && Number.isFinite(value) ? value : this.fail(key, "a number");
  }

  list(key: string, length?: number): readonly unknown[] {
    const value = this.json[key];
    if (Array.isArray(value) && value.length === (length ?? value.length)) return value;
    return this.fail(key, length === undefined ? "a list" : `a list of ${length}`);
  }

  numbers(key: string, length?: number): number[] {
    const values = this.list(key, length);
    return values.every((n) => typeof n === "number") ? values as number[] : this.fail(key, "a list of numbers");
  }

  /** One number for all stages, or one for each. */
  perStage(key: string, stages: number): number[] {
    const value = this.json[key];
    return typeof value === "number" ? new Array<number>(stages).fill(value) : this.numbers(key, stages);
  }

  /** Fails unless the entry is one of the values; undefined stands for a missing one. */
  only(key: string, values: readonly unknown[], why: string): void {
    const text = JSON.stringify(this.json[key]);
    if (values.some((value) => JSON.stringify(value) === text)) return;
    this.fail(key, `${listed(values.filter((value) => value !== undefined).map((v) => JSON.stringify(v)))}: ${why}`);
  }
}

const NORMALIZATIONS: Readonly<Record<string, ChannelPlan["normalization"]>> = {
  CTNormalization: "ct",
  ZScoreNormalization: "z-score",
  NoNormalization: "none",
  RescaleTo01Normalization: "rescale",
  RGBTo01Normalization: "rgb",
};

/** Readers of NIfTI, and how they turn scans. */
const READERS: Readonly<Record<string, Plan["orientation"]>> = {
  SimpleITKIO: "stored",
  NibabelIO: "stored",
  NibabelIOWithReorient: "RAS",
};

/** A configuration with what it inherits. */
function resolved(plans: Entries, name: string): Json {
  const all = plans.object("configurations");
  const visited = new Set<string>();
  let result: Json = {};
  for (let next: unknown = name; next !== undefined;) {
    if (typeof next !== "string" || !Object.hasOwn(all.json, next)) {
      const fix = `there are ${listed(Object.keys(all.json), 20)}`;
      throw new PlanError(plans.file, `it has no configuration ${show(next)}; ${fix}`);
    }
    if (visited.has(next)) throw new PlanError(plans.file, `configurations.${next} inherits from itself`);
    visited.add(next);
    const own = all.object(next).json;
    result = { ...own, ...result };
    next = own.inherits_from;
  }
  return result;
}

/** The configuration whose labels another one takes as inputs; undefined if it takes none, or there is none such. */
export function previousStageOf(plans: unknown, configuration: string): string | undefined {
  if (!isNnunetPlans(plans) || !Object.hasOwn(plans.configurations as Json, configuration)) return undefined;
  const stage = resolved(new Entries(plans, "plans.json"), configuration).previous_stage;
  return typeof stage === "string" ? stage : undefined;
}

function channelPlans(plans: Entries, own: Entries, channels: readonly string[]): ChannelPlan[] {
  const schemes = own.list("normalization_schemes", channels.length);
  const masks = own.list("use_mask_for_norm", channels.length);
  return channels.map((name, c): ChannelPlan => {
    const scheme = schemes[c];
    const mode = typeof scheme === "string" && Object.hasOwn(NORMALIZATIONS, scheme) ? NORMALIZATIONS[scheme] : null;
    if (mode === null) {
      return own.fail("normalization_schemes", `each to be one of ${listed(Object.keys(NORMALIZATIONS), 9)}`);
    }
    if (mode === "ct") {
      const key = plans.json.foreground_intensity_properties_per_channel
        ? "foreground_intensity_properties_per_channel"
        : "foreground_intensity_properties_by_modality";
      const found = plans.object(key).object(String(c));
      const [mean, deviation, low, high] = ["mean", "std", "percentile_00_5", "percentile_99_5"].map((k) =>
        found.number(k)
      );
      return { name, normalization: mode, mean, deviation: Math.max(deviation, 1e-8), low, high };
    }
    return { name, normalization: mode === "z-score" && masks[c] === true ? "z-score in mask" : mode };
  });
}

/** Of images, labels and probabilities; a plan has one rule for the separate axis. */
function resamplingPlan(own: Entries): ResamplingPlan {
  const orders: number[] = [];
  const rules: string[] = [];
  let [separateAxis, anisotropy] = [0, 3];
  for (const what of ["data", "seg", "probabilities"]) {
    own.only(`resampling_fn_${what}`, ["resample_data_or_seg_to_shape"], "other functions are not computed here");
    const kwargs = own.object(`resampling_fn_${what}_kwargs`);
    const { order, order_z, force_separate_z, separate_z_anisotropy_threshold, is_seg: _, ...others } = kwargs.json;
    const [odd] = Object.keys(others);
    if (odd !== undefined) kwargs.fail(odd, "no such entry");
    orders.push(order === undefined ? 3 : kwargs.number("order"));
    separateAxis = order_z === undefined ? 0 : kwargs.number("order_z");
    if (force_separate_z === true) anisotropy = 1e-6;
    else if (force_separate_z === false) anisotropy = 1e9;
    else {
      kwargs.only("force_separate_z", [null], "or true or false");
      anisotropy = separate_z_anisotropy_threshold === undefined ? 3 : kwargs.number("separate_z_anisotropy_threshold");
    }
    rules.push(`${separateAxis} ${anisotropy}`);
    if (rules[0] !== rules.at(-1)) {
      kwargs.fail("order_z", "order_z and force_separate_z to be those of resampling_fn_data_kwargs");
    }
  }
  if (orders[2] !== 1) {
    own.object("resampling_fn_probabilities_kwargs").fail("order", "1: logits are interpolated linearly");
  }
  const [image, label] = orders as ResamplingPlan["image"][];
  return { image, label, separateAxis: separateAxis as ResamplingPlan["separateAxis"], anisotropy };
}

/** Class and arguments of the network, also of plans before nnU-Net 2.3, which name the parts otherwise. */
function architecture(own: Entries): { network: string; kwargs: Entries } {
  if (own.json.architecture !== undefined) {
    const stored = own.object("architecture");
    return { network: stored.text("network_class_name"), kwargs: stored.object("arch_kwargs") };
  }
  const network = own.text("UNet_class_name");
  const convs = own.numbers("n_conv_per_stage_encoder");
  const [first, most] = [own.number("UNet_base_num_features"), own.number("unet_max_num_features")];
  const kwargs: Json = {
    n_stages: convs.length,
    features_per_stage: convs.map((_, s) => Math.min(first * 2 ** s, most)),
    kernel_sizes: own.list("conv_kernel_sizes"),
    strides: own.list("pool_op_kernel_sizes"),
    [network === "PlainConvUNet" ? "n_conv_per_stage" : "n_blocks_per_stage"]: convs,
    n_conv_per_stage_decoder: own.list("n_conv_per_stage_decoder"),
  };
  return { network, kwargs: new Entries(kwargs, own.file, own.path) };
}

/** Arguments that only one value is computed of, the default first. */
const fixedArguments = (dimensions: number): Readonly<Record<string, readonly unknown[]>> => {
  const named = (name: string, module: string): unknown[] => [`torch.nn.modules.${module}.${name}`, `torch.nn.${name}`];
  return {
    conv_op: [undefined, ...named(`Conv${dimensions}d`, "conv")],
    conv_bias: [undefined, true],
    norm_op: [undefined, ...named(`InstanceNorm${dimensions}d`, "instancenorm")],
    norm_op_kwargs: [undefined, { eps: 1e-5, affine: true }, { affine: true, eps: 1e-5 }, { affine: true }],
    nonlin: [undefined, ...named("LeakyReLU", "activation")],
    nonlin_kwargs: [undefined, { inplace: true }, {}, null, { negative_slope: 0.01, inplace: true }],
  };
};

const LIBRARY = "dynamic_network_architectures";

function networkPlan(own: Entries, dimensions: number): NetworkPlan {
  const { network, kwargs } = architecture(own);
  // Modules of the library were moved, classes keep their names.
  const [, given = network] = /^dynamic_network_architectures\.architectures\.\w+\.(\w+)$/.exec(network) ?? [];
  const isClass = (known: string | undefined): boolean => known === given;
  const name = plannedNetworks().find((each) => isClass(networkRules(each)?.nnunet?.network));
  if (name === undefined) {
    const known = plannedNetworks().flatMap((each) => networkRules(each)?.nnunet?.network ?? []);
    throw new PlanError(own.file, `${own.path}the network is ${show(network)}; wanted ${listed(known)} of ${LIBRARY}`);
  }
  const features = kwargs.perStage("features_per_stage", kwargs.number("n_stages"));
  const stages = features.length;
  const triples = (key: string): Triple[] =>
    kwargs.list(key, stages).map((entry): Triple => {
      const list: readonly unknown[] = typeof entry === "number"
        ? new Array(dimensions).fill(entry)
        : entry as unknown[];
      const fits = Array.isArray(list) && list.length === dimensions && list.every((n) => typeof n === "number");
      if (!fits) return kwargs.fail(key, `a list of ${dimensions} numbers for each stage`);
      return [1, ...list as number[]].slice(-3) as unknown as Triple;
    });
  const [kernels, strides] = [triples("kernel_sizes"), triples("strides")];
  if (strides[0].some((n) => n !== 1)) kwargs.fail("strides", "the first stage without a stride");
  const fixed = fixedArguments(dimensions);
  for (const [key, values] of Object.entries(fixed)) kwargs.only(key, values, "the only one that is computed here");
  const wanted = networkRules(name)!.nnunet!.entries;
  const entries = Object.entries(wanted).map(([entry, key]) =>
    [entry, kwargs.perStage(key, /decoder/i.test(entry) ? stages - 1 : stages)] as const
  );
  const known = ["n_stages", "features_per_stage", "kernel_sizes", "strides", ...Object.keys(fixed)];
  for (const key of Object.keys(kwargs.json)) {
    if (known.includes(key) || Object.values(wanted).includes(key) || key === "deep_supervision") continue;
    kwargs.only(key, [null, false, 0], "the network is computed without it");
  }
  return { name, features, kernels, strides, ...Object.fromEntries(entries) };
}

/**
 * A configuration of nnU-Net's plans.json as a plan. Two-dimensional ones become networks of kernels [1, h, w].
 *
 * @param plans content of plans.json
 * @param dataset see `nnunetDataset`
 * @param options file: of the plans, for messages
 * @throws PlanError naming the entry that is missing, or that voxgrad does not compute
 * @example
 * ```ts
 * import { nnunetDataset, planFromNnunet } from "voxgrad/imaging";
 * import { readJson } from "voxgrad/train";
 *
 * const folder = "nnUNet_results/Dataset004_Hippocampus/nnUNetTrainer__nnUNetPlans__3d_fullres";
 * const dataset = nnunetDataset(await readJson(`${folder}/dataset.json`), "dataset.json");
 * const plans = await readJson(`${folder}/plans.json`);
 * const plan = planFromNnunet(plans, dataset, { configuration: "3d_fullres", file: "plans.json" });
 * ```
 */
export function planFromNnunet(
  plans: unknown,
  dataset: PlannedDataset,
  options: { configuration: string; file: string },
): Plan {
  const { configuration, file } = options;
  if (!isNnunetPlans(plans)) throw new PlanError(file, "it has no configurations; wanted the plans.json of nnU-Net v2");
  const all = new Entries(plans, file);
  const own = new Entries(resolved(all, configuration), file, `configurations.${configuration}.`);
  own.only("preprocessor_name", ["DefaultPreprocessor"], "other preprocessors are not computed here");
  all.only("label_manager", [undefined, "LabelManager"], "other label managers are not computed here");
  const reader = all.text("image_reader_writer");
  if (!Object.hasOwn(READERS, reader)) {
    all.fail("image_reader_writer", `${listed(Object.keys(READERS))}, which read NIfTI`);
  }
  const patch = own.numbers("patch_size");
  const flat = patch.length === 2;
  if (!flat && patch.length !== 3) own.fail("patch_size", "two or three numbers");
  const medianSpacing = all.numbers("original_median_spacing_after_transp", 3) as unknown as Triple;
  const medianShape = all.numbers("original_median_shape_after_transp", 3) as unknown as Triple;
  const behind = (first: number, rest: readonly number[]): Triple => [first, ...rest].slice(-3) as unknown as Triple;
  const previous = own.json.previous_stage;
  const { channels, labels, regions, ignoreLabel, cases } = dataset;
  return checkPlan({
    format: "voxgrad plan 1",
    dataset: all.text("dataset_name"),
    configuration: flat
      ? "2d"
      : previous !== undefined && previous !== null
      ? "3d_cascade_fullres"
      : configuration === "3d_lowres"
      ? configuration
      : "3d_fullres",
    ...(previous !== undefined && previous !== null && { previousStage: own.text("previous_stage") }),
    orientation: READERS[reader],
    transpose: all.numbers("transpose_forward", 3),
    spacing: behind(medianSpacing[0], own.numbers("spacing", patch.length)),
    patch: behind(1, patch),
    batch: own.number("batch_size"),
    channels: channelPlans(all, own, channels),
    labels: labels.map(({ name }) => name),
    ...(regions && { regions }),
    ...(ignoreLabel !== undefined && { ignoreLabel }),
    resampling: resamplingPlan(own),
    network: networkPlan(own, patch.length),
    fingerprint: {
      cases,
      medianShape,
      medianSpacing,
      medianPreparedShape: behind(medianShape[0], own.numbers("median_image_size_in_voxels", patch.length)),
    },
  }, file);
}

/**
 * Reads a plan for a dataset: one of voxgrad, or a configuration of nnU-Net's plans.json.
 *
 * @param options configuration: of nnU-Net's plans; default "3d_fullres"
 * @throws PlanError for a file that is neither, VoxgradError for a configuration of a plan that is not nnU-Net's
 * @example
 * ```ts
 * import { openDataset, readPlanFor } from "voxgrad/imaging";
 *
 * const dataset = await openDataset("nnUNet_raw/Dataset004_Hippocampus");
 * const about = { ...dataset, cases: dataset.cases.length };
 * const plan = await readPlanFor("nnUNet_preprocessed/Dataset004_Hippocampus/nnUNetPlans.json", about);
 * ```
 */
export async function readPlanFor(
  source: FileSource,
  dataset: PlannedDataset,
  options: { configuration?: string | undefined } = {},
): Promise<Plan> {
  const { bytes, name } = await readSource(source);
  const json = parseJson(bytes, name);
  if (isNnunetPlans(json)) {
    return planFromNnunet(json, dataset, { configuration: options.configuration ?? "3d_fullres", file: name });
  }
  if (options.configuration === undefined) return checkPlan(json, name);
  throw new VoxgradError(`${name}: it is a plan of one configuration; leave out --configuration`);
}
