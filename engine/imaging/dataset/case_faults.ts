/** Collects the errors of single cases, so that one unreadable case does not stop the others. */
import { VoxgradError } from "../../core/errors.ts";
import { PlatformError } from "../../platform/types.ts";
import { DatasetError } from "./finding.ts";

/** Whether an error is about a file or a request, which the user can fix, rather than a bug. */
export const isForUser = (error: unknown): error is VoxgradError | PlatformError =>
  error instanceof VoxgradError || error instanceof PlatformError;

/**
 * Errors of cases that are processed one after the other.
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

  /** Runs `work` for a case; on an error, notes it and returns undefined. */
  async try<T>(id: string, work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      this.note(id, error);
      return undefined;
    }
  }

  /**
   * Notes an error of a case, with its stack if it is a bug. A lost device and an interrupt concern all cases, so they
   * are rethrown.
   */
  note(id: string, error: unknown): void {
    if (!(error instanceof Error) || ["DeviceLostError", "Interrupted"].includes(error.name)) throw error;
    const { message: said, stack } = error;
    const message = isForUser(error) ? said : (stack ?? said);
    this.#lines.push(id === "" || message.startsWith(`case ${id}: `) ? message : `case ${id}: ${message}`);
  }

  /** One line for each error, with file and fix; "" without errors. */
  text(): string {
    return this.#lines.map((line) => `  ${line.replaceAll("\n", "\n  ")}`).join("\n");
  }

  /**
   * Throws if there were errors, after listing them.
   *
   * @param file the folder of the cases
   * @param total how many there are
   * @param what the failed task: "cases could be predicted"
   * @throws DatasetError
   */
  end(file: string, total: number, what: string): void {
    if (this.count === 0) return;
    const problem = `${this.count} fault(s), listed above; ${Math.max(0, total - this.count)} of ${total} ${what}`;
    throw new DatasetError(file, problem, "Mend them and try again");
  }
}
