/** What every script does before and after its work: options, the device, and letting go of it. */
import { platform } from "#platform";
import { closeDevice, deviceInfo } from "../../gpu/mod.ts";
import { print } from "./logging.ts";

/** The parts of a list that is written with commas between; none of "". */
export const splitList = (text: string): string[] => text === "" ? [] : text.split(",").map((part) => part.trim());

/** Prints which device computes, and gives what `deviceInfo` says of it. */
export async function printDevice(): ReturnType<typeof deviceInfo> {
  const device = await deviceInfo();
  print(`Device: ${device.name} (${device.kind}; ${device.reason})`);
  return device;
}

/** Whether the device is a CPU, for defaults that are smaller there. */
export const isSoftware = async (): Promise<boolean> => (await deviceInfo()).kind === "software";

/** What a size "auto" is on this device. */
export const deviceSize = async (size: "auto" | "cpu" | "gpu"): Promise<"cpu" | "gpu"> =>
  size !== "auto" ? size : await isSoftware() ? "cpu" : "gpu";

/**
 * Runs a module that is a script: reads its options, prints the device, calls `main` and closes the device. Does
 * nothing where another script imports the module, for its functions.
 *
 * @param url `import.meta.url` of the module
 * @param options reads the options, by `config` or `resumableConfig`
 * @example
 * ```ts
 * import { config, print, runScript } from "voxgrad/train";
 *
 * await runScript(import.meta.url, () => config({ steps: 100 }), async ({ steps }) => print(`${steps} steps`));
 * ```
 */
export async function runScript<O>(
  url: string,
  options: () => O | Promise<O>,
  main: (options: O) => Promise<unknown>,
): Promise<void> {
  if (!platform.isMain(url)) return;
  const values = await options();
  await printDevice();
  await main(values);
  await closeDevice();
}
