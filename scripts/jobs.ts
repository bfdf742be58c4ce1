// Shows the jobs of `voxgrad submit` as a table, or as a page with --html, and cancels, repeats or fetches them.
// `npx voxgrad jobs`, `npx voxgrad jobs cancel all --nats nats://HOST:4222`
import { choice, config, entry, openQueue, queueEntries, runJobs } from "../engine/train/mod.ts";

const options = config({
  act: choice(["show", "cancel", "retry", "logs", "fetch"], "what to do", { positional: true }),
  ids: entry("", "jobs by the beginnings of their ids, with commas, or all, failed", { positional: true }),
  ...queueEntries,
  watch: entry(false, "show the table again every two seconds, until no job waits or runs"),
  html: entry("", "write the table as a page into this file"),
});
const queue = await openQueue(options);
try {
  await runJobs(queue, options);
} finally {
  await queue.close();
}
