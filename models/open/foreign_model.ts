/** Models of ONNX and TensorFlow.js that segment patches, opened as if they were of a network of voxgrad. */
import type { Params, Tensor } from "../../engine/mod.ts";
import type { Model } from "../known_networks.ts";
import { checkPlan, type Plan, PlanError } from "../../engine/imaging/mod.ts";
import { check, loadParameters, outputChannels, parseJson, VoxgradError } from "../../engine/segmenting.ts";
import { type FileSource, type LoadedModel, type ModelDescription, readSource } from "../../engine/train/mod.ts";
import { type OnnxModel, openOnnxFile } from "../onnx/model.ts";
import { architectureOfGraph, networkOfGraph, ONNX, openArchitecture } from "../onnx/network.ts";
import { openLayersFile, SIZES } from "../tfjs/model.ts";
import type { Loaded } from "./window_model.ts";

// In one chunk with this, for each chunk more divides what pages always load into more parts.
export { openNnunet } from "./nnunet_model.ts";

/** What a plan must say of a model that is read as it is; the rest has defaults. */
export type ShortPlan = Pick<Plan, "spacing" | "channels"> & Partial<Plan>;

const isObject = (plan: ShortPlan | FileSource): plan is ShortPlan => typeof plan === "object" && "channels" in plan;

/** The network of the file, in a plan; nobody builds it. */
const NETWORK: Plan["network"] = {
  name: "plainConvUNet",
  features: [1, 1],
  kernels: [[1, 1, 1], [1, 1, 1]],
  strides: [[1, 1, 1], [1, 1, 1]],
  convsPerStage: [1, 1],
  decoderConvsPerStage: [1],
};

/** A plan with its defaults: sizes that the model gives, nnU-Net's resampling, and labels by number. */
async function planOf(given: ShortPlan | FileSource, model: OnnxModel): Promise<Plan> {
  const { bytes, name } = isObject(given) ? { bytes: undefined, name: "the plan" } : await readSource(given);
  const json = bytes === undefined ? given : parseJson(bytes, name);
  if (typeof json !== "object" || json === null || "format" in json) return checkPlan(json, name);
  const short = json as ShortPlan;
  const [input, output] = [model.inputs[0]?.shape, model.outputs[0].shape?.[1]];
  const sizes = model.metadata[SIZES]?.split(",").map(Number) ?? input?.slice(2);
  const patch = short.patch ?? (sizes?.length === 3 && sizes.every((n) => typeof n === "number") ? sizes : undefined);
  if (patch === undefined) throw new PlanError(name, "patch is missing; the model takes any size: give [d, h, w]");
  const labels = short.labels ??
    (typeof output === "number" ? Array.from({ length: output }, (_, k) => (k === 0 ? "background" : `${k}`)) : []);
  const fingerprint = {
    cases: 1,
    medianShape: patch,
    medianSpacing: short.spacing,
    medianPreparedShape: patch,
    relativeSizeAfterCrop: 1,
  };
  return checkPlan({
    format: "voxgrad plan 1",
    dataset: "",
    configuration: "3d_fullres",
    orientation: "RAS",
    transpose: [0, 1, 2],
    batch: 1,
    resampling: { image: 3, label: 1, separateAxis: 0, anisotropy: 3 },
    network: NETWORK,
    fingerprint,
    ...short,
    patch,
    labels,
  }, name);
}

/** The description that voxgrad's exports hold; undefined for other files. */
function descriptionIn(metadata: Readonly<Record<string, string>>, file: string): ModelDescription | undefined {
  if (metadata.voxgrad === undefined) return undefined;
  try {
    const description = JSON.parse(metadata.voxgrad) as ModelDescription;
    return { ...description, plan: checkPlan(description.plan, `${file}, the plan in its metadata`) };
  } catch (error) {
    if (error instanceof VoxgradError) throw error;
    throw new VoxgradError(`${file}: the entry "voxgrad" of its metadata is no JSON`, { cause: error });
  }
}

export interface ForeignOptions {
  /** How scans are prepared; models that voxgrad exported hold theirs. */
  readonly plan?: ShortPlan | FileSource;
  /** Files of weights beside the model. */
  readonly external?: Readonly<Record<string, FileSource>>;
}

/** Throws if the graph is none for patches of the plan, or does not give an output for each of its labels. */
function checkFits(model: OnnxModel, plan: Plan, file: string): void {
  const { patch, channels } = plan;
  const [input, ...others] = model.inputs;
  check(
    input !== undefined && others.length === 0 && input.dtype === "f32",
    "openModel",
    () =>
      `${file}: wanted one float input, an image; it has ${model.inputs.map(({ name }) => name).join(", ") || "none"}`,
  );
  const wanted = [1, channels.length, ...patch];
  const fits = input.shape === null ||
    (input.shape.length === wanted.length && input.shape.every((n, k) => typeof n === "string" || n === wanted[k]));
  check(
    fits,
    "openModel",
    () =>
      `${file}: its input is [${
        input.shape?.join(", ")
      }], and the plan has ${channels.length} channels and patches of ` +
      `${patch.join(" x ")}; set the plan's patch, or export it with other sizes`,
  );
  const outputs = outputChannels(plan);
  const given = model.outputs[0].shape?.[1];
  check(
    typeof given !== "number" || given === outputs,
    "openModel",
    () => `${file}: it has ${given} outputs, and the plan ${outputs} labels or regions`,
  );
}

/** Opens a file of ONNX, or if its name ends with .json a layers model of TensorFlow.js. */
const openFile = (
  source: FileSource,
  file: string,
  external: Readonly<Record<string, FileSource>>,
): Promise<OnnxModel> => (/\.json$/i.test(file) ? openLayersFile : openOnnxFile)(source, { external });

/** networkFromFile, of which network_from_file.ts has the description. */
export async function foreignNetwork(
  source: string,
  plan: Plan,
): Promise<{ model: Model<Tensor>; architecture: object }> {
  const model = await openFile(source, source, {});
  checkFits(model, plan, source);
  return {
    model: networkOfGraph(model),
    architecture: architectureOfGraph(model, plan.channels.length, outputChannels(plan)),
  };
}

/** exportTrained, of which network_from_file.ts has the description. */
export function writeTrained({ description, tensors, file }: LoadedModel): Promise<Uint8Array> {
  const model = openArchitecture(description.architecture, file);
  const params = loadParameters(model.params as Params, tensors) as OnnxModel["params"];
  // The graph of the file itself stands for its architecture.
  const metadata = { voxgrad: JSON.stringify({ ...description, architecture: {} }) };
  return model.save(params, metadata);
}

/**
 * Opens a model with one image input [N, channels, ...patch] and logits [N, outputs, ...patch] as first output.
 *
 * @param file its name; one that ends with .json is a layers model of TensorFlow.js, others are of ONNX
 */
export async function foreignModel(
  source: FileSource,
  file: string,
  { plan, external = {} }: ForeignOptions,
): Promise<Loaded> {
  const model = await openFile(source, file, external);
  const own = descriptionIn(model.metadata, file);
  check(
    own !== undefined || plan !== undefined,
    "openModel",
    () => `${file} does not say how scans are prepared; give a plan: { plan: "plan.json" }, --plan of the command line`,
  );
  check(own === undefined || plan === undefined, "openModel", () => `${file} holds a plan of its own; leave yours out`);
  const description: ModelDescription = own ?? {
    format: "voxgrad model 1",
    network: ONNX,
    architecture: {},
    plan: await planOf(plan!, model),
  };
  checkFits(model, description.plan, file);
  const { channels } = description.plan;
  return {
    description,
    tensors: new Map(Object.entries(model.params)),
    file,
    network: networkOfGraph(model),
    architecture: () => architectureOfGraph(model, channels.length, outputChannels(description.plan)),
    beside: model.external,
  };
}
