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
 * Restricts the Vulkan loader to these driver manifests until the returned function is called. Loaders before 1.3.207
 * (Ubuntu 22.04's) only know the older variable name.
 */
export const useDrivers = (files: readonly string[]): () => void =>
  withVariables({ VK_DRIVER_FILES: files.join(":"), VK_ICD_FILENAMES: files.join(":") });

/** lavapipe looks for a runtime folder that it does not need here, and warns if there is none. */
export const withRuntimeFolder = (): () => void =>
  withVariables({ XDG_RUNTIME_DIR: process.env.XDG_RUNTIME_DIR ?? tmpdir() });

/** Sets environment variables until the returned function is called. */
export function withVariables(values: Readonly<Record<string, string>>): () => void {
  const old = Object.keys(values).map((name) => [name, process.env[name]] as const);
  Object.assign(process.env, values);
  return () => {
    for (const [name, value] of old) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  };
}
