/** What nnU-Net trained, opened as it is. */
import { readCheckpoint } from "../../engine/mod.ts";
import { nnunetDataset, type Plan, planFromNnunet, previousStage } from "../../engine/imaging/mod.ts";
import { check, show, VoxgradError } from "../../engine/segmenting.ts";
import { type FileSource, nnunetPostprocessing, type NnunetResult } from "../../engine/train/mod.ts";
import { openNnunetResult, type Postprocessing } from "../../engine/train/mod.ts";
import { architectureOf } from "../known_networks.ts";
import { ownWeights } from "../nnunet/weights.ts";
import type { MirrorAxes, SegmentationModel } from "./segmentation_model.ts";
import type { Loaded } from "./window_model.ts";

/** Configurations of nnU-Net that were read. */
interface Trained {
  /** Of each fold. */
  readonly loaded: readonly Loaded[];
  /** Axes of the oriented scan along which its training mirrored. */
  readonly mirror: MirrorAxes;
  /** What its cross-validation chose. */
  readonly rule?: Postprocessing;
}

/** One of them. */
interface Configuration extends Trained {
  /** The stage before, of a cascade. */
  readonly previous?: Configuration;
}

/** What is used of the options of openModel. */
interface NnunetOptions {
  readonly configuration?: string;
  readonly mirror?: MirrorAxes;
  readonly plan?: unknown;
  /** Models of other kinds in the same list. */
  readonly others: number;
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** The axes that a checkpoint lists, those of its patch, as axes of the scan. */
function mirrorOf(axes: unknown, plan: Plan, file: string): MirrorAxes {
  if (axes === null || axes === undefined) return "none";
  const first = plan.configuration === "2d" ? 1 : 0;
  const along = Array.isArray(axes) ? axes.map((axis): number | undefined => plan.transpose[Number(axis) + first]) : [];
  if (!Array.isArray(axes) || along.includes(undefined)) {
    throw new VoxgradError(`${file}: inference_allowed_mirroring_axes is ${show(axes)}; wanted axes of the patch`);
  }
  return ([2, 1, 0].filter((axis) => along.includes(axis)).map((axis) => "zyx"[axis]).join("") || "none") as MirrorAxes;
}

async function configurationOf(result: NnunetResult): Promise<Configuration> {
  const loaded: Loaded[] = [];
  let mirror: MirrorAxes = "none";
  for (const checkpoint of result.checkpoints) {
    const { bytes, name } = await checkpoint.read();
    const { tensors, entry } = await readCheckpoint(bytes, { name });
    const init = entry("init_args");
    const own = isObject(init) ? init : {};
    const [configuration, file] = [own.configuration, checkpoint.name];
    check(
      typeof configuration === "string",
      "openModel",
      () => `${file}: its init_args name no configuration, so it is no checkpoint of nnU-Net v2; name its run instead`,
    );
    const { plans, dataset } = result.described ?? {
      plans: { json: own.plans, file: `${file}, the plans in it` },
      dataset: { json: own.dataset_json, file: `${file}, the dataset_json in it` },
    };
    const plan = planFromNnunet(plans.json, nnunetDataset(dataset.json, dataset.file), {
      configuration,
      file: plans.file,
    });
    if (loaded.length === 0) mirror = mirrorOf(entry("inference_allowed_mirroring_axes"), plan, file);
    const first = loaded[0]?.description.plan ?? plan;
    check(
      JSON.stringify(first) === JSON.stringify(plan),
      "openModel",
      () => `${file}: its configuration is ${show(configuration)}, another than that of ${result.checkpoints[0].name}`,
    );
    loaded.push({
      description: {
        format: "voxgrad model 1",
        network: plan.network.name,
        architecture: architectureOf(plan),
        plan: first,
      },
      tensors: await ownWeights(tensors, plan.configuration === "2d"),
      file,
      ...(loaded.length === 0 && { beside: result.files }),
    });
  }
  const { plan } = loaded[0].description;
  const previous = result.previous && plan.previousStage !== undefined
    ? await configurationOf(result.previous)
    : undefined;
  check(
    plan.previousStage === undefined || previous !== undefined,
    "openModel",
    () =>
      `${result.name}: it is the second stage of a cascade and takes labels of ${plan.previousStage}; put that ` +
      "training beside it, in a folder of the same TRAINER__PLANS__",
  );
  return {
    loaded,
    mirror,
    ...(result.postprocessing && { rule: await nnunetPostprocessing(await result.postprocessing.read(), plan) }),
    ...(previous && { previous }),
  };
}

/** What the model of a cascade's first stage gives the second. */
const stageBefore = (model: SegmentationModel): NonNullable<Loaded["before"]> => ({
  model,
  async previous(image, { signal, onProgress }) {
    const { labels } = await model.segment(image, {
      // Of the signal only throwIfAborted is called.
      ...(signal && { signal: signal as AbortSignal }),
      ...(onProgress && { onProgress: ({ done, total }) => onProgress(done, total) }),
    });
    return previousStage(labels);
  },
});

/**
 * Opens what nnU-Net trained: TRAINER__PLANS__CONFIGURATION of nnUNet_results, a fold or a checkpoint in it, the folder
 * of its dataset, a zip of nnUNetv2_export_model_to_zip, or a checkpoint alone.
 *
 * @param windowed makes the model of a cascade's first stage
 * @returns folds of all, the axes to mirror along, and of one alone its rule
 * @throws VoxgradError, PlanError for what is not there, or voxgrad does not compute, by name
 */
export async function openNnunet(
  sources: readonly FileSource[],
  { configuration, mirror, plan, others }: NnunetOptions,
  windowed: (loaded: readonly Loaded[], mirror: MirrorAxes) => SegmentationModel,
): Promise<Trained> {
  check(
    sources.length > 0,
    "openModel",
    () => "configuration is for what nnU-Net trained; a run of voxgrad has one alone",
  );
  check(
    plan === undefined,
    "openModel",
    () => "plan is for models of ONNX and TensorFlow.js; what nnU-Net trained holds its own",
  );
  const opened: Configuration[] = [];
  for (const source of sources) {
    opened.push(await configurationOf(await openNnunetResult(source, { configuration })));
  }
  const mirrors = [...new Set(opened.map((each) => each.mirror))];
  check(
    mirror !== undefined || (mirrors.length === 1 && others === 0),
    "openModel",
    () => `the trainings of nnU-Net mirrored along ${mirrors.join(" and ")}; give mirror for all models of the list`,
  );
  const foldsOf = ({ loaded, previous }: Configuration): readonly Loaded[] => {
    if (!previous) return loaded;
    const before = stageBefore(windowed(foldsOf(previous), mirror ?? previous.mirror));
    return loaded.map((fold) => ({ ...fold, before }));
  };
  const rule = opened.length === 1 ? opened[0].rule : undefined;
  return { loaded: opened.flatMap(foldsOf), mirror: mirror ?? mirrors[0], ...(rule && { rule }) };
}
