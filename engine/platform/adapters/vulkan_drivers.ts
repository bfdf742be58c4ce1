import { existsSync, readdirSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";

/** Names of adapters that compute on the CPU. */
export const softwareName = /llvmpipe|swiftshader|basic render/i;

/** The Vulkan drivers declared on this system: the manifests that its loader would read. */
export function driverFiles(): string[] {
  const given = process.env.VK_DRIVER_FILES ?? process.env.VK_ICD_FILENAMES;
  const split = (list: string | undefined): string[] => (list ?? "").split(":").filter((name) => name !== "");
  if (given) return split(given).filter((file) => existsSync(file));
  const folders = [
    process.env.XDG_CONFIG_HOME ?? join(homedir(), ".config"),
    ...split(process.env.XDG_CONFIG_DIRS ?? "/etc/xdg"),
    "/etc",
    process.env.XDG_DATA_HOME ?? join(homedir(), ".local/share"),
    ...split(process.env.XDG_DATA_DIRS ?? "/usr/local/share:/usr/share"),
  ];
  const found = new Set(split(process.env.VK_ADD_DRIVER_FILES));
  for (const folder of folders.map((name) => join(name, "vulkan/icd.d"))) {
    if (!existsSync(folder)) continue;
    for (const name of readdirSync(folder)) if (name.endsWith(".json")) found.add(join(folder, name));
  }
  return [...found];
}

/**
 * Restricts the Vulkan loader to these driver manifests. Loaders before 1.3.207 (Ubuntu 22.04's) only know the older
 * variable name.
 */
export const onlyDrivers = (files: readonly string[]): Record<string, string> => {
  const list = files.join(":");
  return { VK_DRIVER_FILES: list, VK_ICD_FILENAMES: list };
};

/**
 * Calls a function with environment variables set, which native code reads meanwhile; no other JavaScript runs before
 * they are as they were. lavapipe also looks for a runtime folder that it does not need here, and warns if there is
 * none.
 */
export function withVariables<T>(values: Readonly<Record<string, string>>, call: () => T): T {
  const all = { XDG_RUNTIME_DIR: process.env.XDG_RUNTIME_DIR ?? tmpdir(), ...values };
  const old = Object.keys(all).map((name) => [name, process.env[name]] as const);
  Object.assign(process.env, all);
  try {
    return call();
  } finally {
    for (const [name, value] of old) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  }
}
