/** `--profile`: the kernels of a whole run, told at its end. The script need not know. */
import { platform } from "#platform";
import { type Device, onOpen } from "./device.ts";
import { checkTimestamps, kernelTable, record, Recorder, trace } from "./profile.ts";
import { measureRoofs } from "./roofs.ts";

/** Dispatches that a trace holds; a run may last for days. */
const TRACED = 100_000;
/** Kernels that are listed. */
const ROWS = 25;

interface Run {
  readonly recorder: Recorder;
  readonly device: Device;
  /** When its device was opened. */
  readonly since: number;
}

let run: Run | null = null;

onOpen(begin, (device) => end(device));

function begin(device: Device): void {
  if (platform.flags.profile === false) return;
  checkTimestamps(device, "--profile");
  // After the loss of a device the profile goes on with the next.
  const { recorder, since } = run ?? { recorder: new Recorder(TRACED), since: performance.now() };
  if (!run) platform.atEnd(() => (run ? end(run.device) : Promise.resolve()));
  run = { recorder, device, since };
  record(recorder, true);
}

/** Prints the report, while the device is there to measure its roofs. */
async function end(device: Device): Promise<void> {
  if (run?.device !== device) return;
  const { recorder, since } = run;
  run = null;
  // What is under way still counts.
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
      ...(roofs
        ? [
          `Roofs, measured: ${
            roofs.gigabytesPerSecond.toFixed(1)
          } GB/s (triad beyond the caches; what stays in caches may exceed it), ` +
          `${roofs.gigaflopsPerSecond.toFixed(1)} GFLOP/s (multiply-adds in registers)`,
        ]
        : []),
    ].join("\n"),
  );
  const { profile } = platform.flags;
  if (typeof profile !== "string") return;
  const dispatches = recorder.dispatches();
  await platform.writeFile(profile, trace(dispatches, device.info.name));
  const all = dispatches.length === recorder.count;
  platform.log(`Trace: ${profile}, ${all ? "all dispatches" : `the last ${dispatches.length} dispatches`}`);
}
