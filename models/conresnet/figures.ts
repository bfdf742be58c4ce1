/**
 * Figures of the ConResNet paper (Zhang et al. 2021) for trained networks: residuals of labels and as predicted (its
 * Fig. 3), attention of the context residual modules with the features before and after (Fig. 6), features of several
 * networks (Fig. 7). Each shows a case in one patch, where its labels differ most from one slice to the next.
 */
import { compile, resize, sigmoid, type Tensor, tensor } from "../../engine/mod.ts";
import { regionTargets } from "../../engine/nn/mod.ts";
import {
  type CaseGeometry,
  extractBox,
  makeVolume,
  type Plan,
  preparedVolume,
  type SampleCase,
  type Triple,
  type Volume,
  voxelCount,
} from "../../engine/imaging/mod.ts";
import { type Figure, type TileRow, tilesSvg } from "../../engine/train/mod.ts";
import { type ResidualAxis, spaceAxis } from "./axis.ts";
import { residualLabels } from "./losses.ts";
import type { ConResNet, ConResNetParams } from "./conresnet.ts";

type PreparedItem = SampleCase & { readonly geometry?: CaseGeometry };
type Floats = Float32Array<ArrayBuffer>;

/** A network, and the parameters that it was trained to. */
export interface ConResFigureNetwork {
  readonly title: string;
  readonly model: Pick<ConResNet, "apply" | "contextMaps"> & {
    readonly config: Pick<ConResNet["config"], "mapping" | "attention">;
  };
  readonly params: ConResNetParams;
}

export interface ConResFigureOptions {
  readonly plan: Pick<Plan, "patch" | "channels">;
  /** Axis of the patch along which slices are compared. */
  readonly axis: ResidualAxis;
  /** What has residuals, the outermost first: names, and the label values of each. */
  readonly regions: readonly { readonly name: string; readonly values: readonly number[] }[];
  readonly cases: readonly PreparedItem[];
}

/**
 * The patch about the slice where labels differ most from the slice before, and about the middle of where they do
 * there; in the middle of a case in which they never differ.
 *
 * @param sets label values of each region
 * @returns its first voxel [z, y, x], below 0 along an axis that is shorter than the patch, and the slice, counted in
 *   the case
 */
export function residualPatch(
  { label, shape }: Pick<SampleCase, "label" | "shape">,
  options: { patch: Triple; axis: ResidualAxis; sets: readonly (readonly number[])[] },
): { start: [number, number, number]; slice: number } {
  const { patch, sets } = options;
  const axis = spaceAxis("residualPatch", options.axis);
  const strides = [shape[1] * shape[2], shape[2], 1];
  const placeOf = (i: number): number[] => strides.map((stride, k) => Math.floor(i / stride) % shape[k]);
  const differs = (a: number, b: number): boolean =>
    a !== b && sets.some((values) => values.includes(a) !== values.includes(b));
  const counts = new Array<number>(shape[axis]).fill(0);
  const sums = counts.map(() => [0, 0, 0]);
  for (let i = strides[axis]; i < label.length; i++) {
    if (!differs(label[i], label[i - strides[axis]])) continue;
    const place = placeOf(i);
    const slice = place[axis];
    if (slice === 0) continue;
    counts[slice]++;
    place.forEach((at, k) => (sums[slice][k] += at));
  }
  const most = Math.max(...counts);
  const slice = most > 0 ? counts.indexOf(most) : Math.floor(shape[axis] / 2);
  const center = shape.map((
    n,
    k,
  ) => (k === axis ? slice : most > 0 ? Math.round(sums[slice][k] / most) : Math.floor(n / 2)));
  const start = center.map((at, k) => {
    const [n, size] = [shape[k], patch[k]];
    return n < size ? -Math.floor((size - n) / 2) : Math.min(n - size, Math.max(0, at - Math.floor(size / 2)));
  });
  return { start: start as [number, number, number], slice };
}

/** A case's patch with what lies there. */
interface Place {
  readonly item: PreparedItem;
  /** In the patch. */
  readonly slice: number;
  readonly name: string;
  readonly channels: Floats;
  readonly label: Int32Array<ArrayBuffer>;
  /** The channel that is shown, as a volume in the patient. */
  readonly image: Volume;
  /** By region. */
  readonly masks: readonly Uint8Array[];
}

function placeOf(item: PreparedItem, { plan, axis, regions }: ConResFigureOptions): Place {
  const { patch } = plan;
  const along = spaceAxis("conresFigures", axis);
  const { start, slice } = residualPatch(item, { patch, axis, sets: regions.map(({ values }) => values) });
  const count = voxelCount(patch);
  const box = { start, size: patch };
  const channels = extractBox(item.image, item.shape, new Float32Array(item.channels * count), {
    channels: item.channels,
    ...box,
  });
  const label = extractBox(item.label, item.shape, new Int32Array(count), { channels: 1, ...box });
  const shown = channelOf(plan);
  const [d, h, w] = patch;
  // Where the patch begins does not matter to how slices hang.
  const { affine } = preparedVolume(item);
  return {
    item,
    channels,
    label,
    slice: slice - start[along],
    name: `${item.id}, slice ${slice + 1} of ${item.shape[along]}`,
    image: makeVolume(channels.slice(shown * count, (shown + 1) * count), { shape: [w, h, d], affine }),
    masks: regions.map(({ values }) => Uint8Array.from(label, (v) => Number(values.includes(v)))),
  };
}

/** FLAIR where there is one, as in the paper, else the first. */
const channelOf = ({ channels }: Pick<Plan, "channels">): number =>
  Math.max(0, channels.findIndex(({ name }) => /flair/i.test(name)));

/** What a network computes of a patch; all maps have its voxels. */
interface Maps {
  /** Probabilities, by region; none without mapping. */
  readonly residuals: readonly Floats[];
  /** The segmentation features of the finest scale, summed over channels, before the gate and after. */
  readonly before: Floats;
  readonly after: Floats;
  /** Mean over channels, the coarsest module first; none without attention. */
  readonly attention: readonly Floats[];
}

/** A function from patches to the maps of a network; `dispose` gives its memory back. */
function mapsBy({ model, params }: Omit<ConResFigureNetwork, "title">, patch: Triple) {
  const compute = compile((p: ConResNetParams, image: Tensor) => {
    const [, finest] = model.apply(p, image);
    const modules = model.contextMaps(p, image);
    const whole = (x: Tensor): Tensor =>
      resize(x.mean({ axes: [1], keepDims: true }), { size: patch, mode: "linear", alignCorners: true });
    return {
      residuals: model.config.mapping ? [sigmoid(finest)] : [],
      before: modules[0].features.sum({ axes: [1] }),
      after: modules[0].gated.sum({ axes: [1] }),
      attention: model.config.attention ? modules.map(({ attention }) => whole(attention!)).reverse() : [],
    };
  });
  const maps = async ({ channels, item }: Place): Promise<Maps> => {
    const made = await compute(params, tensor(channels, { shape: [1, item.channels, ...patch] }));
    const count = voxelCount(patch);
    const all = (x: Tensor): Promise<Floats> => x.data() as Promise<Floats>;
    const joined = await Promise.all(made.residuals.map(all));
    return {
      residuals: joined.flatMap((data) =>
        Array.from({ length: data.length / count }, (_, k) => data.slice(k * count, (k + 1) * count))
      ),
      before: await all(made.before),
      after: await all(made.after),
      attention: await Promise.all(made.attention.map(all)),
    };
  };
  return { maps, dispose: () => compute.dispose() };
}

/** Where labels differ from those of the slice before in the patch, by region. */
async function trueResiduals({ label }: Place, { plan, axis, regions }: ConResFigureOptions): Promise<Floats[]> {
  const labels = tensor(label, { shape: [1, ...plan.patch] });
  const targets = regionTargets(labels, regions.map(({ values }) => values)).cast("f32");
  const data = (await residualLabels(targets, { axis }).data()) as Floats;
  const count = voxelCount(plan.patch);
  return regions.map((_, k) => data.slice(k * count, (k + 1) * count));
}

/** Axis of volumes, whose first is x. */
const imageAxis = (axis: ResidualAxis): 0 | 1 | 2 => (2 - spaceAxis("conresFigures", axis)) as 0 | 1 | 2;

const OUTLINES = "Outlines are those of the reference.";

/**
 * The figures of one network: residuals as labeled and as predicted; attention with the features before and after, or,
 * of a network without attention, the features.
 *
 * @returns for writeFigure; none without cases
 * @throws VoxgradError when an operator refuses the patch
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { loadCase, openDataset, preprocessCase, readPlan } from "voxgrad/imaging";
 * import { conResNet, conresFigures } from "voxgrad/models";
 * import { RunFolder, writeFigure } from "voxgrad/train";
 *
 * const [plan, dataset] = [await readPlan("plan.json"), await openDataset("data/BraTS")];
 * const cases = [await preprocessCase(await loadCase(dataset, dataset.cases[0]), plan)];
 * const model = conResNet({ inputChannels: 4, classes: 3 });
 * const options = { plan, axis: "axial", regions: [{ name: "tumor", values: [1, 2, 3] }], cases } as const;
 * const figures = await conresFigures({ model, params: model.init(random.key(1)) }, options);
 * for (const figure of figures) await writeFigure(new RunFolder("runs/mine"), figure);
 * ```
 */
export async function conresFigures(
  network: Omit<ConResFigureNetwork, "title">,
  options: ConResFigureOptions,
): Promise<Figure[]> {
  const { plan, axis, regions, cases } = options;
  if (cases.length === 0) return [];
  const { mapping, attention } = network.model.config;
  const { maps, dispose } = mapsBy(network, plan.patch);
  const [differing, gated]: [TileRow[], TileRow[]] = [[], []];
  let modules = 0;
  for (const item of cases) {
    const place = placeOf(item, options);
    const { slice, name, image, masks } = place;
    const own = await maps(place);
    const row = { name, image, slice, outlines: masks };
    const gray = { values: image.data };
    const [before, after] = [{ values: own.before, scale: "heat" as const }, {
      values: own.after,
      scale: "heat" as const,
    }];
    modules = own.attention.length;
    const seen = own.attention.map((values) => ({ values, range: [0, 1] as const, scale: "heat" as const }));
    gated.push({ ...row, tiles: attention ? [gray, before, ...seen, after] : [gray, after] });
    if (!mapping) continue;
    const truth = await trueResiduals(place, options);
    differing.push({
      ...row,
      tiles: [{ ...gray, slice: Math.max(0, slice - 1) }, gray, { classes: truth }, { classes: own.residuals }],
    });
  }
  dispose();
  const shared = { axis: imageAxis(axis), classes: regions.map((region) => region.name) };
  const channel = plan.channels[channelOf(plan)].name;
  const figures: Figure[] = [];
  if (mapping) {
    figures.push({
      name: "residuals",
      title: "Context residuals",
      caption: `A slice of ${channel} and the one before, where the labels of the two differ, and where the second ` +
        `decoder says that they do (its probability is how bright the color is). ${OUTLINES}`,
      svg: tilesSvg(differing, {
        columns: [`${channel}, slice before`, channel, "labels differ", "predicted"],
        ...shared,
      }),
    });
  }
  const scales = Array.from(
    { length: modules },
    (_, k) => `attention, 1/${2 ** (modules - 1 - k)}`.replace(", 1/1", ", full size"),
  );
  figures.push(
    attention
      ? {
        name: "attention",
        title: "Attention of the context residual modules",
        caption:
          "Segmentation features of the last module, summed over the channels, before and after its gate (each in " +
          "a scale " +
          "of its own, from the half to the 99.5th percentile); between them the attention of each module, the " +
          `coarsest first, its mean over the channels, from 0 to 1. ${OUTLINES}`,
        svg: tilesSvg(gated, { columns: [channel, "features before", ...scales, "features after"], ...shared }),
      }
      : {
        name: "features",
        title: "Features of the decoder",
        caption:
          "Segmentation features at full size, summed over the channels, from the half to the 99.5th percentile. " +
          `${OUTLINES}`,
        svg: tilesSvg(gated, { columns: [channel, "features"], ...shared }),
      },
  );
  return figures;
}

/**
 * Features of several networks on the same patches, beside each other (the paper's Fig. 7).
 *
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { loadCase, openDataset, preprocessCase, readPlan } from "voxgrad/imaging";
 * import { conResNet, conresFeatures } from "voxgrad/models";
 *
 * const [plan, dataset] = [await readPlan("plan.json"), await openDataset("data/BraTS")];
 * const cases = [await preprocessCase(await loadCase(dataset, dataset.cases[0]), plan)];
 * const options = { plan, axis: "axial", regions: [{ name: "tumor", values: [1, 2, 3] }], cases } as const;
 * const networks = [true, false].map((mapping) => {
 *   const model = conResNet({ inputChannels: 4, classes: 3, mapping });
 *   return { title: mapping ? "ConResNet" : "Baseline", model, params: model.init(random.key(1)) };
 * });
 * const figure = await conresFeatures(networks, options);
 * ```
 */
export async function conresFeatures(
  networks: readonly ConResFigureNetwork[],
  options: ConResFigureOptions,
): Promise<Figure> {
  const { plan, axis, regions, cases } = options;
  const places = cases.map((item) => placeOf(item, options));
  const tiles = places.map(({ image }): TileRow["tiles"][number][] => [{ values: image.data }]);
  for (const network of networks) {
    const { maps, dispose } = mapsBy(network, plan.patch);
    for (const [k, place] of places.entries()) tiles[k].push({ values: (await maps(place)).after, scale: "heat" });
    dispose();
  }
  const channel = plan.channels[channelOf(plan)].name;
  const rows = places.map(({ name, image, slice, masks }, k): TileRow => ({
    name,
    image,
    slice,
    outlines: masks,
    tiles: tiles[k],
  }));
  return {
    name: "features",
    title: "Features of the decoders",
    caption:
      "What the segmentation heads of the networks see: features at full size, summed over the channels, each in " +
      `a scale of its own, from the half to the 99.5th percentile. ${OUTLINES}`,
    svg: tilesSvg(rows, {
      columns: [channel, ...networks.map(({ title }) => title)],
      axis: imageAxis(axis),
      classes: regions.map(({ name }) => name),
    }),
  };
}
