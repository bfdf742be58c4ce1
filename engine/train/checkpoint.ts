/** checkpoint.safetensors: all that a training needs to go on as if it had never stopped. */
import { platform } from "#platform";
import { VoxgradError } from "../core/errors.ts";
import type { RunFolder } from "./run_folder.ts";
import { loadParameters, loadSafetensors, saveSafetensors } from "./safetensors.ts";

const NAME = "checkpoint.safetensors";
const KEY = "voxgrad checkpoint";

/** Numbers beside the tensors. JSON keeps every double exactly. */
export interface CheckpointNotes {
  /** Steps done. */
  readonly step: number;
  /** Seconds that they took. */
  readonly seconds: number;
  /** Counts of the training's pseudo-Dice. */
  readonly dice: { readonly both: readonly number[]; readonly sum: readonly number[] };
  /** Moving average of the validation's pseudo-Dice, and the highest that it has been. */
  readonly average?: number;
  readonly best?: number;
}

/** Writes a checkpoint in the place of the one before, whole or not at all. */
export async function writeCheckpoint(run: RunFolder, state: object, notes: CheckpointNotes): Promise<void> {
  await run.write(NAME, await saveSafetensors(state, { [KEY]: JSON.stringify(notes) }));
}

/**
 * Reads the checkpoint of a run.
 *
 * @param template a state of the same structure, such as that of the start
 * @returns undefined where the run has none yet
 * @throws SafetensorsError for tensors that do not fit the template; VoxgradError for another file of that name
 */
export async function readCheckpoint<S extends object>(
  run: RunFolder,
  template: S,
): Promise<{ state: S; notes: CheckpointNotes } | undefined> {
  const path = `${run.path}/${NAME}`;
  if (!(await platform.exists(path))) return undefined;
  const { tensors, metadata } = loadSafetensors(await platform.readFile(path));
  const stored = metadata[KEY];
  if (stored === undefined) throw new VoxgradError(`${path}: no training wrote it; remove it or name another run`);
  return { state: loadParameters(template, tensors), notes: JSON.parse(stored) as CheckpointNotes };
}
