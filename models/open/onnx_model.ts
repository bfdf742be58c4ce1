/** ONNX models that segment patches, opened as if they were of a network of voxgrad. */
import type { Params, Tensor } from "../../engine/mod.ts";
import { checkPlan, type Plan, readPlan } from "../../engine/imaging/mod.ts";
import { check, outputChannels, VoxgradError } from "../../engine/segmenting.ts";
import type { FileSource, ModelDescription } from "../../engine/train/mod.ts";
import { openOnnxFile } from "../onnx/model.ts";
import type { Loaded } from "./window_model.ts";

const isPlanObject = (plan: Plan | FileSource): plan is Plan => typeof plan === "object" && "patch" in plan;

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

/**
 * Opens an ONNX model with one image input [N, channels, ...patch] and logits [N, outputs, ...patch] as first output.
 *
 * @param plan how scans are prepared; models that voxgrad exported hold theirs
 */
export async function onnxModel(source: FileSource, file: string, plan?: Plan | FileSource): Promise<Loaded> {
  const model = await openOnnxFile(source, {});
  const own = descriptionIn(model.metadata, file);
  check(
    own !== undefined || plan !== undefined,
    "openModel",
    () => `${file} does not say how scans are prepared; give a plan: { plan: "plan.json" }, --plan of the command line`,
  );
  check(own === undefined || plan === undefined, "openModel", () => `${file} holds a plan of its own; leave yours out`);
  const description: ModelDescription = own ?? {
    format: "voxgrad model 1",
    network: "onnx",
    architecture: {},
    plan: isPlanObject(plan!) ? checkPlan(plan, "the plan") : await readPlan(plan!),
  };
  const { patch, channels } = description.plan;
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
  const outputs = outputChannels(description.plan);
  const given = model.outputs[0].shape?.[1];
  check(
    typeof given !== "number" || given === outputs,
    "openModel",
    () => `${file}: it has ${given} outputs, and the plan ${outputs} labels or regions`,
  );
  const network = {
    config: {},
    init: () => model.params as Params,
    apply: (params: Params, image: Tensor): Tensor =>
      Object.values(model.apply(params as typeof model.params, { [input.name]: image }))[0],
  };
  return { description, tensors: new Map(Object.entries(model.params)), file, network };
}
