/** `--profile`: reports the kernel times of a whole run at its end, without changes to the script. */
import { platform } from "#platform";
import { type Device, onOpen } from "./device.ts";
import { describeRoofs, kernelTable } from "./kernel_table.ts";
import { checkTimestamps, record, Recorder, trace } from "./profile.ts";
import { measureRoofs } from "./roofs.ts";

/** Maximum dispatches in a trace, since a run may last for days. */
const TRACED = 100_000;
/** Kernels listed in the report. */
const ROWS = 25;

interface Run {
  readonly recorder: Recorder;
  readonly device: Device;
  /** Time at which its device was opened. */
  readonly since: number;
}

let run: Run | null = null;

onOpen(begin, (device) => end(device));

function begin(device: Device): void {
  if (platform.flags.profile === false) return;
  checkTimestamps(device, "--profile");
  // After a device loss, profiling continues with the next device.
  const { recorder, since } = run ?? { recorder: new Recorder(TRACED), since: performance.now() };
  if (!run) platform.atEnd(() => (run ? end(run.device) : Promise.resolve()));
  run = { recorder, device, since };
  record(recorder, true);
}

/** Prints the report while the device is still available to measure its roofline peaks. */
async function end(device: Device): Promise<void> {
  if (run?.device !== device) return;
  const { recorder, since } = run;
  run = null;
  // Include work still in flight.
  await device.gpu.queue.onSubmittedWorkDone().catch(() => undefined);
  const wall = performance.now() - since;
  record(recorder, false);
  await recorder.settled().catch(() => undefined);
  let roofs: Awaited<ReturnType<typeof measureRoofs>> | undefined;
  try {
    if (!device.gone) roofs = await measureRoofs();
  } catch (error) {
    platform.log(`The adapter's roofs could not be measured: ${(error as Error).message}`);
  }
  const seconds = (ms: number): string => `${(ms / 1000).toFixed(3)} s`;
  const percent = (ms: number): string => `${((100 * ms) / wall).toFixed(1)}%`;
  platform.log(
    [
      "",
      `Profile of ${seconds(wall)} on ${device.info.name}: ${recorder.count} dispatches`,
      kernelTable(recorder.warmKernels(), roofs, ROWS),
      `In kernels ${seconds(recorder.covered)} (${percent(recorder.covered)}), beside them ` +
      `${seconds(wall - recorder.covered)} (${percent(wall - recorder.covered)}): host, transfers, compiling, waiting`,
      ...(roofs ? [`Roofs, measured: ${describeRoofs(roofs)}`] : []),
    ].join("\n"),
  );
  const { profile } = platform.flags;
  if (typeof profile !== "string") return;
  const dispatches = recorder.dispatches();
  await platform.writeFile(profile, trace(dispatches, device.info.name));
  const all = dispatches.length === recorder.count;
  platform.log(`Trace: ${profile}, ${all ? "all dispatches" : `the last ${dispatches.length} dispatches`}`);
}
