/** Digests of a run's inputs, and the check that they are unchanged when the run is resumed. */
import { platform } from "#platform";
import { isPlain, listed, show, VoxgradError } from "../../core/errors.ts";
import { VERSION } from "../../core/version.ts";
import type { Dataset } from "../../imaging/dataset/types.ts";
import type { Plan } from "../../imaging/plan/plan.ts";
import type { Fold } from "../../imaging/dataset/split.ts";
import { ConfigError } from "./config.ts";
import { print } from "./logging.ts";
import { contentDigest, isWithin, valueDigest } from "./provenance.ts";
import type { RunFolder } from "./run_folder.ts";

/** The file with the settings of a run. */
export const CONFIG = "config.json";

/** Options that name files or folders: their content counts, not their name. */
const FILES = ["weights", "contextLabels"] as const;
/** Options that do not affect the result, or whose content has its own digest. */
const APART: readonly string[] = [
  ...FILES,
  "data",
  "plan",
  "splits",
  "run",
  "resume",
  "overwrite",
  "steps",
  "epochs",
  "checkpoint",
  "until",
  "ranks",
  "rank",
  "at",
  "rankDevices",
  "cache",
  "memory",
  "workers",
];

/** Digests of a run's inputs, stored in config.json. */
export interface RunIdentity {
  readonly options: string;
  readonly plan: string;
  readonly splits: string;
  /** Digests of the files that options name. */
  readonly files: Readonly<Record<string, string>>;
  /** Digests of image and label of each case. */
  readonly cases: Readonly<Record<string, string>>;
}

const textOf = (options: object, key: string): string => {
  const value = (options as Record<string, unknown>)[key];
  return typeof value === "string" ? value : "";
};

export async function identityOf(
  made: { options: object; plan: Plan; splits: readonly Fold[]; contents: ReadonlyMap<string, string> },
): Promise<RunIdentity> {
  const { options, plan, splits, contents } = made;
  const files: Record<string, string> = {};
  for (const key of FILES) {
    const path = textOf(options, key);
    if (path !== "") files[key] = await contentDigest(path);
  }
  return {
    options: await valueDigest(Object.fromEntries(Object.entries(options).filter(([key]) => !APART.includes(key)))),
    plan: await valueDigest(plan),
    splits: await valueDigest(splits),
    files,
    cases: Object.fromEntries([...contents].sort(([a], [b]) => (a < b ? -1 : 1))),
  };
}

/** The identity stored in the checkpoints of one fold. */
export async function foldIdentity(
  { options, plan, files, cases }: RunIdentity,
  split: Fold,
): Promise<Record<string, string>> {
  const data = [...split.train, ...split.val].map((id) => [id, cases[id]]);
  return {
    options: await valueDigest([options, files]),
    plan,
    split: await valueDigest(split),
    data: await valueDigest(data),
  };
}

/**
 * Throws if the inputs of a resumed run have changed.
 *
 * @param known the content of its config.json
 * @throws VoxgradError naming what has changed
 */
export function checkIdentity(known: unknown, now: RunIdentity, path: string): void {
  const { identity, voxgrad: version } = isPlain(known) ? known : {};
  if (identity === undefined) {
    print(
      `${path}/${CONFIG}: it has no digests of what the run was made from, as voxgrad before 0.2 wrote none; ` +
        "whether that has changed since is not known",
    );
    return;
  }
  const then = identity as RunIdentity;
  if (!isPlain(identity) || !isPlain(then.files) || !isPlain(then.cases)) {
    throw new VoxgradError(
      `${path}/${CONFIG}: its identity is ${
        show(identity)
      }, wanted the digests that the run began with; put back what it was, or start another run`,
    );
  }
  if (version !== VERSION) print(`${path}: it was begun by voxgrad ${show(version)}, and goes on with ${VERSION}`);
  const refuse = (what: string): never => {
    throw new VoxgradError(`${path}: ${what} since the run began; put back what was there, or start another run`);
  };
  const differing = (a: Readonly<Record<string, string>>, b: Readonly<Record<string, string>>): string[] =>
    [...new Set([...Object.keys(a), ...Object.keys(b)])].filter((key) => a[key] !== b[key]);
  const cases = differing(then.cases, now.cases);
  if (cases.length > 0) refuse(`image or label of ${listed(cases)} changed`);
  for (const key of differing(then.files, now.files)) refuse(`what --${key} names changed`);
  for (const part of ["plan", "splits"] as const) if (then[part] !== now[part]) refuse(`${part}.json changed`);
  // Other versions may have other options.
  if (then.options !== now.options && version === VERSION) refuse(`the options in ${CONFIG} changed`);
}

/**
 * Rejects a run folder that contains inputs, because it is cleared first, and one that is the dataset.
 *
 * @throws ConfigError
 */
export async function checkApart(options: { readonly run: string; readonly overwrite: boolean }): Promise<void> {
  const here = await platform.realPath(options.run);
  for (const key of ["data", "plan", "splits", ...FILES]) {
    const path = textOf(options, key);
    if (path === "") continue;
    const same = (await platform.realPath(path)) === here;
    if (!same && !(options.overwrite && (await isWithin(path, options.run)))) continue;
    throw new ConfigError(
      `--run ${options.run}: --${key} ${path} lies there, and the run would write over it; name another folder`,
    );
  }
}

/**
 * Rejects a run folder that contains files of the dataset.
 *
 * @throws ConfigError
 */
export async function checkOutput(run: RunFolder, dataset: Dataset): Promise<void> {
  const here = await platform.realPath(run.path);
  const files = dataset.cases.flatMap(({ images, label }) => [...images, ...(label === undefined ? [] : [label])]);
  const folders = new Set(files.map((path) => path.slice(0, Math.max(0, path.lastIndexOf("/"))) || "."));
  for (const folder of folders) {
    if ((await platform.realPath(folder)) !== here) continue;
    throw new ConfigError(`--run ${run.path}: files of the dataset lie there; name another folder`);
  }
}
