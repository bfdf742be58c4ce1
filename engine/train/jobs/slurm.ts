/** Jobs as an array of Slurm, whose tasks take them from a folder that all nodes see. */
import { platform } from "#platform";
import { isPlain, VoxgradError } from "../../core/errors.ts";
import { readJson } from "../run/run_folder.ts";

/** The profile file: what every task asks for. */
export interface SlurmProfile {
  readonly partition?: string;
  /** As of --time. */
  readonly time?: string;
  /** As of --gres, such as "gpu:1". */
  readonly gres?: string;
  /** As of --constraint, such as "amd|intel". */
  readonly constraint?: string;
  readonly memory?: string;
  readonly cpus?: number;
  readonly account?: string;
  /** Tasks at once. */
  readonly atOnce?: number;
  /** Lines for the shell before each job, such as "module load nodejs". */
  readonly setup?: readonly string[];
  /** What VOXGRAD_ADAPTER is for the jobs. */
  readonly adapter?: string;
  /** Further lines of sbatch, such as "--qos=low". */
  readonly sbatch?: readonly string[];
}

const TEXTS = ["partition", "time", "gres", "constraint", "memory", "account", "adapter"];

/** @throws VoxgradError for another file */
export async function readProfile(file: string): Promise<SlurmProfile> {
  const json = await readJson(file);
  const fits: Record<string, (value: unknown) => boolean> = {
    ...Object.fromEntries(TEXTS.map((key) => [key, (value: unknown) => typeof value === "string"])),
    ...Object.fromEntries(["cpus", "atOnce"].map((key) => [key, Number.isSafeInteger])),
    ...Object.fromEntries(
      ["setup", "sbatch"].map((
        key,
      ) => [key, (list: unknown) => Array.isArray(list) && list.every((l) => typeof l === "string")]),
    ),
  };
  const wrong = isPlain(json) ? Object.keys(json).find((key) => !fits[key]?.(json[key])) : "";
  if (wrong === undefined) return json as SlurmProfile;
  throw new VoxgradError(
    `${file}: ${wrong === "" ? "it" : `its ${wrong}`} does not fit; a profile has ${TEXTS.join(", ")} (texts), cpus, ` +
      "atOnce (numbers), setup and sbatch (lists of lines)",
  );
}

const quote = (word: string): string => `'${word.replaceAll("'", "'\\''")}'`;

/**
 * The script of an array. Slurm sends SIGTERM a minute before the time is over: the job writes a checkpoint, and its
 * task is put back into the queue; so is that of a node that failed.
 */
export function arrayScript(
  profile: SlurmProfile,
  { folder, ids, command }: { folder: string; ids: readonly string[]; command: readonly string[] },
): string {
  const { partition, time, gres, constraint, memory, cpus, account, atOnce, setup = [], adapter, sbatch = [] } =
    profile;
  const asked = { partition, time, gres, constraint, mem: memory, "cpus-per-task": cpus, account };
  const lines = Object.entries(asked).filter(([, value]) => value !== undefined).map(([key, value]) =>
    `--${key}=${value}`
  );
  const limit = atOnce === undefined ? "" : `%${atOnce}`;
  return [
    "#!/bin/bash",
    ...[
      "--job-name=voxgrad",
      `--array=0-${ids.length - 1}${limit}`,
      "--requeue",
      "--open-mode=append",
      "--signal=B:TERM@60",
      `--output=${folder}/slurm-%A_%a.txt`,
      ...lines,
      ...sbatch,
    ].map((line) => `#SBATCH ${line}`),
    ...(adapter === undefined ? [] : [`export VOXGRAD_ADAPTER=${quote(adapter)}`]),
    ...setup,
    `ids=(${ids.join(" ")})`,
    `${command.map(quote).join(" ")} --jobs ${quote(folder)} --only "\${ids[$SLURM_ARRAY_TASK_ID]}" &`,
    "worker=$!",
    "trap 'kill -TERM $worker' TERM",
    "wait $worker; code=$?",
    "# A trapped signal ends the first wait.",
    "while kill -0 $worker 2>/dev/null; do wait $worker; code=$?; done",
    "# Given back: the task runs again, and the job goes on from its checkpoint.",
    '[ $code -eq 143 ] && scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"',
    "exit $code",
    "",
  ].join("\n");
}

/** Writes the script and submits it; returns what sbatch says. */
export async function submitArray(
  profile: SlurmProfile,
  options: { folder: string; ids: readonly string[]; command: readonly string[] },
): Promise<string> {
  const file = `${options.folder}/array.sh`;
  await platform.writeFile(file, arrayScript(profile, options));
  return (await platform.runProgram!("sbatch", [file])).trim();
}
