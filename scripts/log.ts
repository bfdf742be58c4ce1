// Writes the log of a training, and of its folds, for other programs: as event files of TensorBoard.
// `npx voxgrad log runs/NAME --tensorboard`
import { config, ConfigError, entry, print, RunFolder, trimSlashes, writeTensorBoard } from "../engine/train/mod.ts";

const { run, tensorboard } = config({
  run: entry("", "folder of the run", { positional: true }),
  tensorboard: entry(false, "write RUN/tensorboard, for tensorboard --logdir RUN/tensorboard"),
});
if (run === "") throw new ConfigError("Name the folder of a run: voxgrad log runs/NAME --tensorboard");
if (!tensorboard) {
  throw new ConfigError("Say what to write: --tensorboard; the log itself is log.jsonl in the run's folder");
}
print(`Written: ${await writeTensorBoard(new RunFolder(trimSlashes(run)))}`);
