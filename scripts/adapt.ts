// Trains a model further on a few corrected scans, so that it learns scans of another look: another scanner, sequence
// or hospital. Plan and preparation stay the model's; what is written opens as any other run. Held-out cases, and scans
// without labels, are segmented before the first step and again and again while it learns.
// `npx voxgrad adapt runs/mine corrected --watch next_scan.nii.gz --run runs/adapted`
import { type DatasetCase, loadCase, type Volume } from "../engine/imaging/mod.ts";
import { compareLabels, type Comparison, type Plan } from "../engine/imaging/mod.ts";
import {
  choice,
  type Config,
  ConfigError,
  entry,
  findImages,
  type OverlayCase,
  overlaySvg,
  print,
  runTraining,
  segmenter,
  splitList,
  trainingEntries,
  type TrainingRun,
  withDefaults,
} from "../engine/train/mod.ts";
import { openForTraining, type TrainableModel } from "../models/mod.ts";
import { trainUnet, unetEntries } from "./train_unet.ts";

/** The config block. */
export const adaptEntries = {
  model: entry(
    "",
    "the model: run folder, model.safetensors, NAME.onnx, model.json, or nnU-Net's folder, zip or checkpoint",
    { positional: true },
  ),
  data: entry("", "folder of corrected scans and their labels, as `voxgrad check` knows them", { positional: true }),
  held: entry("", "names of cases in it that are not trained on, with commas: they are measured while it learns"),
  watch: entry("", "a scan without labels, or a folder of them, to be seen while it learns"),
  steps: entry(60, "optimizer steps", { integer: true, min: 1 }),
  look: entry(20, "steps after which held-out cases and watched scans are segmented", { integer: true, min: 1 }),
  rate: entry(1e-3, "learning rate at the start; it falls to 0", { min: 0 }),
  augment: choice(["nnunet", "scale", "mirror", "none"], "nnU-Net's whole chain, or parts of it"),
  flips: choice(
    ["none", "xyz", "xy", "xz", "yz", "x", "y", "z"],
    "axes along which patches are mirrored at random; only where left and right are one label",
  ),
  batch: entry(0, "patches a step; 0: as planned", { integer: true, min: 0 }),
  plan: entry("", "plan.json, for models of ONNX and TensorFlow.js that voxgrad did not export"),
  configuration: entry("", "which of several in a folder or zip of nnU-Net, such as 3d_fullres"),
  seed: trainingEntries.seed,
  run: trainingEntries.run,
  resume: entry("", "folder of an adaptation to go on with, after a stop or with more --steps"),
  overwrite: trainingEntries.overwrite,
  checkpoint: entry(0.5, "minutes from one checkpoint to the next", { min: 0 }),
  cache: trainingEntries.cache,
  memory: trainingEntries.memory,
  workers: trainingEntries.workers,
} as const;

/** What a scan that is looked at shows by now. */
export interface Look {
  readonly id: string;
  /** Steps taken by now, of `steps`. */
  readonly step: number;
  readonly steps: number;
  readonly image: Volume;
  readonly labels: Volume;
  /** What the model found before it was adapted. */
  readonly before: Volume;
  /** Of held-out cases: their label, and the Dice of each class by its name. */
  readonly reference?: Volume;
  readonly dice?: Readonly<Record<string, number>>;
}

/** What a call from code adds to the options. */
export interface AdaptCall {
  /** Stops it after the step under way, with a checkpoint; the same call then goes on. */
  readonly signal?: AbortSignal;
  /** Called with every scan that is looked at, before the first step and after each `look` steps. */
  readonly onLook?: (look: Look) => unknown;
}

/**
 * Adapts a model; a folder `run` with a config.json is gone on with.
 *
 * @returns measures of the held-out cases
 */
export async function adapt(options: Config<typeof adaptEntries>, call: AdaptCall = {}): Promise<Comparison> {
  for (const key of ["model", "data"] as const) {
    if (options[key] === "") throw new ConfigError(`--${key} is missing; --help lists what is wanted`);
  }
  const { plan, configuration } = options;
  const start = await openForTraining(options.model, {
    ...(plan !== "" && { plan }),
    ...(configuration !== "" && { configuration }),
  });
  const { model: _, held, watch: __, look, plan: ___, configuration: ____, ...own } = options;
  const heldOut = splitList(held);
  const training = withDefaults(unetEntries, {
    ...own,
    fold: heldOut.length > 0 ? "0" : "all",
    validation: 0,
    epoch: look,
  });
  let views: Promise<readonly View[]> | undefined;
  let run: TrainingRun;
  return trainUnet(training, {
    start,
    heldOut,
    // Of few cases none is to be learned.
    rule: false,
    kept: options,
    ...(call.signal && { signal: call.signal }),
    opened: (opened) => void (run = opened),
    watch: async (step, segment) => {
      views ??= viewsOf(options, run, start).catch((error: unknown) => {
        // It is asked again, on another device, where one was lost.
        views = undefined;
        throw error;
      });
      await lookAt(await views, step, segment, run, call.onLook);
    },
  });
}

/** A scan that is looked at. */
type View = Pick<Look, "id" | "image" | "before" | "reference">;

/** Held-out cases and watched scans, with what the model finds in them as it came. */
async function viewsOf(
  { held, watch }: Pick<Config<typeof adaptEntries>, "held" | "watch">,
  { dataset }: TrainingRun,
  { network, params, description: { plan } }: TrainableModel,
): Promise<readonly View[]> {
  const cases: readonly DatasetCase[] = [
    ...splitList(held).map((id) => dataset.cases.find((item) => item.id === id)!),
    ...(watch === "" ? [] : await findImages(watch, dataset.channels)),
  ];
  const segment = segmenter(network, params, { plan });
  const views: View[] = [];
  for (const item of cases) {
    const { image, label } = await loadCase(dataset, item);
    views.push({ id: item.id, image, before: await segment(image), ...(label && { reference: label }) });
  }
  return views;
}

/** Segments the scans, says how well, and draws them as they were and as they are. */
async function lookAt(
  views: readonly View[],
  step: number,
  segment: (image: Volume) => Promise<Volume>,
  { run, plan, steps }: TrainingRun,
  onLook: AdaptCall["onLook"],
): Promise<void> {
  if (views.length === 0) return;
  const shown: OverlayCase[] = [];
  for (const view of views) {
    const { id, image, before, reference } = view;
    // Who stops it waits for the checkpoint alone.
    if (run.signal?.aborted) return;
    const labels = step === 0 ? before : await segment(image);
    const dice = reference && diceOf(labels, reference, plan);
    const values = Object.entries(dice ?? {}).map(([name, value]) => `${name} ${value.toFixed(2)}`);
    print(`${id} ${step === 0 ? "before" : `after ${step} steps`}${dice ? `: Dice ${values.join(", ")}` : ""}`);
    const common = { image, ...(reference && { reference: reference.data as Uint8Array }) };
    shown.push({ ...common, name: `${id} before`, prediction: before.data as Uint8Array });
    if (step > 0) shown.push({ ...common, name: `${id} after ${step} steps`, prediction: labels.data as Uint8Array });
    await onLook?.({ ...view, step, steps, labels, ...(dice && { dice }) });
  }
  const svg = overlaySvg(shown, { labels: plan.labels, ...(plan.regions && { regions: plan.regions }) });
  await run.write("watched.svg", svg);
}

function diceOf(labels: Volume, reference: Volume, plan: Plan): Record<string, number> {
  const classes = plan.regions ?? plan.labels.slice(1).map((name, k) => ({ name, values: [k + 1] }));
  const measured = compareLabels(labels, reference, { classes, ignore: plan.ignoreLabel });
  return Object.fromEntries(measured.map(({ name, dice }) => [name, dice]));
}

await runTraining(import.meta.url, adaptEntries, (options) => adapt(options));
