/** The command line of a training script. */
import { type Config, type ConfigDefaults, type Entry, resumableConfig } from "../run/config.ts";
import { runScript } from "../run/script.ts";
import { trainingChanges } from "./training_options.ts";

/**
 * Runs a training script: reads its options, which `--resume RUN` takes from a run, prints the device, calls `main` and
 * closes the device. Does nothing if the module was imported by another one.
 *
 * @param url `import.meta.url` of the module
 * @param entries the config block, `trainingEntries` among them
 * @param changes further entries that a resumed run may change
 * @throws ConfigError as `resumableConfig`
 * @example
 * ```ts
 * import { openTraining, runTraining, trainingEntries } from "voxgrad/train";
 *
 * await runTraining(import.meta.url, trainingEntries, async (options) => {
 *   const training = await openTraining(options);
 *   console.log(training.plan.patch);
 * });
 * ```
 */
export const runTraining = <D extends ConfigDefaults & { resume: Entry<string> | string }>(
  url: string,
  entries: D,
  main: (options: Config<D>) => Promise<unknown>,
  changes: readonly (keyof D & string)[] = [],
): Promise<void> => runScript(url, () => resumableConfig(entries, { change: [...trainingChanges, ...changes] }), main);
