// Checks a run against its chain of digests (chain.jsonl): what it began with, and losses and weights of each epoch.
// With --against it says where two runs part, with --recompute whether the training, repeated, gives the same.
// `npx voxgrad verify runs/mine --recompute 3`
import { closeDevice } from "../engine/mod.ts";
import { config, ConfigError, entry, verifyRun } from "../engine/train/mod.ts";

const options = config({
  run: entry("", "folder of the run", { positional: true }),
  against: entry("", "another run: says in which epoch they part, and by what"),
  recompute: entry(0, "train again to the end of this epoch and compare; 0: not", { integer: true, min: 0 }),
});
if (options.run === "") throw new ConfigError("Name a run: voxgrad verify runs/mine");
try {
  await verifyRun(options);
} finally {
  await closeDevice();
}
