/** Tuning results by adapter: stored by the host between runs, or passed to openDevice. */
import { platform } from "#platform";
import { isPlain } from "../core/errors.ts";

/** Cache entry name. */
const NAME = "tuned.json";
const FORMAT = 1;

export interface TunedChoice {
  readonly variant: string;
  /** The variants it was chosen from, the default first. */
  readonly among: readonly string[];
}

/** The fastest variants by adapter and kernel, as stored in JSON. */
export interface TunedKernels {
  readonly format: typeof FORMAT;
  readonly adapters: Readonly<Record<string, Readonly<Record<string, TunedChoice>>>>;
}

const isText = (value: unknown): value is string => typeof value === "string";
const isChoice = (value: unknown): boolean =>
  isPlain(value) && isText(value.variant) && Array.isArray(value.among) && value.among.every(isText);

/** Whether a value is a tuning result in the current format. */
export const isTuned = (value: unknown): value is TunedKernels =>
  isPlain(value) &&
  value.format === FORMAT &&
  isPlain(value.adapters) &&
  Object.values(value.adapters).every((works) => isPlain(works) && Object.values(works).every(isChoice));

/** Results of earlier runs; empty, with a message, if they cannot be read. */
export async function readTuned(): Promise<TunedKernels> {
  const text = await platform.readCache(NAME);
  let value: unknown;
  try {
    value = text === undefined ? undefined : JSON.parse(text);
  } catch {
    value = null;
  }
  if (isTuned(value)) return value;
  if (text !== undefined) {
    platform.log(
      `The cache of tuned kernels (${NAME}) is damaged or of another version: it is ignored, and replaced by the ` +
        "next tuning",
    );
  }
  return { format: FORMAT, adapters: {} };
}

/** The active choices of a device. */
export class Tuned {
  readonly #adapter: string;
  readonly #choices = new Map<string, TunedChoice>();
  /** The chosen variant by kernel key. */
  readonly variants = new Map<string, string>();
  #hasWarned = false;
  /** Incremented when existing programs should be rebuilt. */
  version = 0;

  /** @param adapter its name with the driver's, since both affect speed */
  constructor(adapter: string, known: TunedKernels = { format: FORMAT, adapters: {} }) {
    this.#adapter = adapter;
    // Guards against names such as "constructor".
    if (Object.hasOwn(known.adapters, adapter)) this.#set(Object.entries(known.adapters[adapter]));
  }

  /** Whether a choice was made among exactly these variants. */
  knows(key: string, among: readonly string[]): boolean {
    return this.#choices.get(key)?.among.join() === among.join();
  }

  #set(choices: Iterable<readonly [string, TunedChoice]>): void {
    for (const [key, choice] of choices) {
      this.#choices.set(key, choice);
      this.variants.set(key, choice.variant);
    }
  }

  /** Progress for the user: compiling all variants may take minutes on a CPU. */
  progress(done: number, total: number, text: string): void {
    platform.progress({ done, total, text });
  }

  /** Stores a choice for this and later runs, merged with the results of other processes. */
  async add(key: string, choice: TunedChoice): Promise<void> {
    this.#set([[key, choice]]);
    const { adapters } = await readTuned();
    const works = { ...adapters[this.#adapter], [key]: choice };
    const kept: TunedKernels = { format: FORMAT, adapters: { ...adapters, [this.#adapter]: works } };
    try {
      await platform.writeCache(NAME, JSON.stringify(kept, null, 1));
    } catch (error) {
      // The choice still applies to this run.
      if (!this.#hasWarned) platform.log(`Tuned kernels cannot be kept for later runs: ${(error as Error).message}`);
      this.#hasWarned = true;
    }
  }
}
