/** From one command line to many jobs: folds, seeds, scans, and a grid of options. */
import { platform } from "#platform";
import { isPlain } from "../../core/errors.ts";
import { openDataset } from "../../imaging/dataset/dataset.ts";
import type { DatasetCase } from "../../imaging/dataset/types.ts";
import { ConfigError, type ConfigValue } from "../run/config.ts";
import { readJson } from "../run/run_folder.ts";
import { type Job, type JobNeeds, makeJob, type ScriptOptions, scriptOptions } from "./job.ts";

export interface Submission {
  readonly script: string;
  /** The words of the script's command line. */
  readonly words: readonly string[];
  /** First and last seed, or undefined. */
  readonly seeds?: readonly [number, number] | undefined;
  /** JSON file of lists of values by option; each combination is a job. */
  readonly grid?: string;
  readonly needs: JobNeeds;
  /** The scans of an input of predict. */
  readonly scans: (run: string, input: string) => Promise<readonly DatasetCase[]>;
}

/** One combination of options: those that differ from the command line, and what sets it apart. */
interface Variant {
  readonly options: Readonly<Record<string, ConfigValue>>;
  readonly name: string;
}

/**
 * The jobs of a submission: one for each fold with `--fold each`, each seed, each scan of predict, and each combination
 * of the grid.
 *
 * @throws ConfigError for what the script refuses
 */
export async function jobsOf(submission: Submission): Promise<Job[]> {
  const { script, words, seeds, grid = "", needs } = submission;
  let variants: Variant[] = [{ options: {}, name: "" }];
  /** Each variant with each value of an option. */
  const times = (key: string, values: readonly ConfigValue[], names: readonly unknown[] = values): void => {
    variants = variants.flatMap((each) =>
      values.map((value, k) => ({
        options: { ...each.options, [key]: value },
        name: `${each.name} ${key} ${names[k]}`,
      }))
    );
  };
  const base = await scriptOptions(script, words);
  if (grid !== "") {
    for (const [key, texts] of Object.entries(await readGrid(grid))) {
      // The script itself checks each value, once.
      const values: ConfigValue[] = [];
      for (const text of texts) {
        const { options } = await scriptOptions(script, [...without(words, key), `--${key}=${text}`]);
        values.push(options[key]);
      }
      times(key, values, texts);
    }
  }
  if (seeds) {
    const key = "seed" in base.options ? "seed" : "firstSeed" in base.options ? "firstSeed" : undefined;
    if (key === undefined) throw new ConfigError(`--seeds: ${script} has no seed`);
    times(key, Array.from({ length: seeds[1] - seeds[0] + 1 }, (_, k) => seeds[0] + k));
    if (key === "firstSeed") variants = variants.map((each) => ({ ...each, options: { ...each.options, seeds: 1 } }));
  }
  if (base.options.fold === "each") {
    const count = await foldCount(base.options);
    times("fold", Array.from({ length: count }, (_, k) => String(k)));
  }
  const jobs: Job[] = [];
  const title = script.replace(/^.*\/|\.\w+$/g, "");
  for (const { options, name } of variants) {
    const own: ScriptOptions = {
      options: { ...base.options, ...options },
      given: [...new Set([...base.given, ...Object.keys(options)])],
    };
    const about = { needs, name: `${title}${name}` };
    if (script === "predict") jobs.push(...await scanJobs(submission, own, about));
    else jobs.push(await makeJob(script, own, about));
  }
  return [...new Map(jobs.map((job) => [job.id, job])).values()];
}

/** A job for each scan. */
async function scanJobs(
  { scans }: Submission,
  { options, given }: ScriptOptions,
  { name, needs }: { name: string; needs: JobNeeds },
): Promise<Job[]> {
  const [run, input, output] = ["run", "input", "output"].map((key) => String(options[key]));
  for (const [key, value] of Object.entries({ run, input, output })) {
    if (value === "") throw new ConfigError(`--${key} is missing: submit predict RUN SCANS OUT`);
  }
  const to = await platform.realPath(output);
  const jobs: Job[] = [];
  for (const { id, images } of await scans(run, input)) {
    const own = { options: { ...options, input: images.find(Boolean)! }, given };
    jobs.push(await makeJob("predict", own, { needs, name: `${name} ${id}`, to }, `${to}/${id}`));
  }
  return jobs;
}

/** How many folds `--fold each` of a training has. */
async function foldCount(options: Readonly<Record<string, ConfigValue>>): Promise<number> {
  const { splits = "", data = "", folds = 5, phantoms = 0 } = options;
  if (splits !== "") {
    const list = await readJson(String(splits));
    if (!Array.isArray(list)) throw new ConfigError(`${splits}: it holds no list of splits`);
    return list.length;
  }
  const { length } = data === ""
    ? { length: Number(phantoms) }
    : (await openDataset(String(data))).cases.filter(({ label }) => label !== undefined);
  return Math.min(Number(folds), length);
}

/** Words without an option and its value. */
const without = (words: readonly string[], key: string): string[] =>
  words.filter((word, k) => word !== `--${key}` && words[k - 1] !== `--${key}` && !word.startsWith(`--${key}=`));

async function readGrid(file: string): Promise<Record<string, readonly (string | number)[]>> {
  const grid = await readJson(file);
  const fits = isPlain(grid) &&
    Object.values(grid).every((list) =>
      Array.isArray(list) && list.length > 0 && list.every((each) => ["string", "number"].includes(typeof each))
    );
  if (fits) return grid as Record<string, (string | number)[]>;
  throw new ConfigError(`${file}: it is no grid; write lists of values by option: { "rate": [0.001, 0.003] }`);
}

/** "1..3" as first and last number; undefined for other words. */
export function seedRange(text: string): [number, number] | undefined {
  const [, first, last] = /^(\d+)\.\.(\d+)$/.exec(text) ?? [];
  if (first === undefined) return undefined;
  if (Number(last) < Number(first)) throw new ConfigError(`--seeds ${text}: the last comes before the first`);
  return [Number(first), Number(last)];
}
