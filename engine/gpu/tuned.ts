/** Which kernels tuning found fastest, by adapter: kept by the host from run to run, or given to openDevice. */
import { platform } from "#platform";
import { isPlain } from "../core/errors.ts";

/** The name under which the host keeps them. */
const NAME = "tuned.json";
const FORMAT = 1;

export interface TunedChoice {
  readonly variant: string;
  /** What it was chosen from, the default first. */
  readonly among: readonly string[];
}

/** The fastest variants by adapter and by work, as JSON keeps them. */
export interface TunedKernels {
  readonly format: typeof FORMAT;
  readonly adapters: Readonly<Record<string, Readonly<Record<string, TunedChoice>>>>;
}

const isText = (value: unknown): value is string => typeof value === "string";
const isChoice = (value: unknown): boolean =>
  isPlain(value) && isText(value.variant) && Array.isArray(value.among) && value.among.every(isText);

/** Whether a value is what tuning keeps, in the format of this version. */
export const isTuned = (value: unknown): value is TunedKernels =>
  isPlain(value) &&
  value.format === FORMAT &&
  isPlain(value.adapters) &&
  Object.values(value.adapters).every((works) => isPlain(works) && Object.values(works).every(isChoice));

/** What earlier runs found; nothing, with a message, where that cannot be read. */
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

/** The choices in force on a device. */
export class Tuned {
  readonly #adapter: string;
  readonly #choices = new Map<string, TunedChoice>();
  /** The variant of each choice, as kernels ask for it. */
  readonly variants = new Map<string, string>();
  #told = false;
  /** Grows when earlier programs should be built again. */
  version = 0;

  /** @param adapter its name with that of the driver, since both decide what is fast */
  constructor(adapter: string, known: TunedKernels = { format: FORMAT, adapters: {} }) {
    this.#adapter = adapter;
    // A name such as "constructor" is no adapter.
    if (Object.hasOwn(known.adapters, adapter)) this.#set(Object.entries(known.adapters[adapter]));
  }

  /** Whether a choice was made among the very variants that there are. */
  knows(key: string, among: readonly string[]): boolean {
    return this.#choices.get(key)?.among.join() === among.join();
  }

  #set(choices: Iterable<readonly [string, TunedChoice]>): void {
    for (const [key, choice] of choices) {
      this.#choices.set(key, choice);
      this.variants.set(key, choice.variant);
    }
  }

  /** For a user who waits: compiling all variants may take minutes on a CPU. */
  progress(done: number, total: number, text: string): void {
    platform.progress({ done, total, text });
  }

  /** Takes a choice and keeps it for later runs, beside what other processes have found meanwhile. */
  async add(key: string, choice: TunedChoice): Promise<void> {
    this.#set([[key, choice]]);
    const { adapters } = await readTuned();
    const works = { ...adapters[this.#adapter], [key]: choice };
    const kept: TunedKernels = { format: FORMAT, adapters: { ...adapters, [this.#adapter]: works } };
    try {
      await platform.writeCache(NAME, JSON.stringify(kept, null, 1));
    } catch (error) {
      // This run has it all the same.
      if (!this.#told) platform.log(`Tuned kernels cannot be kept for later runs: ${(error as Error).message}`);
      this.#told = true;
    }
  }
}
