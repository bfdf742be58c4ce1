/** Models of networks that segment patches, alone or as ensembles. */
import {
  check,
  checkMemory,
  checkSpacing,
  loadParameters,
  postprocess,
  predictor,
  random,
  resident,
} from "../../engine/segmenting.ts";
import type { LoadedModel, Member, Postprocessing } from "../../engine/train/mod.ts";
import { type Model, networkOf } from "../known_networks.ts";
// The network of most models; others are loaded for the files that name them.
import "../unet/unet.ts";
import { type MirrorAxes, readScan, type SegmentationModel, writable, type WriteVolume } from "./segmentation_model.ts";

export interface WindowOptions {
  readonly step?: number;
  readonly batch?: number;
  readonly mirror?: MirrorAxes;
  readonly anySpacing?: boolean;
}

/** A model that was read; with its network, if that is no registered one. */
export type Loaded = LoadedModel & {
  readonly network?: Model;
  /** Of such a network the architecture in model files that a training of it writes. */
  readonly architecture?: () => object;
  /** Paths of files of weights that the file names. */
  readonly beside?: readonly string[];
  /** Of a cascade the model of the stage before, and what it gives this one. */
  readonly before?: { readonly model: SegmentationModel; readonly previous: Member["previous"] };
};

/** Trainings of the same plan and architecture are folds of one configuration. */
function membersOf(loaded: readonly Loaded[]): Member[] {
  type Folds = Omit<Member, "params"> & { readonly params: object[] };
  const members = new Map<string, Folds>();
  for (const { description, tensors, file, network: own, before } of loaded) {
    const { network: name, architecture, plan } = description;
    const network = own ?? networkOf(description, file);
    const key = JSON.stringify([own ? file : name, architecture, plan]);
    const member: Folds = members.get(key) ??
      { network, params: [], plan, ...(before && { previous: before.previous }) };
    member.params.push(loadParameters(network.init(random.key(0)), tensors));
    members.set(key, member);
  }
  return [...members.values()];
}

/** The mean of some networks, followed by a rule for the largest components. */
export function windowModel(
  loaded: readonly Loaded[],
  rule: Postprocessing | undefined,
  options: WindowOptions,
  write: WriteVolume,
): SegmentationModel {
  const { anySpacing = false, mirror: axes = "none", ...own } = options;
  const members = membersOf(loaded);
  const { plan } = members[0];
  const mirror = plan.transpose.flatMap((axis, k) => (axes.includes("zyx"[axis]) ? [k] : []));
  const build = (params: readonly (readonly object[])[]) =>
    predictor(members.map((member, k) => ({ ...member, params: params[k] })), { ...own, mirror });
  const params = members.map((member) => member.params);
  // Refuses options, and networks of different tasks, before the first scan.
  build(params);
  const networks = resident("model", params, build);
  const channels = plan.channels.map(({ name }) => name);
  const stages = [...new Set(loaded.flatMap(({ before }) => before?.model ?? []))];
  return {
    plan,
    mirror: axes,
    channels,
    labels: plan.labels.map((name, value) => ({ name, value })),
    needsSupport: false,
    weightFiles: loaded.flatMap(({ beside = [] }) => beside),
    ...(rule && { postprocessing: rule }),

    async segment(scan, { signal, onProgress, probabilities = false, support } = {}) {
      check(
        support === undefined,
        "segment",
        () => "this model knows its labels and takes no support; a run of train_alpnet takes one",
      );
      const stop = (): void => {
        signal?.throwIfAborted();
        networks.check();
      };
      stop();
      const image = await readScan(scan, channels);
      if (!anySpacing) checkSpacing(image, plan, "anySpacing: true of openModel");
      const made = await networks.use(async ({ memory, predict }) => {
        const { host, elements } = await memory(image, { probabilities });
        const fits = "crop the scan, or predict with a network of coarser spacing";
        checkMemory(host, `${image.name}: predicting it`, fits, elements);
        return predict(image, {
          probabilities,
          signal: { throwIfAborted: stop },
          onProgress: (done, total) => onProgress?.({ done, total }),
        });
      });
      return {
        labels: writable(rule ? postprocess(made.labels, rule) : made.labels, write),
        ...(made.probabilities && { probabilities: writable(made.probabilities, write) }),
      };
    },

    async memory(image, wanted) {
      const own = await networks.use(({ memory }) => memory(image, wanted));
      const before = await Promise.all(stages.map((stage) => stage.memory!(image)));
      const most = (key: keyof typeof own): number => Math.max(own[key], ...before.map((each) => each[key]));
      return { host: most("host"), device: most("device"), elements: most("elements") };
    },
    dispose(): void {
      for (const model of [networks, ...stages]) model.dispose();
    },
  };
}
