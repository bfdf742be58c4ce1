/** Faults of single cases of many: one that cannot be read does not end the others. */
import { VoxgradError } from "../../core/errors.ts";
import { PlatformError } from "../../platform/types.ts";
import { DatasetError } from "./dataset_json.ts";

/** Whether an error is about a file or a request, which a user can mend, and no fault of the program. */
export const isForUser = (error: unknown): error is VoxgradError | PlatformError =>
  error instanceof VoxgradError || error instanceof PlatformError;

/**
 * The faults of cases that are gone through one after the other.
 *
 * @example
 * ```ts
 * import { CaseFaults, loadCase, openDataset } from "voxgrad/imaging";
 *
 * const dataset = await openDataset("data/Task04_Hippocampus");
 * const faults = new CaseFaults();
 * for (const item of dataset.cases) await faults.try(item.id, () => loadCase(dataset, item));
 * console.log(faults.text());
 * faults.end(dataset.folder, dataset.cases.length, "cases could be read");
 * ```
 */
export class CaseFaults {
  readonly #lines: string[] = [];

  get count(): number {
    return this.#lines.length;
  }

  /** Does something for a case; its error is noted, and undefined given. */
  async try<T>(id: string, work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      this.note(id, error);
      return undefined;
    }
  }

  /**
   * Notes an error of a case, with its stack where it is none that a user can mend. A lost device and a wish to end
   * concern all cases, so they are thrown.
   */
  note(id: string, error: unknown): void {
    if (!(error instanceof Error) || ["DeviceLostError", "Interrupted"].includes(error.name)) throw error;
    const { message: said, stack } = error;
    const message = isForUser(error) ? said : (stack ?? said);
    this.#lines.push(id === "" || message.startsWith(`case ${id}: `) ? message : `case ${id}: ${message}`);
  }

  /** One line for each fault, with file and fix; "" where there are none. */
  text(): string {
    return this.#lines.map((line) => `  ${line.replaceAll("\n", "\n  ")}`).join("\n");
  }

  /**
   * Throws where there were faults, once they have been listed.
   *
   * @param file the folder that the cases are of
   * @param total how many there are
   * @param what what was to be done with them: "cases could be predicted"
   * @throws DatasetError
   */
  end(file: string, total: number, what: string): void {
    if (this.count === 0) return;
    const problem = `${this.count} fault(s), listed above; ${Math.max(0, total - this.count)} of ${total} ${what}`;
    throw new DatasetError(file, problem, "Mend them and try again");
  }
}
