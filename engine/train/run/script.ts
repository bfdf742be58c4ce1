/** Setup and teardown shared by all scripts: options and the device. */
import { platform } from "#platform";
import { closeDevice, deviceInfo } from "../../gpu/mod.ts";
import { print } from "./logging.ts";

/**
 * Splits a comma-separated list; "" is an empty list.
 *
 * @example
 * ```ts
 * import { splitList } from "voxgrad/train";
 *
 * splitList("liver, spleen"); // ["liver", "spleen"]
 * ```
 */
export const splitList = (text: string): string[] => text === "" ? [] : text.split(",").map((part) => part.trim());

/**
 * Prints the device and returns its `deviceInfo`.
 *
 * @example
 * ```ts
 * import { printDevice } from "voxgrad/train";
 *
 * const { kind } = await printDevice();
 * ```
 */
export async function printDevice(): ReturnType<typeof deviceInfo> {
  const device = await deviceInfo();
  print(`Device: ${device.name} (${device.kind}; ${device.reason})`);
  return device;
}

/**
 * Whether the device is a CPU, for defaults that are smaller there.
 *
 * @example
 * ```ts
 * import { isSoftware } from "voxgrad/train";
 *
 * const steps = (await isSoftware()) ? 20 : 1000;
 * ```
 */
export const isSoftware = async (): Promise<boolean> => (await deviceInfo()).kind === "software";

/**
 * Resolves the size "auto" for this device.
 *
 * @example
 * ```ts
 * import { deviceSize } from "voxgrad/train";
 *
 * const sizes = { cpu: [16, 16, 16], gpu: [64, 128, 128] };
 * const patch = sizes[await deviceSize("auto")];
 * ```
 */
export const deviceSize = async (size: "auto" | "cpu" | "gpu"): Promise<"cpu" | "gpu"> =>
  size !== "auto" ? size : await isSoftware() ? "cpu" : "gpu";

let running: string | undefined;

/** What starts the script that runs, as jobs name it: a name of voxgrad's own, or a file; undefined in a page. */
export function scriptName(): string | undefined {
  const [, path, name] = /^file:\/\/(.*\/([^/]+)\.\w+)$/.exec(running ?? "") ?? [];
  const own = new URL("../../../scripts/", import.meta.url).href;
  return running?.startsWith(own) && !running.slice(own.length).includes("/") ? name : path;
}

/** The words that run a script: a name of voxgrad's own, or a file. */
export const commandOf = (script: string): string[] => /[./]/.test(script) ? ["run", script] : [script];

/**
 * Runs a script module: reads its options, prints the device, calls `main` and closes the device. Does nothing if the
 * module was imported by another one.
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
  running = url;
  const values = await options();
  await printDevice();
  await main(values);
  await closeDevice();
}
