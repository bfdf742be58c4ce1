/** Work on many items of which some may be at fault: the rest is done, and what failed is told at the end. */
import { escaped, VoxgradError } from "./errors.ts";

/** Errors about what the user gave: their message says all. */
const TOLD = ["PlatformError", "ConfigError", "DatasetError", "NiftiError", "PlanError", "SafetensorsError", "JsonError", "VoxgradError"];

/**
 * Collects what fails, so that one bad scan does not cost all others.
 *
 * @example
 * const failures = new Failures("case");
 * for (const item of items) await failures.attempt(item.id, () => segment(item));
 * failures.finish(items.length, print);
 */
export class Failures {
  readonly #unit: string;
  readonly #found = new Map<string, string>();

  /** @param unit what an item is: "case" */
  constructor(unit: string) {
    this.#unit = unit;
  }

  /** Names of the items that failed. */
  get names(): string[] {
    return [...this.#found.keys()];
  }

  add(name: string, error: unknown): void {
    const { name: kind, message, stack } = error instanceof Error ? error : new Error(String(error));
    this.#found.set(name, TOLD.includes(kind) ? message : (stack ?? message));
  }

  /** What `work` gives; undefined where it failed. A lost device and a wish to end concern all items, so they are thrown. */
  async attempt<T>(name: string, work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      if (error instanceof Error && ["DeviceLostError", "Interrupted"].includes(error.name)) throw error;
      this.add(name, error);
      return undefined;
    }
  }

  /**
   * Tells what failed, a line each.
   *
   * @param total how many items there were
   * @throws VoxgradError where any failed, so that the script ends as one that did not do all
   */
  finish(total: number, print: (line: string) => void): void {
    const count = this.#found.size;
    if (count === 0) return;
    print(`\n${count} of ${total} ${this.#unit}s failed:`);
    for (const [name, message] of this.#found) print(message.includes(name) ? message : `${this.#unit} ${escaped(name)}: ${message}`);
    throw new VoxgradError(`${count} of ${total} ${this.#unit}s failed, as told above; the others are done`);
  }
}
