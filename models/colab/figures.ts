/**
 * Figures of the CoLab paper (Li et al. 2022) for a training with context labels: the logit plane (its Fig. 3), maps of
 * the context labels (Fig. 8) and their intensities (Fig. 11). Cases are read slab by slab, so that no more than a few
 * planes of logits ever exist; what is kept of a case is a byte a voxel for each map, and the logits of the voxels
 * drawn.
 */
import { compile, concat, type Params, slice, Tensor, tensor } from "../../engine/mod.ts";
import {
  type CaseSource,
  type Fold,
  type Plan,
  preparedVolume,
  Prng,
  slidingWindowSlabs,
  voxelCount,
} from "../../engine/imaging/mod.ts";
import {
  type Figure,
  Histogram,
  histogramSvg,
  labelColor,
  type Network,
  type OverlayCase,
  overlaySvg,
  scatterSvg,
} from "../../engine/train/mod.ts";
import { type FigureCase, type FigureMaps, figureMaps } from "./figure_maps.ts";

/** Points of a group in a panel. */
const POINTS = 1500;

/** Color of the background in the figures; ROI classes and contexts have those of labels. */
const BACKGROUND = "#7d8ca3";

const grouped = (n: number): string => String(n).replace(/\B(?=(\d{3})+$)/g, ",");

/** Names of a task's classes: those of the ROI, and the contexts. */
export interface FigureNames {
  readonly rois: readonly string[];
  readonly contexts: readonly string[];
}

/**
 * The logit plane: each voxel by the logit of a ROI class and the largest other one, a panel for each class and set of
 * cases. Voxels below the line x = y are predicted as the class.
 *
 * @param sets cases by name, such as "3 held-out cases"
 */
function logitPlaneSvg(sets: Readonly<Record<string, readonly FigureMaps[]>>, names: FigureNames): string {
  const rest = names.rois.length === 1 ? "background" : "all else";
  const panels = Object.entries(sets).flatMap(([set, maps]) =>
    names.rois.map((name, k) => {
      const planes = maps.map(({ planes: own }) => own[k]);
      const sum = (key: "positive" | "negative" | "falsePositive" | "falseNegative"): string =>
        grouped(planes.reduce((total, plane) => total + plane[key], 0));
      return {
        title: names.rois.length === 1 ? set : `${name}, ${set}`,
        notes: [
          `${sum("falsePositive")} false positives of ${sum("negative")} voxels`,
          `${sum("falseNegative")} false negatives of ${sum("positive")}`,
        ],
        groups: [
          { name: rest, color: BACKGROUND, points: planes.flatMap(({ negatives }) => negatives) },
          { name, color: labelColor(k + 1), points: planes.flatMap(({ positives }) => positives) },
        ],
      };
    })
  );
  return scatterSvg(panels, {
    xLabel: "logit of the ROI class",
    yLabel: "largest other logit",
    diagonal: "decision boundary",
  });
}

/** Maps of the contexts that the network was taught, and of those that it sees, over slices; a row each. */
function contextMapsSvg(
  maps: readonly FigureMaps[],
  names: FigureNames,
  options: { slices?: number } = {},
): string {
  const rows = maps.flatMap(({ item, prediction, taught, seen }): OverlayCase[] => {
    const image = preparedVolume(item);
    const shared = { image, reference: item.label, prediction };
    return [
      { name: `${item.id}, contexts taught`, ...shared, context: taught },
      { name: `${item.id}, contexts predicted`, ...shared, context: seen },
    ];
  });
  return overlaySvg(rows, { labels: ["background", ...names.rois], contexts: names.contexts, ...options });
}

/** Values between which 99 of 100 voxels lie, of some voxels of each case. */
function middleOf(images: readonly Float32Array[]): [number, number] {
  const some = Float32Array.from(
    images.flatMap((image) => {
      const step = Math.max(1, Math.floor(image.length / 20_000));
      return Array.from({ length: Math.ceil(image.length / step) }, (_, i) => image[i * step]);
    }),
  ).sort();
  const at = (share: number): number => some[Math.round(share * (some.length - 1))] ?? 0;
  const [low, high] = [at(0.005), at(0.995)];
  return high > low ? [low, high] : [low - 0.5, low + 0.5];
}

/**
 * Densities of the prepared intensities in the ROI, the background, and each context as taught and as predicted, over
 * the voxels of all cases; a row of panels for each channel.
 *
 * @param channels names of the image's channels, the first of each case
 */
function intensitiesSvg(maps: readonly FigureMaps[], names: FigureNames, channels: readonly string[]): string {
  const imageOf = ({ item }: FigureMaps, channel: number): Float32Array => {
    const count = voxelCount(item.shape);
    return item.image.subarray(channel * count, (channel + 1) * count);
  };
  const range = middleOf(channels.flatMap((_, channel) => maps.map((each) => imageOf(each, channel))));
  // By Rice's rule, of the ROI, which is the smallest group: with more bins its density would be noise.
  const roiVoxels = maps.reduce((sum, { planes }) => sum + planes.reduce((n, plane) => n + plane.positive, 0), 0);
  const bins = Math.min(60, Math.max(20, Math.ceil(2 * Math.cbrt(roiVoxels))));
  const panels = channels.flatMap((channelName, channel) => {
    const make = (list: readonly string[]): Histogram[] => list.map(() => new Histogram({ range, bins }));
    const [rois, taught, seen] = [make(names.rois), make(names.contexts), make(names.contexts)];
    const background = new Histogram({ range, bins });
    for (const each of maps) {
      const image = imageOf(each, channel);
      for (let i = 0; i < image.length; i++) {
        const value = each.item.label[i];
        (value > 0 ? rois[value - 1] : background).add(image[i]);
        if (each.taught![i] > 0) taught[each.taught![i] - 1].add(image[i]);
        if (each.seen![i] > 0) seen[each.seen![i] - 1].add(image[i]);
      }
    }
    const groupsOf = (list: readonly string[], all: readonly Histogram[], first: number) =>
      list.map((name, k) => ({ name, histogram: all[k], color: labelColor(first + k) }));
    const regions = groupsOf(names.rois, rois, 1);
    const title = (text: string): string => (channels.length > 1 ? `${channelName}: ${text}` : text);
    return [
      {
        title: title("ROI and background"),
        groups: [{ name: "background", histogram: background, color: BACKGROUND }, ...regions],
      },
      {
        title: title("contexts taught"),
        groups: [...groupsOf(names.contexts, taught, names.rois.length + 1), ...regions],
      },
      {
        title: title("contexts predicted"),
        groups: [...groupsOf(names.contexts, seen, names.rois.length + 1), ...regions],
      },
    ];
  });
  return histogramSvg(panels, { xLabel: "normalized intensity" });
}

export interface FigureOptions {
  readonly plan: Plan;
  readonly contexts: number;
  /** The network as it was trained, with an output for each ROI class and context. */
  readonly network: Network;
  readonly params: object;
  /** Whether the background is the network's first output, as without contexts. */
  readonly backgroundFirst?: boolean;
  /**
   * The labels of a patch: context probabilities q [N, t, ...space] and the mask [N, ...space] of an image and the
   * further channels of the cases. Without it there are no maps and no intensities.
   */
  readonly contextsOf?: (omega: Params, image: Tensor, extra: Tensor) => { q: Tensor; mask: Tensor };
  /** The generator's parameters, for `contextsOf`. */
  readonly omega?: Params;
  readonly heldOut: readonly FigureCase[];
  readonly training?: readonly FigureCase[];
  readonly seed?: number;
}

/**
 * The cases in the figures of a fold: up to three that are held out, and cases of the training, four together; three of
 * the training where none is held out.
 *
 * @returns options of `colabFigures`
 * @example
 * ```ts
 * import { figureCases } from "voxgrad/models";
 * import { config, openTraining, trainingEntries } from "voxgrad/train";
 *
 * const { store, folds } = await openTraining(config(trainingEntries, ["data/Task04_Hippocampus"]));
 * const { heldOut, training } = await figureCases(store, folds[0].split);
 * ```
 */
export async function figureCases(
  source: CaseSource,
  { train, val }: Pick<Fold, "train" | "val">,
): Promise<Pick<FigureOptions, "heldOut" | "training">> {
  const get = (ids: readonly string[]) => Promise.all(ids.map((id) => source.get(id)));
  const heldOut = await get(val.slice(0, 3));
  return { heldOut, training: await get(train.slice(0, heldOut.length === 0 ? 3 : 4 - heldOut.length)) };
}

/**
 * The figures of a training: the logit plane, and with contexts their maps and intensities, of the held-out cases (of
 * the training's where none is held out). Each case is read once, by network and generator together.
 *
 * @returns for `writeFigure`; the same bytes for the same parameters, cases and seed
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { loadCase, openDataset, preprocessCase, readPlan } from "voxgrad/imaging";
 * import { colabFigures, networkFromPlan } from "voxgrad/models";
 * import { RunFolder, writeFigure } from "voxgrad/train";
 *
 * const [plan, dataset] = [await readPlan("plan.json"), await openDataset("data/KiTS")];
 * const network = networkFromPlan(plan);
 * const heldOut = [await preprocessCase(await loadCase(dataset, dataset.cases[0]), plan)];
 * const options = { plan, contexts: 1, network, params: network.init(random.key(1)), heldOut, backgroundFirst: true };
 * for (const figure of await colabFigures(options)) await writeFigure(new RunFolder("runs/mine"), figure);
 * ```
 */
export async function colabFigures(options: FigureOptions): Promise<Figure[]> {
  const { plan, contexts, network, params, contextsOf, omega = {}, heldOut, training = [], seed = 0 } = options;
  const channels = plan.channels.length;
  const rois = plan.labels.length - 1;
  const outputs = compile((p: object, o: Params, patches: Tensor) => {
    const [N, all, ...space] = patches.shape as [number, number, ...number[]];
    const image = slice(patches, { end: [N, channels] });
    const out = network.apply(p, image, { train: false });
    const logits = (out instanceof Tensor ? out : out[0]).cast("f32");
    if (!contextsOf) return logits;
    const { q, mask } = contextsOf(o, image, slice(patches, { start: [0, channels], end: [N, all] }));
    return concat([logits, q.cast("f32"), mask.cast("f32").reshape({ shape: [N, 1, ...space] })], { axis: 1 });
  });
  const read = (item: FigureCase, of: number): Promise<FigureMaps> => {
    const slabs = slidingWindowSlabs(
      { data: item.image, shape: [item.channels, ...item.shape] },
      {
        patch: plan.patch,
        classes: rois + contexts + (contextsOf ? contexts + 1 : 0),
        predict: async (patches) => {
          using image = tensor(patches, { shape: [1, item.channels, ...plan.patch] });
          using result = await outputs(params, omega, image);
          return (await result.data()) as Float32Array;
        },
      },
    );
    const prng = new Prng(seed).fork("figures").fork(item.id);
    const points = Math.ceil(POINTS / of);
    const { backgroundFirst } = options;
    return figureMaps(item, slabs, {
      rois,
      contexts,
      backgroundFirst,
      withContexts: contextsOf !== undefined,
      points,
      prng,
    });
  };
  const sets: Record<string, FigureMaps[]> = {};
  for (const [kind, items] of [["held-out", heldOut], ["training", training]] as const) {
    const name = `${items.length} ${kind} case${items.length === 1 ? "" : "s"}`;
    for (const item of items) (sets[name] ??= []).push(await read(item, items.length));
  }
  const [cases, shown] = Object.entries(sets)[0] ?? [];
  if (!shown) return [];
  const names: FigureNames = {
    rois: plan.labels.slice(1),
    contexts: Array.from({ length: contexts }, (_, k) => `context ${k + 1}`),
  };
  const figures: Figure[] = [{
    name: "logits",
    title: "Logit plane",
    caption: "Each dot is a voxel by the logit of the ROI class and the largest other logit; below the line it is " +
      "predicted as the " +
      `ROI. At most ${POINTS} voxels of a group are drawn, chosen at random; the counts are of all voxels of the ` +
      "cases.",
    svg: logitPlaneSvg(sets, names),
  }];
  if (!contextsOf) return figures;
  const which =
    "A voxel has its likeliest context: as taught, where the mask around the ROI is above 1/2; as predicted, " +
    "everywhere, but context 1, which is the far background's class too, only there.";
  figures.push({
    name: "context_maps",
    title: "Context labels",
    caption:
      `Contexts that the network was taught, and that it predicts, in ${cases} at the plan's resolution. ${which}`,
    svg: contextMapsSvg(shown, names),
  }, {
    name: "intensities",
    title: "Intensities of ROI and contexts",
    caption:
      `Density of the normalized intensities over the voxels of ${cases}, between their 0.5 and 99.5 percentiles. ` +
      `${which}`,
    svg: intensitiesSvg(shown, names, plan.channels.map(({ name }) => name)),
  });
  return figures;
}
