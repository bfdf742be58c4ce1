// Takes jobs of `voxgrad submit` from a server of NATS or from a folder, and runs them, one at a time on each device.
// Stopped, it lets the jobs under way write checkpoints and gives them back.
// `npx voxgrad worker --nats nats://HOST:4222`
import { config, entry, openQueue, queueEntries, runPool, splitList } from "../engine/train/mod.ts";

const options = config({
  ...queueEntries,
  devices: entry("", "devices as VOXGRAD_ADAPTER takes them, with commas, a worker each; the best one without"),
  untilDone: entry(false, "end once no job waits or runs, instead of waiting for more"),
  only: entry("", "ids of the jobs to take from the folder, with commas, until they are done; all without"),
});
const only = splitList(options.only);
const queue = await openQueue(options, only.length === 0 ? undefined : new Set(only));
const untilDone = options.untilDone || only.length > 0;
try {
  await runPool(queue, { folder: options.jobs, devices: splitList(options.devices), untilDone });
} finally {
  await queue.close();
}
