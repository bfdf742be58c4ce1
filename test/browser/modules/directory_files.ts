// Files in OPFS, and their locks, in the page or worker that this runs in.
import { directoryFiles, mountFiles } from "../../../engine/mod.ts";
import { platform } from "../../../engine/platform/browser.ts";
import { fileSystemFaults } from "../../helpers/file_system_checks.ts";

export default async function () {
  const root = await navigator.storage.getDirectory();
  const folder = await root.getDirectoryHandle("checks", { create: true });
  const faults = await fileSystemFaults(directoryFiles(folder));

  const path = mountFiles(folder);
  await platform.writeFile(`${path}/run/a.txt`, "a");
  const [first, again] = [await platform.lockFolder(`${path}/run`), await platform.lockFolder(`${path}/run`)];
  // Another tab is another client of the locks; so is a request of its own here.
  const free = () => navigator.locks.request("voxgrad checks/run", { ifAvailable: true }, (lock) => lock !== null);
  const free1 = await free();
  await first();
  const free2 = await free();
  await again();
  const free3 = await free();
  let locked = "";
  await navigator.locks.request("voxgrad checks/run", async () => {
    locked = await platform.lockFolder(`${path}/run`).then(() => "", (error: Error) => error.message);
  });

  // A page that was closed while it wrote leaves files that are nobody's; those of an hour ago go.
  const run = await folder.getDirectoryHandle("run");
  await run.getFileHandle(`.voxgrad-${crypto.randomUUID()}.tmp`, { create: true });
  const listed = await platform.listFiles(`${path}/run`);
  await platform.removeRemains(path);
  const kept: string[] = [];
  for await (const name of run.keys()) kept.push(name);
  const error = await platform.writeFile(`${path}/run/a.txt/b`, "").then(() => "", (error: Error) => error.message);
  await root.removeEntry("checks", { recursive: true });
  return { faults, path, free: [free1, free2, free3], locked, listed, kept: kept.length, error };
}
