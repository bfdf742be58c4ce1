/** A job: one call of a script, named by the digest of all that its results depend on. */
import { platform } from "#platform";
import { sha256 } from "../../core/digest.ts";
import { show, VoxgradError } from "../../core/errors.ts";
import { VERSION } from "../../core/version.ts";
import { openDataset } from "../../imaging/dataset/dataset.ts";
import { fileDigests } from "../predict/predictions.ts";
import { ConfigError, type ConfigValue } from "../run/config.ts";
import { valueDigest } from "../run/provenance.ts";
import { commandOf } from "../run/script.ts";

/** A file or folder that a job reads. */
export interface JobInput {
  /** Where it was when the job was submitted, an absolute path. */
  readonly path: string;
  readonly digest: string;
  /** Where workers share no folder: its files, by their paths in it ("" for a file), as SHA-256 in the object store. */
  readonly files?: Readonly<Record<string, string>> | undefined;
}

/** What a job asks of the worker that takes it. */
export interface JobNeeds {
  /** Part of the name of the device, as for VOXGRAD_ADAPTER. */
  readonly device?: string;
  /** Memory of the machine, in GiB. */
  readonly memory?: number;
}

export interface Job {
  /** 16 hexadecimal digits of the digest of what it computes from. */
  readonly id: string;
  /** For people: what sets it apart. */
  readonly name: string;
  readonly script: string;
  /** The options that were given, by key; those that name inputs are left out. */
  readonly given: Readonly<Record<string, ConfigValue>>;
  readonly inputs: Readonly<Record<string, JobInput>>;
  /** The option that names the folder of its results. */
  readonly output: "run" | "output";
  /** Whether the script goes on with what it began, by --resume. */
  readonly resumes: boolean;
  readonly needs: JobNeeds;
  /** Whether inputs and results go through the object store. */
  readonly stored?: boolean;
  /** Folder that its results are copied to. */
  readonly to?: string;
}

export interface JobState {
  readonly job: Job;
  readonly state: "waiting" | "running" | "done" | "failed" | "cancelled";
  /** How often a worker began it. */
  readonly attempts: number;
  /** Milliseconds since 1970: when it was submitted, last begun, and last heard of. */
  readonly submitted: number;
  readonly started?: number;
  readonly updated?: number;
  readonly worker?: string;
  readonly progress?: { readonly done: number; readonly total: number; readonly text: string };
  readonly error?: string;
  /** SHA-256 of the results by name. */
  readonly results?: Readonly<Record<string, string>>;
  /** Files of a run that another worker goes on with, as SHA-256 in the object store. */
  readonly partial?: Readonly<Record<string, string>>;
  /** Its last lines, where workers share no folder. */
  readonly lines?: readonly string[];
}

/**
 * A state that came from elsewhere, if it is one of this job: its id names folders.
 *
 * @throws VoxgradError
 */
export function checkedState(state: JobState, id: string): JobState {
  const own: unknown = state?.job?.id;
  if (own === id && /^[0-9a-f]{16}$/.test(id)) return state;
  throw new VoxgradError(
    `job ${show(id)}: its record is of ${show(own)}; ids are 16 hexadecimal digits. Delete the record from the queue`,
  );
}

/** Options on which no result depends, or whose content has a digest of its own. */
const APART = [
  "run",
  "resume",
  "overwrite",
  "output",
  "checkpoint",
  "until",
  "cache",
  "memory",
  "workers",
  "ranks",
  "rank",
  "at",
  "rankDevices",
];

/** All files below a folder, by their paths in it. */
export async function filesBelow(folder: string, within = ""): Promise<string[]> {
  const found: string[] = [];
  for (const name of await platform.listFiles(within === "" ? folder : `${folder}/${within}`)) {
    if (name.startsWith(".")) continue;
    const path = within === "" ? name : `${within}/${name}`;
    const isFolder = await platform.listFiles(`${folder}/${path}`).then(() => true, () => false);
    if (isFolder) found.push(...await filesBelow(folder, path));
    else found.push(path);
  }
  return found;
}

/** SHA-256 of the files of a path by their paths in it; of a file by "". */
export async function digestsOf(path: string): Promise<Record<string, string>> {
  const names = await filesBelow(path).catch(() => [""]);
  const digests: Record<string, string> = {};
  for (const name of names) digests[name] = await sha256(await platform.readFile(name ? `${path}/${name}` : path));
  return digests;
}

/** The digest of an input; of a dataset that of its cases, wherever they lie. */
export async function inputDigest(key: string, path: string): Promise<string> {
  if (key !== "data") return valueDigest(await digestsOf(path));
  const { cases, labels, channels } = await openDataset(path);
  const contents: unknown[] = [];
  for (const { id, images, label, set, labelsPresent } of cases) {
    const files = Object.values(await fileDigests([...images, ...(label === undefined ? [] : [label])]));
    contents.push([id, files, set, labelsPresent]);
  }
  return valueDigest({ labels, channels, contents });
}

/** Options of a script as `--print-config` gives them. */
export interface ScriptOptions {
  readonly options: Readonly<Record<string, ConfigValue>>;
  /** Keys that were given. */
  readonly given: readonly string[];
}

/**
 * The options of a command line of a script, checked by the script itself.
 *
 * @throws ConfigError with what the script says
 */
export async function scriptOptions(script: string, words: readonly string[]): Promise<ScriptOptions> {
  const lines: string[] = [];
  const command = platform.startCommand?.([...commandOf(script), ...words, "--print-config"], {
    onLine: (line) => lines.push(line),
  });
  if (!command) throw new ConfigError("A page submits no jobs; submit them by the command voxgrad submit");
  const { code } = await command.ended;
  const said = lines.join("\n");
  if (code !== 0) throw new ConfigError(said.replace(/^ConfigError: /, ""));
  try {
    return JSON.parse(said);
  } catch {
    throw new ConfigError(
      `${script}: it answers --print-config with "${said.slice(0, 200)}"; it reads no config block`,
    );
  }
}

/** Digests of inputs that were read once. */
const known = new Map<string, Promise<string>>();

/**
 * Makes a job of a script and its options.
 *
 * @param file where its results are copied to under a name: equal scans have a job each
 * @throws ConfigError for a script whose results have no folder
 */
export async function makeJob(
  script: string,
  { options, given }: ScriptOptions,
  more: { readonly name: string; readonly needs: JobNeeds; readonly to?: string },
  file?: string,
): Promise<Job> {
  const output = "output" in options ? "output" : "run" in options ? "run" : undefined;
  if (output === undefined) {
    throw new ConfigError(
      `${script}: its results have no folder of their own; submit trainings, experiments or predict`,
    );
  }
  const kept: Record<string, ConfigValue> = {};
  const inputs: Record<string, JobInput> = {};
  for (const [key, value] of Object.entries(options)) {
    if (key === output || !given.includes(key)) continue;
    if (APART.includes(key) && !(key === "run" && output === "output")) {
      if (key === "resume" || key === "overwrite") {
        throw new ConfigError(`--${key} has no effect: each job has its folder`);
      }
      kept[key] = value;
      continue;
    }
    const isPath = typeof value === "string" && /[^\d.,-]/.test(value) && await platform.exists(value);
    if (!isPath) {
      kept[key] = value;
      continue;
    }
    const path = await platform.realPath(value);
    const digest = known.get(`${key} ${path}`) ?? inputDigest(key, path);
    known.set(`${key} ${path}`, digest);
    inputs[key] = { path, digest: await digest };
  }
  const own = Object.entries(options).filter(([key]) => key !== output && (!APART.includes(key) || key in inputs));
  const id = (await valueDigest({
    voxgrad: VERSION,
    script: /[./]/.test(script) ? await sha256(await platform.readFile(script)) : script,
    options: Object.fromEntries(own.map(([key, value]) => [key, inputs[key]?.digest ?? value])),
    ...(file !== undefined && { file }),
  })).slice(0, 16);
  const path = /[./]/.test(script) ? await platform.realPath(script) : script;
  return { id, script: path, given: kept, inputs, output, resumes: "resume" in options, ...more };
}

/** Files of a run whose bytes follow from the job alone: no times, no names of devices. */
const RESULT =
  /(^|\/)(model(_best)?\.safetensors|plan\.json|splits\.json|postprocessing\.json|[^/]+\.csv|[^/]+\.nii(\.gz)?)$/;

/** SHA-256 of the results in a folder. */
export async function resultsIn(folder: string): Promise<Record<string, string>> {
  const digests: Record<string, string> = {};
  for (const name of await filesBelow(folder)) {
    if (RESULT.test(name)) digests[name] = await sha256(await platform.readFile(`${folder}/${name}`));
  }
  return digests;
}
