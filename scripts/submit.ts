// Turns one command line into many jobs: a fold, a seed, a scan or a combination of options each. They run here, on a
// queue of NATS (--nats URL) or as an array of Slurm (--slurm PROFILE.json); engine/train/jobs/README.md shows each.
// `npx voxgrad submit train_unet DATA --fold each --seeds 1..3`
import { findImages, runSubmit } from "../engine/train/mod.ts";
import { openModel } from "../models/mod.ts";

await runSubmit(async (run, input) => {
  const model = await openModel(run);
  const { channels } = model;
  model.dispose();
  return findImages(input, channels);
});
