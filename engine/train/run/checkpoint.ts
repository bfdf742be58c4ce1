/** checkpoint.safetensors: everything a training needs to resume exactly. */
import { platform } from "#platform";
import { isPlain, VoxgradError } from "../../core/errors.ts";
import { parseJson, showJson } from "../../core/json.ts";
import type { EpochRecord } from "./logging.ts";
import type { RunFolder } from "./run_folder.ts";
import { loadParameters, readWeights, SafetensorsError, saveSealed } from "../../nn/safetensors.ts";

const NAME = "checkpoint.safetensors";
const KEY = "voxgrad checkpoint";

/** Numbers stored with the tensors. JSON preserves doubles exactly. */
export interface CheckpointNotes {
  /** Steps done. */
  readonly step: number;
  /** Seconds that they took. */
  readonly seconds: number;
  /** Counts of the training pseudo-Dice. */
  readonly dice: { readonly both: readonly number[]; readonly sum: readonly number[] };
  /** Moving average of the validation pseudo-Dice, and its maximum so far. */
  readonly average?: number;
  readonly best?: number;
  /** Finished epochs, which rates may depend on. Absent before voxgrad 0.2. */
  readonly epochs?: readonly EpochRecord[];
  /** Digests of the run's inputs; see RunFolder.identity. Absent before voxgrad 0.2. */
  readonly of?: Readonly<Record<string, string>>;
}

/** Replaces the previous checkpoint atomically; `wait`: on a full disk, waits for space. */
export async function writeCheckpoint(
  run: RunFolder,
  state: object,
  notes: CheckpointNotes,
  { wait = false }: { wait?: boolean } = {},
): Promise<void> {
  const own = { ...notes, ...(run.identity && { of: run.identity }) };
  const bytes = await saveSealed(state, { [KEY]: JSON.stringify(own) });
  await (wait ? run.writeWhenRoom(NAME, bytes) : run.write(NAME, bytes));
}

/**
 * Reads the checkpoint of a resumed run.
 *
 * @param template a state of the same structure, such as the initial one
 * @param expects steps: the last step requested; classes: number of classes of the pseudo-Dice
 * @returns undefined if the run has none yet
 * @throws SafetensorsError for a damaged file, values that are not finite and tensors that do not fit the template;
 *   VoxgradError for another kind of file, one of another training, or invalid notes
 */
export async function readCheckpoint<S extends object>(
  run: RunFolder,
  template: S,
  expects: { steps: number; classes: number },
): Promise<{ state: S; notes: CheckpointNotes } | undefined> {
  const path = `${run.path}/${NAME}`;
  if (!(await platform.exists(path))) {
    if (!(await run.has("model.safetensors"))) return undefined;
    throw new VoxgradError(
      `${path}: it is missing, and the training that wrote model.safetensors cannot go on without it; put it ` +
        "back, or start another run, with --weights of that model if it is to begin there",
    );
  }
  const { tensors, metadata, sealed } = await readWeights(path);
  const stored = metadata[KEY];
  if (stored === undefined) throw new VoxgradError(`${path}: no training wrote it; name another run`);
  const notes = checkNotes(parseJson(stored, `${path}: the notes in its header`), path, expects);
  for (const [part, digest] of Object.entries(run.identity ?? {})) {
    if (notes.of === undefined || notes.of[part] === digest) continue;
    throw new VoxgradError(
      `${path}: it is of a training with other ${part}; put the run's own files back (config.json, plan.json, ` +
        "splits.json, checkpoint.safetensors), or start another run",
    );
  }
  if (!sealed) platform.log(`${path}: it has no digest to check it by, as files of voxgrad before 0.2`);
  try {
    return { state: loadParameters(template, tensors), notes };
  } catch (error) {
    if (!(error instanceof SafetensorsError)) throw error;
    throw new SafetensorsError(
      `${path}: ${error.message}; it is of another network or optimizer, so start another run`,
      { cause: error },
    );
  }
}

const isCount = (value: unknown): value is number => typeof value === "number" && Number.isFinite(value) && value >= 0;

function checkNotes(
  json: unknown,
  path: string,
  { steps, classes }: { steps: number; classes: number },
): CheckpointNotes {
  const fail = (what: string, got: unknown, wanted: string): never => {
    throw new VoxgradError(
      `${path}: ${what} is ${showJson(got)}, wanted ${wanted}; take a checkpoint that is whole, or start another run`,
    );
  };
  if (!isPlain(json)) return fail("what its header notes", json, "an object");
  const { step, seconds, dice, average, best, epochs, of } = json;
  if (!Number.isSafeInteger(step) || (step as number) < 0) fail("its step", step, "an integer from 0");
  if ((step as number) > steps) {
    fail("its step", step, `at most ${steps}, the last that is asked for (--steps or --epochs may ask for more)`);
  }
  if (!isCount(seconds)) fail("its time", seconds, "seconds");
  const counts = isPlain(dice) ? [dice.both, dice.sum] : [];
  if (
    counts.length === 0 ||
    !counts.every((each) => Array.isArray(each) && each.length === classes && each.every(isCount))
  ) {
    fail("its pseudo-Dice", dice, `two lists of ${classes} counts`);
  }
  const [both, sum] = counts as [number[], number[]];
  if (both.some((value, c) => 2 * value > sum[c] * (1 + 1e-9))) {
    fail("its pseudo-Dice", dice, "counts whose Dice is at most 1");
  }
  for (const [name, value] of Object.entries({ average, best })) {
    if (value !== undefined && !(isCount(value) && value <= 1)) fail(`its ${name} Dice`, value, "a number from 0 to 1");
  }
  if (
    epochs !== undefined &&
    !(Array.isArray(epochs) && epochs.every((each) => isPlain(each) && Number.isSafeInteger(each.step)))
  ) {
    fail("its list of epochs", epochs, "records of epochs");
  }
  if (of !== undefined && !(isPlain(of) && Object.values(of).every((each) => typeof each === "string"))) {
    fail("what it belongs to", of, "digests");
  }
  return json as unknown as CheckpointNotes;
}
