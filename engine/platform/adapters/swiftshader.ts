import { join } from "node:path";
import { unpackOnce } from "./unpack.ts";

/** SwiftShader, a Vulkan driver for the CPU, and a Vulkan loader; both come from an npm package. */
export interface SwiftShader {
  /** The Khronos Vulkan loader. */
  readonly loader: string;
  /** The manifest that points a loader to the driver. */
  readonly driverFile: string;
}

/** SwiftShader's files, or undefined if the package does not support this system (it supports Linux on x64). */
export async function swiftShader(): Promise<SwiftShader | undefined> {
  if (process.platform !== "linux" || process.arch !== "x64") return undefined;
  const folder = await unpackOnce("swiftshader", ["swiftshader.tar.br"]);
  return { loader: join(folder, "libvulkan.so.1"), driverFile: join(folder, "vk_swiftshader_icd.json") };
}
