/** Training a U-Net on a dataset that the visitor chose, by the options of the script. */
import { checkDataset, type Finding, loadCase, openDataset, type Volume } from "../../../engine/imaging/mod.ts";
import { mountFiles, VoxgradError } from "../../../engine/mod.ts";
import { resumableConfig, trainingChanges, type TrainingRun, withDefaults } from "../../../engine/train/mod.ts";
import { zipSync } from "fflate";
import { trainUnet, unetEntries } from "../../train_unet.ts";
import type { Work } from "../protocol.ts";
import { toShown } from "./kept.ts";
import { type LabelName, named } from "./models.ts";
import { described, type ScanView } from "./scans.ts";
import { type Folder, store } from "./store.ts";
import { type RunState, runState, told, type TrainingEvent } from "./training.ts";

/** An option of the script, for a form. */
export interface Option {
  readonly key: string;
  readonly about: string;
  readonly value: string | number | boolean | readonly number[];
  readonly oneOf?: readonly string[];
  readonly integer?: boolean;
  readonly min?: number;
  readonly max?: number;
}

/** Options that a page decides itself, or that name files of a disk. */
const NOT_HERE = [
  "data",
  "plan",
  "configuration",
  "splits",
  "run",
  "resume",
  "overwrite",
  "cache",
  "weights",
  "workers",
  "until",
  "ranks",
  "rank",
  "at",
  "rankDevices",
  "exchange",
];

/** The options of train_unet, by its own descriptions. */
export async function options(): Promise<readonly Option[]> {
  return Object.entries(unetEntries).filter(([key]) => !NOT_HERE.includes(key)).map(
    ([key, { about, value, rules }]) => {
      const { oneOf, integer, min, max } = rules;
      return {
        key,
        about,
        value,
        ...(oneOf && { oneOf }),
        ...(integer && { integer }),
        ...(min !== undefined && { min }),
        ...(max !== undefined && { max }),
      };
    },
  );
}

/** A dataset as the page knows it. */
export interface DatasetView {
  readonly name: string;
  readonly cases: number;
  readonly labels: readonly string[];
  readonly findings: readonly Pick<Finding, "severity" | "file" | "problem" | "fix">[];
}

/** Looks at every file of a dataset. */
export async function check(
  { files }: { files: readonly { readonly file: File; readonly path: string }[] },
  work: Work<TrainingEvent>,
): Promise<DatasetView> {
  const list = files.map(({ file, path }) => ({
    name: file.name,
    webkitRelativePath: path,
    arrayBuffer: () => file.arrayBuffer(),
  }));
  const data = mountFiles(list, "dataset");
  const findings = await told(work, () => checkDataset(data));
  const name = files[0].path.split("/")[0];
  const shown = findings.map(({ severity, file, problem, fix }) => ({ severity, file, problem, fix }));
  if (findings.some(({ severity }) => severity === "error")) return { name, cases: 0, labels: [], findings: shown };
  const dataset = await openDataset(data);
  return {
    name,
    cases: dataset.cases.length,
    labels: dataset.labels.slice(1).map(({ name }) => name),
    findings: shown,
  };
}

/** The last training, and the name of its dataset; "" of synthetic scans. */
export interface TrainState {
  readonly run?: RunState & { readonly data: string };
}

const home = async (): Promise<Folder> => (await store()).within("train");

export async function state(): Promise<TrainState> {
  const folder = await home();
  const run = await runState(folder);
  type Stored = { options?: { data: string }; dataset?: { name: string } };
  const { options, dataset } = await folder.json<Stored>("run/config.json", {});
  return run ? { run: { ...run, data: options?.data ? dataset?.name ?? "" : "" } } : {};
}

/** A held-out case, which is looked at meanwhile. */
export interface SceneEvent {
  readonly kind: "scene";
  readonly id: string;
  readonly scan: ScanView;
  readonly labels: readonly LabelName[];
  readonly reference: Uint8Array<ArrayBuffer>;
}

/** Trains on the dataset that was checked last, or without `dataset` on synthetic scans. */
export async function train(
  { values, dataset }: { values: Readonly<Record<string, Option["value"]>>; dataset: boolean },
  work: Work<TrainingEvent | SceneEvent>,
): Promise<TrainState> {
  const { path } = await home();
  const own = { run: `${path}/run`, cache: `${path}/prepared`, overwrite: true, workers: 0 };
  return run(withDefaults(unetEntries, { ...values, ...own, data: dataset ? "mounted:dataset" : "" }), work);
}

/** Goes on with what a stop or a reload ended; a dataset of the visitor's disk must be chosen again before. */
export async function resume(
  { steps }: { steps?: number },
  work: Work<TrainingEvent | SceneEvent>,
): Promise<TrainState> {
  const { path } = await home();
  const more = steps === undefined ? [] : ["--steps", String(steps)];
  return run(
    await resumableConfig(unetEntries, { change: trainingChanges }, ["--resume", `${path}/run`, ...more]),
    work,
  );
}

async function run(
  values: Parameters<typeof trainUnet>[0],
  work: Work<TrainingEvent | SceneEvent>,
): Promise<TrainState> {
  let training: TrainingRun;
  let image: Volume | undefined;
  const first = (): string | undefined => training.folds[0].split.val[0];
  const comparison = await told(work, () =>
    trainUnet(values, {
      signal: work.signal,
      opened: (opened) => void (training = opened),
      watch: async (step, segment) => {
        const id = first();
        if (id === undefined || work.signal.aborted) return;
        if (!image) {
          const { dataset, plan } = training;
          const found = await loadCase(dataset, dataset.cases.find((item) => item.id === id)!);
          image = found.image;
          const labels = named(plan.labels.map((name, value) => ({ name, value })));
          const scan = described({ ...image, name: id });
          work.tell({ kind: "scene", id, scan, labels, reference: toShown(found.label!) });
        }
        work.tell({ kind: "look", id, step, steps: training.steps, labels: toShown(await segment(image)) });
      },
    }));
  const { headings, rows } = comparison.tableRows();
  await (await home()).write("measures.json", JSON.stringify({ headings, rows: rows.map((row) => row.map(String)) }));
  return state();
}

/** Measures of the held-out cases, by class. */
export async function measures(): Promise<{ headings: readonly string[]; rows: readonly (readonly string[])[] }> {
  return (await home()).json("measures.json", { headings: [], rows: [] });
}

/** The report of the training as an HTML page. */
export async function report(): Promise<{ bytes: Uint8Array<ArrayBuffer> }> {
  return { bytes: await existing(await home(), "run/report.html") };
}

/** Everything that the training wrote, but its checkpoint, as one file. */
export async function zip(): Promise<{ name: string; bytes: Uint8Array<ArrayBuffer> }> {
  const files = await (await home()).all("run");
  const kept = [...files].filter(([path]) => !/checkpoint|\.lock|^phantom\//.test(path));
  if (kept.length === 0) throw new VoxgradError("nothing was trained yet");
  const bytes = zipSync(Object.fromEntries(kept), { level: 6 }) as Uint8Array<ArrayBuffer>;
  return { name: "training.zip", bytes };
}

async function existing(folder: Folder, name: string): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = await folder.read(name);
  if (!bytes) throw new VoxgradError("the training has not ended; continue it first");
  return bytes as Uint8Array<ArrayBuffer>;
}
